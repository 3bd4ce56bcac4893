"""Features that 'layer' pairs compare, recorded while both models predict."""

from collections.abc import Sequence

from torch import Tensor

from ...distillers.pair import Pair
from ...host_types import DataSample, Samples
from ...recorders import LayerRecorder, Records
from ...views import Side
from ...views.layer.source import BoundLayer
from .cka import FeatureMoments, feature_rows

Rows = dict[str, list[Tensor]]


class PairFeatures:
    """Linear CKA of the maps of a layer that pairs compare, without the adapter.

    Args:
        pairs: of a distiller. Pairs of other views are ignored, and pairs inside a RoI
            head, because each model selects different RoIs.
        teacher: name of the teacher.

    Attributes:
        moments: by pair, of each level.
        left_out: the reason why a pair has no value, by pair.
    """

    def __init__(self, pairs: Sequence[Pair], teacher: str) -> None:
        self._teacher = teacher
        self._pairs = [
            pair
            for pair in pairs
            if teacher in pair.views
            and pair.views[teacher].layers is not None
            and pair.views[teacher].maps is not None
            and all(len(spec.student) == 4 for spec in pair.tensors)
        ]
        self._keys = {pair.name: f'cka_{pair.statistic}' for pair in self._pairs}
        self.moments: dict[str, list[FeatureMoments]] = {}
        self.left_out: dict[str, str] = {}

    def recorders(self, side: Side) -> list[LayerRecorder]:
        """Recorders to attach to the student or the teacher while it predicts."""
        return [layer.recorder for _, layer in self._layers(side)]

    def _layers(self, side: Side) -> list[tuple[Pair, BoundLayer]]:
        layers = [(pair, pair.views[self._teacher].layers) for pair in self._pairs]
        return [(pair, each[side]) for pair, each in layers if each is not None]

    def read(self, records: Records, samples: Samples, side: Side) -> Rows:
        """Rows of every level of each pair, on the CPU.

        Args:
            records: of the recorders.
            samples: the predictions, with the padding of each image.
            side: 'student' or 'teacher'.
        """
        valid = [_valid_share(sample) for sample in samples]
        rows: Rows = {}
        for pair, layer in self._layers(side):
            record = records[layer.recorder]
            outputs = record.outputs
            if layer.levels is not None:
                levels = [level for level in layer.levels if level < len(outputs)]
                outputs = [outputs[level] for level in levels]
            fits = (
                len(outputs) == len(pair.views[self._teacher].tensors)
                and not record.overwritten
            )
            if fits and all(len(feature) == len(samples) for feature in outputs):
                rows[pair.name] = [
                    feature_rows(feature, valid).cpu() for feature in outputs
                ]
                continue
            self.left_out[pair.name] = (
                f"the layer '{layer.path}' of the {side} does not run as in "
                'training when it predicts: '
                f'fidelity/{self._keys[pair.name]} is left out.'
            )
        return rows

    def add(self, student: Rows, teacher: Rows) -> None:
        """Add the rows of both models, of the same images."""
        for name in student.keys() & teacher.keys():
            levels = list(zip(student[name], teacher[name], strict=True))
            moments = self.moments.setdefault(name, [FeatureMoments() for _ in levels])
            for moment, (student_rows, teacher_rows) in zip(
                moments, levels, strict=True
            ):
                moment.add(student_rows, teacher_rows)

    def tensors(self) -> list[Tensor]:
        """The sums, to be added up over processes."""
        return [
            tensor
            for name in sorted(self.moments)
            for moment in self.moments[name]
            for tensor in (moment.count, moment.sums, moment.products)
        ]

    def values(self) -> dict[str, float]:
        """``cka_<pair>``, the mean of its levels; no key contains 'loss'."""
        means = {}
        for name, moments in self.moments.items():
            values = [float(moment.linear_cka()) for moment in moments]
            means[self._keys[name]] = sum(values) / len(values)
        return means


def _valid_share(sample: DataSample) -> tuple[float, float]:
    """Shares of height and width of a sample's image without padding."""
    meta = sample.metainfo
    padded = meta.get('batch_input_shape')
    if padded is None:
        return 1.0, 1.0
    height, width = (
        min(side / padded_side, 1.0)
        for side, padded_side in zip(meta['img_shape'][:2], padded[:2], strict=True)
    )
    return height, width
