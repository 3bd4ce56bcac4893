"""Hashes of a run's start: compared recipes must have the same start."""

import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from mmengine.hooks import Hook
from mmengine.hooks.hook import DATA_BATCH
from mmengine.runner import Runner
from torch import Tensor

from ..distillers.interface import is_distiller, unwrap
from ._common import write_json

FILE = 'fingerprint.json'
_BATCHES = 20


class FingerprintHook(Hook):
    """Writes ``fingerprint.json``: hashes of the first weights and the first batches.

    ``student`` is the hash of the student's weights before the first iteration,
    ``batches`` that of the augmented images of the first 20 iterations (fewer if the
    run is shorter). A resumed run does not change the file.
    """

    def __init__(self) -> None:
        self._content: dict[str, Any] = {}
        self._batches = hashlib.sha256()

    def before_train(self, runner: Runner) -> None:
        self._content = {}
        if runner.iter > 0:
            return
        model = unwrap(runner.model)
        state = model.state_dict()
        if is_distiller(model):
            state = model.student_state_dict(state)
        self._content['student'] = digest_of(state.items())

    def before_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: DATA_BATCH = None
    ) -> None:
        if not self._content or runner.iter >= _BATCHES:
            return
        for image in data_batch['inputs']:
            _add(self._batches, image)
        last = min(_BATCHES, runner.max_iters) - 1
        if runner.iter == last:
            self._content['batches'] = self._batches.hexdigest()
            write_json(Path(runner.work_dir) / FILE, self._content)


def digest_of(tensors: Iterable[tuple[str, Tensor]]) -> str:
    """SHA-256 over names and values."""
    digest = hashlib.sha256()
    for name, tensor in tensors:
        digest.update(name.encode())
        _add(digest, tensor)
    return digest.hexdigest()


def _add(digest: Any, tensor: Tensor) -> None:
    digest.update(str((tuple(tensor.shape), tensor.dtype)).encode())
    digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
