"""Whether pairs can be taught by a few probable classes of each pixel."""

from collections.abc import Mapping, Sequence

from ..errors import ConfigError, located
from ..teachers import Teacher
from ..views import BoundView
from .loss_trials import reads_logits
from .pair import Pair


def check_cached_classes(
    pairs: Sequence[Pair], teachers: Mapping[str, Teacher]
) -> None:
    """Refuse ``cache.classes`` of a teacher whose logits are read for more.

    Stored are probabilities, which are the same whatever number is added to all logits
    of a pixel. Each pair's loss is tried on such logits, on copies of it.

    Raises: ConfigError naming the pair, or that there is none of class maps.
    """
    for name, teacher in teachers.items():
        if teacher.cache is None or teacher.cache.options.classes is None:
            continue
        asking = [pair for pair in pairs if name in pair.views]
        of_classes = [
            pair for pair in asking if pair.views[name].activations is not None
        ]
        with located(f'{teacher.key}.cache.classes'):
            if not of_classes:
                raise ConfigError(
                    "is of class maps of pixels, which only view='seg.logits' reads, "
                    'and no pair of this teacher has it. Remove it.'
                )
            for pair in of_classes:
                _check(pair, pair.views[name])


def _check(pair: Pair, view: BoundView) -> None:
    assert view.activations is not None
    if view.activations['teacher'] != 'softmax':
        raise ConfigError(
            f'{pair.key} reads classes of a sigmoid each, whose probabilities do not '
            'add up to 1. Remove it.'
        )
    if reads_logits(pair.loss, pair.tensors[0], pair.name, pair.target_transform):
        raise ConfigError(
            f'{type(pair.loss).__name__} of {pair.key} reads more of the logits than '
            "each pixel's probabilities: it changes when a number is added to all "
            'logits of a pixel. Remove it, and the logits are stored whole.'
        )
