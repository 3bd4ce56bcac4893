"""A model that trains, as its peers see it in the same step."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn

from ..errors import DistillationError
from ..host_types import HostModule, Samples
from ..recorders import LayerRecord, LayerRecorder, Recorder, recording
from ..recorders.method import record_method
from .run import FEATURES, FrozenRun, Result, frozen

_BatchNorm = nn.modules.batchnorm._BatchNorm


class PeerRun(FrozenRun):
    """A model that trains: the features of its own step, and what its heads give.

    The features are those that its losses are computed of, without their graph. Its
    heads run again on them, where a pair asks: as it predicts, but that batch norms
    that learn take the statistics of the batch, as in its own losses, and keep theirs
    as they are. In its first steps it is judged by no statistics that it has not
    gathered yet.

    Args: as of :class:`FrozenRun`.
    """

    def take(self, features: Any) -> None:
        """Take what the model has just made of its images.

        Args:
            features: as its ``extract_feat`` gives them, in its training forward.
        """
        self.features = without_graph(features)
        self._results[FEATURES] = None
        self._recorded[FEATURES] = {
            recorder: [output.detach() for output in record.outputs]
            for recorder, record in self.records.items()
            if isinstance(recorder, LayerRecorder) and isinstance(record, LayerRecord)
        }

    def once(
        self, key: Any, compute: Callable[[], Result], per_image: bool = True
    ) -> Result:
        """As of :class:`FrozenRun`, once the model has run for its own losses.

        Raises: DistillationError if it has computed no features there.
        """
        self._check_ran()
        return super().once(key, compute, per_image)

    def recorded(self, recorder: LayerRecorder, key: Any) -> Sequence[Tensor]:
        """As of :class:`FrozenRun`, likewise."""
        self._check_ran()
        return super().recorded(recorder, key)

    def _check_ran(self) -> None:
        if FEATURES not in self._results:
            raise DistillationError(
                f'{type(self.model).__name__}, a peer, computed no features '
                '(extract_feat) for its own losses, so that others have nothing to '
                'learn from it. Choose another model.'
            )

    def _compute(self, compute: Callable[[], Result]) -> Result:
        with _judged(self.model):
            return compute()


@contextmanager
def peer_run(
    model: HostModule,
    recorders: Sequence[Recorder[Any]],
    inputs: Tensor,
    samples: Samples,
) -> Iterator[PeerRun]:
    """A peer's part of a step: within the block it must run for its own losses.

    Args:
        model: the peer, or the detector inside it.
        recorders: what pairs attach to it.
        inputs: (N, C, H, W), as it sees them.
        samples: of the batch.
    """
    with recording(model, recorders) as records:
        run = PeerRun(model, records, inputs, samples=samples)
        with record_method(model, 'extract_feat', lambda _, result: run.take(result)):
            yield run


def without_graph(item: Any) -> Any:
    """Tensors, and tuples, lists and dicts of them, without their graph."""
    if isinstance(item, Tensor):
        return item.detach()
    if isinstance(item, dict):
        return {key: without_graph(entry) for key, entry in item.items()}
    if isinstance(item, (list, tuple)):
        return type(item)(without_graph(entry) for entry in item)
    return item


@contextmanager
def _judged(model: nn.Module) -> Iterator[None]:
    """Run a model as it predicts, by statistics of the batch, which it forgets."""
    learning = [
        norm
        for norm in model.modules()
        if isinstance(norm, _BatchNorm) and norm.training and norm.track_running_stats
    ]
    with frozen(model):
        for norm in learning:
            norm.training, norm.track_running_stats = True, False
        try:
            yield
        finally:
            for norm in learning:
                norm.track_running_stats = True
