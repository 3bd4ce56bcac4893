"""What ``pairs='auto'`` compares: the table, as data.

A row for each kind of model; in a row one role a pair, features and an answer of the
head; in a role its candidates, of which the first that both models can serve is taken.
Where student and teacher are of two kinds, their features are compared, by the row
'other'. Every pair has ``adapter='auto'``, and a weight that keeps its gradient at a
share of the task's.

Chosen by the committed protocols (configs/benchmarks/methods_*.py, docs/benchmark.md;
gain over the same start, time of a step over that of the student alone):

- Features of detectors: PKD of the neck, +14.7 mAP (three seeds, 1.28x) of two stages
  and +14.6 (one seed, 1.24x) of one; of those of its price none gains more.
- Answers of RoIs: NKD, +7.2 (one seed, 1.26x), the most of all losses of RoI logits.
- Answers of one-stage heads: LD of box distributions, +9.4 (three seeds, 1.45x), before
  soft labels of all points, +6.3 (one seed, 1.40x).
- Segmentors: CWD of the class maps, +5.2 mIoU (three seeds, 1.96x), the most of three
  seeds; where the classes differ, attention of the backbone, +3.0 (three seeds, 1.62x).
- Transformers, depth, and what remains: no figures yet.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .kinds import Kind


@dataclass(frozen=True)
class Candidate:
    """A pair that may be chosen.

    Attributes:
        name: of the pair.
        source: what is compared, ``layer`` or ``view``.
        loss: without its weight.
        share: of the task's gradient that the pair's is kept at.
    """

    name: str
    source: Mapping[str, Any]
    loss: Mapping[str, Any]
    share: float

    def pair(self, share: float) -> dict[str, Any]:
        """Its configuration, its gradient at this share of the task's."""
        weight = dict(type='GradientShare', share=share)
        loss = dict(**self.loss, loss_weight=weight)
        return dict(**self.source, loss=loss, adapter='auto')

    @property
    def shown(self) -> str:
        """Name and source, for messages."""
        ((key, value),) = self.source.items()
        return f'{self.name} ({key}={value!r})'


Role = tuple[Candidate, ...]

# The features' share is the task's own: they teach most.
_FEATURES, _ANSWERS = 1.0, 0.5
_PKD = dict(type='PKDLoss')


def _features(layer: str) -> Candidate:
    return Candidate('features', dict(layer=layer), _PKD, _FEATURES)


def _answers(view: str, loss: Mapping[str, Any], name: str = 'logits') -> Candidate:
    return Candidate(name, dict(view=view), loss, _ANSWERS)


# Pixel decoders: of Mask2Former and MaskFormer, in mmdet and in mmseg.
FEATURES: Role = (
    _features('neck'),
    _features('panoptic_head.pixel_decoder'),
    _features('decode_head.pixel_decoder'),
    _features('backbone'),
)
TABLE: dict[Kind, tuple[Role, ...]] = {
    'two-stage': (FEATURES, (_answers('roi.logits', dict(type='NKDLoss')),)),
    'one-stage': (
        FEATURES,
        (
            _answers('head.distributions', dict(type='LDLoss'), 'boxes'),
            _answers('head.logits', dict(type='KDLoss')),
            # The teacher's head goes on from the student's features: other classes too.
            _answers('cross.logits', dict(type='CrossKDLoss')),
        ),
    ),
    'transformer': (
        (
            Candidate('features', dict(view='encoder.memory'), _PKD, _FEATURES),
            *FEATURES,
        ),
    ),
    'segmentor': (
        (
            Candidate(
                'logits',
                dict(view='seg.logits'),
                dict(type='CWDLoss', temperature=4.0),
                _FEATURES,
            ),
            _features('decode_head.pixel_decoder'),
            Candidate(
                'features',
                dict(layer='backbone'),
                dict(type='ATLoss', mode='squared'),
                _FEATURES,
            ),
        ),
    ),
    'depth': (
        (
            Candidate(
                'features',
                dict(layer='decode_head.decoder.conv_layers'),
                dict(type='PairWiseLoss'),
                _FEATURES,
            ),
            *FEATURES,
        ),
        (_answers('depth.map', dict(type='HintLoss', norm='l1'), 'depth'),),
    ),
    'other': (FEATURES,),
}
NAMES = tuple(
    dict.fromkeys(
        candidate.name
        for roles in TABLE.values()
        for role in roles
        for candidate in role
    )
)
