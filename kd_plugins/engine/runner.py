"""The host's runner, with what a distillation and a sure resume need."""

import copy
from pathlib import Path
from typing import Any

from mmengine.dist import master_only
from mmengine.hooks import Hook
from mmengine.runner import BaseLoop, Runner
from torch import nn

from ..checkpoints import check_whole, locate, read_checkpoint
from ..config_files import imports_for, uses_ours
from ..distillers.auxiliary import check_schedules
from ..distillers.interface import is_distiller, unwrap
from ..distillers.student import student_config
from ..errors import located
from ..registry import RUNNERS
from ..teachers.checkpoints import load_strictly, weights_of
from . import files
from .checkpointing import check_modules, without_reentry
from .data_files import missing_data_named
from .distilling import (
    check_single,
    is_distiller_type,
    missing_hooks,
    newest_checkpoint,
    optim_wrapper_cfg,
    save_student,
    with_atomic_checkpoints,
    wrapper_cfg,
)
from .launch import start_cpu_processes
from .plain_run import check_progress, continue_plain_run, is_plain


@RUNNERS.register_module()
class DistillRunner(Runner):
    """Trains any config of the hosts, as they do, and safely; distills with it, too.

    ``runner_type = 'kd_plugins.DistillRunner'`` is all that a config needs: the hosts'
    own ``tools/train.py`` reads it. For every model:

    - checkpoint files are whole or absent, ``resume`` takes the newest whole one, and
      random states come back with it, see :class:`RandomStateHook`;
    - several processes, and ``AmpOptimWrapper``, run on CPUs as well.

    For a distiller also:

    - the optimiser is built by :class:`DistillOptimWrapperConstructor`, the configured
      constructor being the student's;
    - the student's own checkpoint, ``student_<name>``, is written beside each (where
      that fails, a warning says why, and the training goes on);
    - the checkpoint of a plain run of the student can be resumed;
    - the clock of its weight schedules is set, and its summary logged.

    Takes the arguments of the host's ``Runner``; ``resume`` is also ``'auto'``: the
    newest checkpoint in ``work_dir`` if there is one, otherwise a new run from
    ``load_from``.
    """

    _resume: bool | str
    _load_from: str | None
    _saving: dict[str, Any] | None = None
    _student_text: str | None = None

    @classmethod
    def from_cfg(cls, cfg: Any) -> 'DistillRunner':
        """Build it; the config that it dumps and saves imports this package itself."""
        cfg = copy.deepcopy(cfg)
        content = dict(cfg.items())
        check_single(content)
        if uses_ours(content):
            cfg['custom_imports'] = imports_for(content)
        built: DistillRunner = super().from_cfg(cfg)
        return built

    @master_only
    def dump_config(self) -> None:
        """Write the whole config, but not over the file that it was read from."""
        self.cfg.dump(str(whole_config(self)))

    def setup_env(self, env_cfg: dict[str, Any]) -> None:
        """Join the other processes, without a GPU too; then the host's own set-up."""
        start_cpu_processes(self.launcher, env_cfg.get('dist_cfg', {}))
        super().setup_env(env_cfg)

    def build_model(self, model: nn.Module | dict[str, Any]) -> nn.Module:
        """Build it; a ``data_preprocessor`` of the whole config is the student's."""
        if isinstance(model, dict) and is_distiller_type(model['type']):
            preprocessor = model.pop('data_preprocessor', None)
            if 'student' not in model:  # peers: it is handed on
                model['data_preprocessor'] = preprocessor
            elif preprocessor is not None and 'cfg' not in model['student']:
                model['student'].setdefault('data_preprocessor', preprocessor)
        built: nn.Module = super().build_model(model)
        return built

    def wrap_model(
        self, model_wrapper_cfg: dict[str, Any] | None, model: nn.Module
    ) -> nn.Module:
        """Distribute it, by our wrapper where the config names none or the host's."""
        if self.distributed:
            if model_wrapper_cfg is None:
                unused = self.cfg.get('find_unused_parameters', False)
                model_wrapper_cfg = {'find_unused_parameters': unused}
            model_wrapper_cfg = wrapper_cfg(model_wrapper_cfg)
        wrapped: nn.Module = super().wrap_model(model_wrapper_cfg, model)
        return wrapped

    def build_optim_wrapper(self, optim_wrapper: Any) -> Any:
        """Build it, for a distiller by our constructor."""
        return super().build_optim_wrapper(
            optim_wrapper_cfg(optim_wrapper, self.model, self.logger)
        )

    def build_param_scheduler(self, scheduler: Any) -> Any:
        """Build them; by optimiser, for each that a distiller has and no other."""
        if is_distiller(unwrap(self.model)):
            check_schedules(scheduler, self.optim_wrapper)
        return super().build_param_scheduler(scheduler)

    def register_hook(self, hook: Hook | dict[str, Any], priority: Any = None) -> None:
        """Register it; our checkpoint hook in place of the host's, same arguments."""
        super().register_hook(with_atomic_checkpoints(hook), priority)

    def build_train_loop(self, loop: BaseLoop | dict[str, Any]) -> BaseLoop:
        """Build it; data that are missing are told by their key.

        Hooks that make data do so before: their ``before_train_data`` is called.
        """
        self.call_hook('before_train_data')
        with missing_data_named('train_dataloader'):
            return super().build_train_loop(loop)

    def build_val_loop(self, loop: BaseLoop | dict[str, Any]) -> BaseLoop:
        """Build it, likewise."""
        with missing_data_named('val_dataloader or val_evaluator'):
            return super().build_val_loop(loop)

    def build_test_loop(self, loop: BaseLoop | dict[str, Any]) -> BaseLoop:
        """Build it, likewise."""
        with missing_data_named('test_dataloader or test_evaluator'):
            return super().build_test_loop(loop)

    def register_hooks(
        self,
        default_hooks: dict[str, Any] | None = None,
        custom_hooks: list[Any] | None = None,
    ) -> None:
        """Register the config's, then ours that it does not name."""
        super().register_hooks(default_hooks, custom_hooks)
        for hook in missing_hooks(self.hooks, is_distiller(unwrap(self.model))):
            self.register_hook(hook)

    def train(self) -> nn.Module:
        """Train; layers named by ``activation_checkpointing`` are known before."""
        names = self.cfg.get('activation_checkpointing')
        if names is not None:
            check_modules(unwrap(self.model), names)
        trained: nn.Module = super().train()
        return trained

    def load_or_resume(self) -> None:
        """Load the weights to start from, or continue a run."""
        names = self.cfg.get('activation_checkpointing')
        if names is not None and isinstance(self._train_loop, BaseLoop):
            without_reentry(unwrap(self.model), names)
        auto = self._resume == 'auto' or (self._resume and self._load_from is None)
        if auto and not self._has_loaded:
            newest = newest_checkpoint(self.hooks, self.work_dir)
            if newest is None:
                self._resume = False
                self.logger.info(
                    f'No whole checkpoint to resume in {self.work_dir}: a new run.'
                )
            else:
                self.logger.info(
                    f'Resuming from {newest}, the newest whole checkpoint.'
                )
                self._load_from = newest
        super().load_or_resume()

    def load_checkpoint(self, filename: str, *args: Any, **options: Any) -> Any:
        """Load it; for a distillation that resumes a plain run, with what it lacks.

        Weights to start from may be what only we read, safetensors and those that the
        package brings.

        Raises: CheckpointError for a file that is missing, or not as it was written.
        """
        key = 'resume' if self._resume else 'load_from'
        if not self._resume and _is_weights(filename):
            return self._load_weights(filename, key)
        with located(key):
            check_whole(filename)
        try:
            checkpoint = super().load_checkpoint(filename, *args, **options)
        except FileNotFoundError:
            with located(key):
                locate(filename)  # says which files there are
            raise
        if self._resume:
            check_progress(checkpoint, filename)
            if is_distiller(unwrap(self.model)) and is_plain(checkpoint):
                for line in continue_plain_run(checkpoint, self, filename):
                    self.logger.info(line)
        return checkpoint

    def _load_weights(self, filename: str, key: str) -> dict[str, Any]:
        with located(key):
            content = read_checkpoint(filename)
        model = unwrap(self.model)
        weights = weights_of(content, source=filename, key=key)
        self.call_hook('after_load_checkpoint', checkpoint=content)
        load_strictly(model.student if is_distiller(model) else model, weights, key)
        self.logger.info(f'Load checkpoint from {filename}')
        return content

    def call_hook(self, fn_name: str, **kwargs: Any) -> None:
        """Call all hooks, and keep what they made of a checkpoint to be saved."""
        super().call_hook(fn_name, **kwargs)
        if fn_name == 'before_save_checkpoint':
            self._saving = kwargs['checkpoint']

    @master_only
    def save_checkpoint(
        self, out_dir: str, filename: str, *args: Any, **options: Any
    ) -> None:
        """Save a checkpoint, and the student's beside it, each whole or not at all.

        Arguments are those of the host's method. Where ``out_dir`` is no local folder,
        the storage decides what a reader sees, and there is no student's file.
        """
        if '://' in str(out_dir):
            super().save_checkpoint(out_dir, filename, *args, **options)
            return
        path = Path(out_dir) / filename
        model = unwrap(self.model)
        # Published last: who finds it finds the student's too.
        with files.written(path) as part:
            super().save_checkpoint(str(path.parent), part.name, *args, **options)
            saved, self._saving = self._saving, None
            if is_distiller(model) and saved is not None:
                save_student(saved, model, path, self._student_cfg_text, self.logger)

    def _student_cfg_text(self) -> str:
        if self._student_text is None:  # formatting a config takes seconds
            cfg = student_config(self.cfg)
            self._student_text = str(cfg.pretty_text)
        return self._student_text


def whole_config(runner: Runner) -> Path:
    """Where a run writes its config, with all bases and the options it was given."""
    if not runner.cfg.filename:
        return Path(runner.work_dir, f'{runner.timestamp}.py')
    source = Path(runner.cfg.filename)
    path = Path(runner.work_dir, source.name)
    own = source.resolve() == path.resolve()  # it would be written over
    return path.with_name(f'whole_{source.name}') if own else path


def _is_weights(filename: str) -> bool:
    """Whether a file is one that the host does not read."""
    return '::' in str(filename) or str(filename).endswith('.safetensors')
