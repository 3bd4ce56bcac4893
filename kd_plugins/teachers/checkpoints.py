"""From a checkpoint that was read to the weights of one model, and into it.

``load_weights`` gives one model's weights out of a file, ``load_strictly`` puts them
into a model or says in what way they do not fit.
"""

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from ..checkpoints import read_checkpoint, state_dict_of
from ..errors import CheckpointError, located
from ._mismatch import explain_mismatch

_KEY = 'model.teacher.checkpoint'
_STUDENT = 'student.'
_DISTILLER_PREFIXES = (_STUDENT, 'adapters.', 'losses.')


class Weights(OrderedDict[str, Tensor]):
    """Weights of one model by name, and where they come from.

    Attributes:
        source: the file, for messages.
        classes: class names they were trained for, where the file tells.
    """

    source: str = 'the checkpoint'
    classes: tuple[str, ...] | None = None


def load_weights(path: str | Path, *, key: str = _KEY) -> Weights:
    """The weights of one model in a checkpoint file; see :func:`weights_of`."""
    with located(key):
        content = read_checkpoint(path)
    return weights_of(content, source=str(path), key=key)


def weights_of(
    checkpoint: Mapping[str, Any], *, source: str = 'the checkpoint', key: str = _KEY
) -> Weights:
    """The weights of the plain model in a checkpoint that was read.

    From a training checkpoint its ``state_dict`` (EMA weights already, where the host's
    EMAHook ran), from a distiller's the student's alone, under the plain model's names.

    Args:
        checkpoint: as :func:`read_checkpoint` gives it.
        source: its file, for messages.
        key: the config key or argument that named it, for messages.

    Raises: CheckpointError if there are none.
    """
    with located(key):
        state = state_dict_of(checkpoint, source)
    versions = getattr(state, '_metadata', {})
    tensors, versions = _without_prefix(state, versions, 'module.')
    if is_distiller(tensors):
        tensors = {name: tensors[name] for name in tensors if name[:8] == _STUDENT}
        tensors, versions = _without_prefix(tensors, versions, _STUDENT)
    weights = Weights(tensors)
    # Layers read their version there, to bring old weights up to date.
    weights._metadata = OrderedDict(versions)  # type: ignore[attr-defined]
    weights.source = source
    weights.classes = classes_of(checkpoint)
    return weights


def load_strictly(
    module: nn.Module,
    weights: Mapping[str, Tensor],
    where: str,
    *,
    classes: Sequence[str] | None = None,
) -> None:
    """Load weights into a model, all of them and no others.

    Values take the type of the parameters (float16 becomes float32). Batch norm's
    counter of batches, which old and exported files lack, is of no consequence.

    Args:
        module: the model.
        weights: by name, as :func:`load_weights` gives them.
        where: config key or argument, for messages.
        classes: class names the model is to have, compared where the weights tell
            theirs.

    Raises: CheckpointError that tells another architecture from other classes.
    """
    source = f"{where}: '{getattr(weights, 'source', 'the checkpoint')}'"
    adjusted = OrderedDict(weights)
    adjusted._metadata = getattr(weights, '_metadata', None)  # type: ignore[attr-defined]
    own = module.state_dict()
    for name in [*adjusted, *own]:
        if name.endswith('.num_batches_tracked'):
            if name not in own:
                del adjusted[name]
            elif name not in adjusted:
                adjusted[name] = own[name]
    try:
        module.load_state_dict(adjusted)
    except RuntimeError as error:
        message = explain_mismatch(module, adjusted, source)
        raise CheckpointError(message or f'{source}: {error}') from error
    check_classes(getattr(weights, 'classes', None), classes, source)


def check_classes(
    known: Sequence[str] | None, expected: Sequence[str] | None, source: str
) -> None:
    """Refuse weights that were trained for other classes than expected.

    Args:
        known: class names of the weights; None where nobody tells.
        expected: those of the data; likewise.
        source: config key and file, for messages.

    Raises: CheckpointError with both lists.
    """
    if known is None or expected is None or list(known) == list(expected):
        return
    raise CheckpointError(
        f'{source} was trained for other classes, or in another order: '
        f'{list(known)}, expected {list(expected)}.'
    )


def is_distiller(weights: Mapping[str, Any]) -> bool:
    """Whether weights are a distiller's: a student, and what it learns with."""
    # A semi-supervised detector of mmdet also has 'student.', but 'teacher.' beside.
    return any(name.startswith(_STUDENT) for name in weights) and all(
        name.startswith(_DISTILLER_PREFIXES) for name in weights
    )


def classes_of(checkpoint: Mapping[str, Any]) -> tuple[str, ...] | None:
    """Class names that a checkpoint says it was trained for, if it says so."""
    meta = checkpoint.get('meta') or {}
    # mmdet 2 and mmseg 0 wrote CLASSES into meta itself.
    names = (meta.get('dataset_meta') or {}).get('classes') or meta.get('CLASSES')
    if isinstance(names, str):
        return (names,)
    return tuple(str(name) for name in names) if names is not None else None


def _without_prefix(
    weights: Mapping[str, Tensor], metadata: Mapping[str, Any], prefix: str
) -> tuple[dict[str, Tensor], Mapping[str, Any]]:
    if not all(name.startswith(prefix) for name in weights):
        return dict(weights), metadata
    root = prefix[:-1]
    versions = {
        name[len(prefix) :]: value
        for name, value in metadata.items()
        if name == root or name.startswith(prefix)
    }
    return {name[len(prefix) :]: weights[name] for name in weights}, versions
