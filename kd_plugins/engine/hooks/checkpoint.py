"""Checkpoints that are whole, at whole steps, and deleted only when replaced."""

import os
from pathlib import Path
from typing import Any

from mmengine.dist import is_main_process
from mmengine.hooks import CheckpointHook
from mmengine.hooks.hook import DATA_BATCH
from mmengine.optim import OptimWrapperDict
from mmengine.runner import Runner

from ...distillers.auxiliary import STUDENT
from ...registry import HOOKS
from ..files import remove_parts, student_file

_OVERDUE = 'files_to_remove'


@HOOKS.register_module()
class AtomicCheckpointHook(CheckpointHook):
    """The host's ``CheckpointHook``, with the same arguments; put in its place.

    - Old files (``max_keep_ckpts``, ``best_*``) are deleted once their successors are
      on disk, and the student's file with each. What a killed process had left to
      delete is deleted when the run is resumed.
    - With gradient accumulation a checkpoint that falls between two optimiser steps is
      saved after the next: gradients are not saved. (Not by epochs: those end where
      they end, and the host warns.)

    That each file is whole is the runner's part, see ``DistillRunner.save_checkpoint``.
    """

    _file_backend: Any = None
    _overdue: tuple[str, ...] = ()
    _postponed = False

    @property
    def file_backend(self) -> Any:
        """The host's backend, deleting later."""
        return self._file_backend

    @file_backend.setter
    def file_backend(self, backend: Any) -> None:
        self._file_backend = _RemoveLater(backend)

    def folder(self, work_dir: str) -> str:
        """Where checkpoints of a run are saved, as the host computes it in training."""
        if self.out_dir is None:
            return work_dir
        return os.path.join(self.out_dir, os.path.basename(work_dir.rstrip(os.sep)))

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict[str, Any]) -> None:
        self._overdue = tuple(checkpoint.get(_OVERDUE, ()))

    def before_train(self, runner: Runner) -> None:
        super().before_train(runner)
        if is_main_process() and os.path.isdir(self.out_dir):
            remove_parts(Path(self.out_dir))
        if runner.iter > 0:  # resumed
            # The host forgets it, and would then not save again after a new best.
            self.last_ckpt = runner.message_hub.runtime_info.get('last_ckpt')
            if is_main_process():
                for name in self._overdue:
                    self.file_backend.remove(os.path.join(self.out_dir, name))
        self._remove_replaced()

    def after_train_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: DATA_BATCH = None,
        outputs: Any = None,
    ) -> None:
        super().after_train_iter(runner, batch_idx, data_batch, outputs)
        if self._postponed and _at_whole_step(runner):
            self._save_checkpoint(runner)

    def before_save_checkpoint(
        self, runner: Runner, checkpoint: dict[str, Any]
    ) -> None:
        waiting = getattr(self.file_backend, 'waiting', ())
        checkpoint[_OVERDUE] = [os.path.basename(path) for path in waiting]

    def _save_checkpoint_with_step(
        self, runner: Runner, step: int, meta: dict[str, Any]
    ) -> None:
        if not self.by_epoch and not _at_whole_step(runner):
            self._postponed = True
            return
        self._postponed = False
        # On every process, unlike `before_save_checkpoint`: what must be gathered.
        runner.call_hook('before_checkpoint')
        super()._save_checkpoint_with_step(runner, step, meta)
        self._remove_replaced()

    def _save_best_checkpoint(self, runner: Runner, metrics: dict[str, Any]) -> None:
        super()._save_best_checkpoint(runner, metrics)
        self._remove_replaced()

    def _remove_replaced(self) -> None:
        if self.file_backend is None:  # a run that only validates has saved nothing
            return
        best = getattr(self, 'best_ckpt_path', None)
        keep = {
            self.last_ckpt,
            best,
            *getattr(self, 'best_ckpt_path_dict', {}).values(),
        }
        self.file_backend.remove_waiting(keep)


class _RemoveLater:
    """A file backend that remembers what to delete until it is told to.

    Args:
        backend: the host's.
    """

    def __init__(self, backend: Any) -> None:
        self._backend = backend
        self.waiting: list[str] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._backend, name)

    def remove(self, path: str) -> None:
        self.waiting.append(path)

    rmtree = remove

    def remove_waiting(self, keep: set[str | None]) -> None:
        """Delete what was to be removed, the students' files too, but not ``keep``."""
        for path in self.waiting:
            for file in () if path in keep else (path, student_file(path)):
                if self._backend.isfile(file):
                    self._backend.remove(file)
                elif self._backend.isdir(file):  # as some sharding strategies save
                    self._backend.rmtree(file)
        self.waiting.clear()


def _at_whole_step(runner: Runner) -> bool:
    wrapper = runner.optim_wrapper
    if isinstance(wrapper, OptimWrapperDict):
        # What a loss trains by itself steps with every batch.
        wrappers = [wrapper[STUDENT]] if STUDENT in wrapper else wrapper.values()
        return all(each.should_update() for each in wrappers)
    return bool(wrapper.should_update())
