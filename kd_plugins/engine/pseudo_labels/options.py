"""How pseudo-labels are made, as a config or a command line says it."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from ...checks import (
    check_bool,
    check_choice,
    check_float,
    check_int,
    check_optional_int,
)
from ...errors import ConfigError, collected, raise_together

FUSIONS = ('wbf', 'nms')
_KEYS = ('cfg', 'checkpoint')


@dataclass(frozen=True)
class PseudoLabelOptions:
    """How pseudo-labels are made.

    Args:
        threshold: least score of a box, or least highest probability of a pixel, 0 to
            1; other pixels get 255.
        augment: whether each teacher sees several views of an image, by its config's
            ``tta_pipeline``, or flipped where it has none.
        fusion: how boxes of several teachers or views become one set: 'wbf', their
            weighted mean, or 'nms', the one of the highest score.
        iou_threshold: least overlap of what is the same box, 0 to 1.
        top_k: of segmentors, keep so many classes of each pixel with their
            probabilities, instead of one label.
        batch_size: images at once, >= 1.

    Raises: ConfigError for values that cannot be, all of them.
    """

    threshold: float = 0.5
    augment: bool = False
    fusion: str = 'wbf'
    iou_threshold: float = 0.55
    top_k: int | None = None
    batch_size: int = 8

    def __post_init__(self) -> None:
        faults: list[ConfigError] = []
        for name in ('threshold', 'iou_threshold'):
            with collected(faults):
                value = check_float(name, getattr(self, name))
                if value > 1:
                    raise ConfigError(f'{name} must be at most 1, got {value:g}.')
        for check in (
            lambda: check_bool('augment', self.augment),
            lambda: check_choice('fusion', self.fusion, FUSIONS),
            lambda: check_optional_int('top_k', self.top_k),
            lambda: check_int('batch_size', self.batch_size),
        ):
            with collected(faults):
                check()
        raise_together(faults)

    def as_dict(self) -> dict[str, Any]:
        """By name, for the record of what was made."""
        return asdict(self)


def read_teachers(teachers: object) -> list[tuple[str, str]]:
    """Config and checkpoint of each teacher.

    Args:
        teachers: ``dict(cfg=..., checkpoint=...)``, or a list of such.

    Raises: ConfigError for something else.
    """
    entries = [teachers] if isinstance(teachers, Mapping) else teachers
    if not isinstance(entries, Sequence) or isinstance(entries, str) or not entries:
        raise ConfigError(
            'must be dict(cfg=..., checkpoint=...), or a list of such, got '
            f'{teachers!r}.',
            'teachers',
        )
    for number, entry in enumerate(entries):
        texts = isinstance(entry, Mapping) and all(
            isinstance(entry.get(key), str) for key in _KEYS
        )
        if not texts or len(entry) > len(_KEYS):
            raise ConfigError(
                "must be dict(cfg='<config>', checkpoint='<file>'), got "
                f'{dict(entry) if isinstance(entry, Mapping) else entry!r}.',
                f'teachers[{number}]',
            )
    return [(entry['cfg'], entry['checkpoint']) for entry in entries]
