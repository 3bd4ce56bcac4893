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

A share is what those rows had with their fixed weights, measured as they train: PKD of
two stages 3 at the start, then 8 to 4; NKD 1.9, then 1.3; PKD of one stage 0.3, and by
its choice 1 for a student that was trained without it; LD of both regions 0.6; CWD 2.5,
then 2. Without figures, 1 of features and 0.5 of answers.
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

_PKD = dict(type='PKDLoss')


def _features(layer: str, share: float = 1.0) -> Candidate:
    return Candidate('features', dict(layer=layer), _PKD, share)


# Pixel decoders: of Mask2Former and MaskFormer, in mmdet and in mmseg.
FEATURES: Role = (
    _features('neck'),
    _features('panoptic_head.pixel_decoder'),
    _features('decode_head.pixel_decoder'),
    _features('backbone'),
)
TABLE: dict[Kind, tuple[Role, ...]] = {
    'two-stage': (
        (_features('neck', 4.0), *FEATURES[1:]),
        (Candidate('logits', dict(view='roi.logits'), dict(type='NKDLoss'), 1.0),),
    ),
    'one-stage': (
        FEATURES,
        (
            Candidate(
                'boxes', dict(view='head.distributions'), dict(type='LDLoss'), 0.5
            ),
            Candidate('logits', dict(view='head.logits'), dict(type='KDLoss'), 0.5),
            # The teacher's head goes on from the student's features: other classes too.
            Candidate(
                'logits', dict(view='cross.logits'), dict(type='CrossKDLoss'), 0.5
            ),
        ),
    ),
    'transformer': (
        (Candidate('features', dict(view='encoder.memory'), _PKD, 1.0), *FEATURES),
    ),
    'segmentor': (
        (
            Candidate(
                'logits',
                dict(view='seg.logits'),
                dict(type='CWDLoss', temperature=4.0),
                2.0,
            ),
            _features('decode_head.pixel_decoder'),
            Candidate(
                'features',
                dict(layer='backbone'),
                dict(type='ATLoss', mode='squared'),
                1.0,
            ),
        ),
    ),
    'depth': (
        (
            Candidate(
                'features',
                dict(layer='decode_head.decoder.conv_layers'),
                dict(type='PairWiseLoss'),
                1.0,
            ),
            *FEATURES,
        ),
        (
            Candidate(
                'depth', dict(view='depth.map'), dict(type='HintLoss', norm='l1'), 0.5
            ),
        ),
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
