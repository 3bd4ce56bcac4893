"""A resumed run uses the same teachers as the one that it continues."""

from typing import Any

from mmengine.hooks import Hook
from mmengine.runner import Runner

from ...distillers.interface import is_distiller, unwrap
from ...registry import HOOKS

_KEY = 'fast_teachers'


@HOOKS.register_module()
class FastTeacherHook(Hook):
    """Saves which teachers run as a fast copy, and restores it on resume.

    The resumed run would decide by another batch. On hardware where the copy would be
    another one it does decide anew.
    """

    def before_save_checkpoint(
        self, runner: Runner, checkpoint: dict[str, Any]
    ) -> None:
        model = unwrap(runner.model)
        if is_distiller(model):
            checkpoint[_KEY] = model.fast_state_dict()

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict[str, Any]) -> None:
        model = unwrap(runner.model)
        if runner._resume and is_distiller(model):
            model.load_fast_state_dict(checkpoint.get(_KEY, {}))
