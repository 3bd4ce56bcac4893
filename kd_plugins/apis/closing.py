"""What a distillation came to: student beside teacher, once, when it ends."""

import os
import shlex
from collections.abc import Mapping
from pathlib import Path

from mmengine.hooks import Hook
from mmengine.runner import Runner

from ..distillers.interface import is_distiller, unwrap
from ..engine.files import student_file
from ..engine.hooks import FidelityHook, GradientSharesHook
from ..engine.runner import whole_config
from ..errors import LocatedError
from .recorded import score_rows


class ClosingHook(Hook):
    """Validates student and teacher after the last iteration.

    One pass over the validation data, both models on each image; nothing is saved. The
    weights of the student are those that the host validates, EMA's included.

    Attributes:
        metrics: of this validation, as the host and
            :class:`~kd_plugins.engine.hooks.FidelityHook` name them; empty where there
            was none.
    """

    # After the hooks that save the last checkpoint.
    priority = 'LOWEST'

    def __init__(self) -> None:
        self.metrics: dict[str, float] = {}
        self._begun = False

    def after_train(self, runner: Runner) -> None:
        if self._begun:  # a hook registered meanwhile has the runner come by again
            return
        self._begun = True
        if runner.val_loop is None:
            runner.logger.info(
                'Student and teacher are not compared: the config has no validation.'
            )
            return
        if not any(isinstance(hook, FidelityHook) for hook in runner.hooks):
            runner.register_hook(FidelityHook())
        runner.logger.info('Student and teacher on the validation data:')
        try:
            self.metrics = dict(runner.val_loop.run() or {})
        except LocatedError as error:
            runner.logger.warning(f'They cannot be compared: {error}')
            return


def closing_block(runner: Runner) -> str | None:
    """What a distillation came to, in lines.

    Args:
        runner: whose training has ended.

    Returns: the scores that are known, how often student and teacher agree, the verdict
        on the pairs, where the student's own checkpoint is, and a command for it; None
        for a run that is no distillation, or that has nothing of these.
    """
    if not is_distiller(unwrap(runner.model)):
        return None
    validated = {
        key.removeprefix('val/'): buffer.current()
        for key, buffer in runner.message_hub.log_scalars.items()
        if key.startswith('val/')
    }
    rows = score_rows(runner.cfg, validated)
    agreement = _agreement(validated)
    if agreement:
        rows['agreement'] = agreement
    for hook in runner.hooks:
        if isinstance(hook, GradientSharesHook) and hook.verdict is not None:
            rows['verdict'] = hook.verdict.sentence
    last = runner.message_hub.runtime_info.get('last_ckpt')
    if last and os.path.exists(student_file(last)):
        rows |= _file_rows(runner, student_file(last))
    elif 'student' not in rows:
        return None  # nothing was trained, or nothing is known of it
    width = max(map(len, rows))
    lines = [f'  {name:<{width}}  {text}' for name, text in rows.items()]
    return '\n'.join(['What the distillation came to:', *lines])


def _agreement(metrics: Mapping[str, float]) -> str:
    """How often student and teacher say the same; empty where it was not measured."""
    agreement = metrics.get('fidelity/agreement')
    recall = metrics.get('fidelity/recall')
    on = 'the pixels' if recall is None else 'the objects that both find'
    parts = [] if agreement is None else [f'{100 * agreement:.0f} % of {on}']
    if recall is not None:
        parts.append(
            f'the student finds {100 * recall:.0f} % of what its teacher finds'
        )
    return '; '.join(parts)


def _file_rows(runner: Runner, checkpoint: str) -> dict[str, str]:
    """Where the student is, and how it is tested, or exported where it cannot be."""
    path = pasted(checkpoint)
    config = whole_config(runner)
    if runner.cfg.get('test_dataloader') is not None and config.is_file():
        command = {'test it': f'{_tool("test")} {pasted(config)} {path}'}
    else:
        out = pasted(Path(checkpoint).with_name('student.safetensors'))
        command = {'export it': f'{_tool("export_student")} {path} {out}'}
    return {'checkpoint': path, **command}


def pasted(path: str | Path) -> str:
    """A path as a shell takes it: from the current folder where it is below that.

    Example:
        >>> pasted(Path.cwd() / 'work_dirs' / 'a b.pth'), pasted('/nowhere/b.pth')
        ("'work_dirs/a b.pth'", '/nowhere/b.pth')
    """
    absolute, folder = Path(os.path.abspath(path)), Path.cwd()
    below = absolute.is_relative_to(folder)
    return shlex.quote(str(absolute.relative_to(folder) if below else absolute))


def _tool(name: str) -> str:
    """The command of a tool, of a clone or of an installed package."""
    package = Path(__file__).resolve().parents[1]
    installed = package / '.mim' / 'tools'
    folder = installed if installed.is_dir() else package.parent / 'tools'
    return f'python {pasted(folder.resolve() / f"{name}.py")}'
