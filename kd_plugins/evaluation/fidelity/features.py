"""Features that 'layer' pairs compare, read while both models predict."""

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from ...views.layer.view import LayerView
from .cka import FeatureMoments, feature_rows

Rows = dict[str, list[Tensor]]


class PairFeatures:
    """Linear CKA of what pairs compare: maps of a layer, without their adapter.

    Args:
        pairs: of a distiller; those of other views, and inside a RoI head, where each
            model chooses RoIs of its own, are left aside.
        teacher: name of the teacher that is compared.

    Attributes:
        moments: by pair, of each level.
        left_out: why pairs have no value, by pair.
    """

    def __init__(self, pairs: Sequence[Any], teacher: str) -> None:
        self._pairs = [
            pair
            for pair in pairs
            if pair.teacher == teacher
            and isinstance(pair.view, LayerView)
            and not pair.view.source.on_rois
            and all(len(place.student) == 4 for place in pair.places)
        ]
        self._keys = {pair.name: f'cka_{pair.statistic}' for pair in self._pairs}
        self.moments: dict[str, list[FeatureMoments]] = {}
        self.left_out: dict[str, str] = {}

    def captures(self, which: str) -> list[Any]:
        """What to attach to the 'student' or the 'teacher' while it predicts."""
        return [pair.view.source.capture(which) for pair in self._pairs]

    def read(
        self, captured: Mapping[Any, Any], samples: Sequence[Any], which: str
    ) -> Rows:
        """Rows of every level of each pair, on the CPU.

        Args:
            captured: what was attached, by capture.
            samples: the predictions; they tell what of each image is padding.
            which: 'student' or 'teacher'.
        """
        valid = [_valid_share(sample) for sample in samples]
        found: Rows = {}
        for pair in self._pairs:
            source = pair.view.source
            recorder = captured[source.capture(which)]
            outputs, levels = recorder.outputs, source.levels[which]
            if levels is not None:
                outputs = [outputs[level] for level in levels if level < len(outputs)]
            fits = len(outputs) == len(pair.places) and not recorder.overwritten
            if fits and all(len(feature) == len(samples) for feature in outputs):
                found[pair.name] = [
                    feature_rows(feature, valid).cpu() for feature in outputs
                ]
                continue
            self.left_out[pair.name] = (
                f"the layer '{source.paths[which]}' of the {which} does not run as in "
                'training when it predicts: '
                f'fidelity/{self._keys[pair.name]} is left out.'
            )
        return found

    def add(self, student: Rows, teacher: Rows) -> None:
        """Add what was read of both models' predictions of the same images."""
        for name in student.keys() & teacher.keys():
            levels = list(zip(student[name], teacher[name], strict=True))
            moments = self.moments.setdefault(name, [FeatureMoments() for _ in levels])
            for moment, (own, other) in zip(moments, levels, strict=True):
                moment.add(own, other)

    def tensors(self) -> list[Tensor]:
        """What is added up over processes."""
        return [
            tensor
            for name in sorted(self.moments)
            for moment in self.moments[name]
            for tensor in (moment.count, moment.sums, moment.products)
        ]

    def values(self) -> dict[str, float]:
        """``cka_<pair>``, the mean of its levels; no key contains 'loss'."""
        found = {}
        for name, moments in self.moments.items():
            values = [float(moment.linear_cka()) for moment in moments]
            found[self._keys[name]] = sum(values) / len(values)
        return found


def _valid_share(sample: Any) -> tuple[float, float]:
    """Shares of height and width of a sample's image that are no padding."""
    meta = sample.metainfo
    whole = meta.get('batch_input_shape')
    if whole is None:
        return 1.0, 1.0
    height, width = (
        min(own / other, 1.0)
        for own, other in zip(meta['img_shape'][:2], whole[:2], strict=True)
    )
    return height, width
