"""The score of a model among the metrics of a validation."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from .finding import NotCheckedError


class Kind(NamedTuple):
    """How a metric is told.

    Attributes:
        key: as the host names it.
        unit: as papers do.
        factor: to what papers say.
        decimals: in sentences.
        lower_is_better: whether it is an error.
    """

    key: str
    unit: str
    factor: float = 1.0
    decimals: int = 1
    lower_is_better: bool = False


# The first of them that a validation has is the score.
KINDS = (
    Kind('coco/bbox_mAP', 'mAP', 100.0),
    Kind('pascal_voc/mAP', 'mAP', 100.0),
    Kind('mIoU', 'mIoU'),
    Kind('rmse', 'RMSE', decimals=3, lower_is_better=True),
)
_ERRORS = ('rmse', 'rel', 'log10', 'silog', 'error', 'mae')


@dataclass(frozen=True)
class Score:
    """A score, in the units of papers.

    Attributes:
        value: percent for mAP and mIoU.
        kind: of the metric.
    """

    value: float
    kind: Kind

    def __str__(self) -> str:
        return f'{self.value:.{self.kind.decimals}f} {self.kind.unit}'

    def over(self, other: 'Score') -> float:
        """How much better it is than another; below 0 if it is worse."""
        difference = self.value - other.value
        return -difference if self.kind.lower_is_better else difference

    def difference(self, value: float) -> str:
        """A difference of such scores, as text."""
        return f'{value:.{self.kind.decimals}f}'


def kind_of(*validations: Mapping[str, float]) -> Kind:
    """The metric that tells how good models are.

    Args:
        validations: metrics of one or several models.

    Raises: NotCheckedError without any metric.
    """
    names = dict.fromkeys(name for metrics in validations for name in metrics)
    for kind in KINDS:
        if kind.key in names:
            return kind
    for name in names:
        lower = any(part in name.lower() for part in _ERRORS)
        return Kind(name, name, 1.0, 3, lower)
    raise NotCheckedError('the validation gave no metric')


def score_of(metrics: Mapping[str, float], kind: Kind) -> Score:
    """The score among the metrics of a model.

    COCO's metric gives no mAP for a detector without any box: that is 0.

    Raises: NotCheckedError where it is missing.
    """
    if kind.key not in metrics:
        if kind.unit == 'mAP':
            return Score(0.0, kind)
        raise NotCheckedError(f"the validation gave no '{kind.key}'")
    return Score(kind.factor * metrics[kind.key], kind)
