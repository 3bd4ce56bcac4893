"""What a stage leaves: checkpoints, by the names that other stages take them by."""

from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.hooks import CheckpointHook

from ...config_files import type_name
from ...distillers.interface import is_distiller, unwrap
from ...errors import ConfigError
from ..files import student_file, training_checkpoints
from .actions import left_by_action
from .references import Reference

# As the host's runner registers it where a config has none.
_DEFAULT_HOOK = {'interval': 1}


def check_left(reference: Reference, cfg: Config) -> None:
    """Refuse a reference to what an earlier stage will not leave, as its config says.

    Args:
        reference: of a later stage.
        cfg: of the earlier one.

    Raises: ConfigError.
    """
    text, stage, key = reference.text, reference.stage, reference.key
    if reference.output == 'work_dir':
        return
    left = left_by_action(cfg)
    if left is not None:
        if reference.output not in left:
            raise ConfigError(
                f"'{text}': stage '{stage}' does not train, and leaves "
                f'{" and ".join(left)}.',
                key,
            )
        return
    if reference.output == 'config':
        raise ConfigError(
            f"'{text}': stage '{stage}' trains, and leaves no config but its own. One "
            'that prunes, or plans a student, leaves one.',
            key,
        )
    hook = _checkpoint_hook(cfg)
    if hook is None:
        raise ConfigError(
            f"'{text}': stage '{stage}' saves nothing. Give it a "
            'default_hooks.checkpoint.',
            key,
        )
    if reference.output == 'best':
        best = hook.get('save_best')
        if not best:
            raise ConfigError(
                f"'{text}': stage '{stage}' keeps no best checkpoint. Add to its "
                "options: default_hooks=dict(checkpoint=dict(save_best='auto')), or "
                f"take '{{{stage}.student}}', its last.",
                key,
            )
        if not isinstance(best, str) and len(best) > 1:
            raise ConfigError(
                f"'{text}': stage '{stage}' keeps a best checkpoint by each of "
                f'{list(best)}: expected one metric in its '
                'default_hooks.checkpoint.save_best.',
                key,
            )
    if reference.index is not None:
        steps = _kept_steps(cfg, hook)
        if steps is not None:
            _check_index(reference, steps)


def _check_index(reference: Reference, kept: list[Any]) -> None:
    index, number = reference.index, len(kept)
    if index is not None and not -number <= index < number:
        ones = ', '.join(map(str, kept))
        raise ConfigError(
            f"'{reference.text}': stage '{reference.stage}' keeps {number} checkpoints "
            f'({ones}): expected an index from 0 to {number - 1}. How many is said by '
            'its default_hooks.checkpoint: interval, max_keep_ckpts.',
            reference.key,
        )


def _checkpoint_hook(cfg: Config) -> dict[str, Any] | None:
    hooks = cfg.get('default_hooks') or {}
    hook: dict[str, Any] | None = hooks.get('checkpoint', _DEFAULT_HOOK)
    return hook


def _kept_steps(cfg: Config, hook: dict[str, Any]) -> list[int] | None:
    """Epochs or iterations whose checkpoints are there at the end; None: not known."""
    loop = cfg.get('train_cfg') or {}
    by_epoch = loop.get('by_epoch', True)
    if 'type' in loop:
        by_epoch = type_name(loop['type']) == 'EpochBasedTrainLoop'
    last = loop.get('max_epochs' if by_epoch else 'max_iters')
    accumulates = (cfg.get('optim_wrapper') or {}).get('accumulative_counts', 1) > 1
    if last is None or accumulates or hook.get('by_epoch', True) != by_epoch:
        return None
    interval, begin = hook.get('interval', -1), hook.get('save_begin', 0)
    steps = [
        step
        for step in range(1, last + 1)
        if (interval > 0 and step >= begin and (step - begin) % interval == 0)
        or (step == last and hook.get('save_last', True))
    ]
    keep = hook.get('max_keep_ckpts', -1)
    return steps[-keep:] if keep > 0 else steps


def left_by(runner: Any) -> dict[str, Any]:
    """Names of what a run that is over has left in its folder.

    Args:
        runner: after its training.

    Returns: by output; of ``checkpoints`` a list in order of their steps. What was not
        saved is not there.
    """
    folder = Path(runner.work_dir)
    hooks = [hook for hook in runner.hooks if isinstance(hook, CheckpointHook)]
    if not hooks:
        return {}
    hook = hooks[0]
    saved = [path.name for path in training_checkpoints(folder, hook.filename_tmpl)]
    weights = student_file if is_distiller(unwrap(runner.model)) else str
    gives: dict[str, Any] = {'checkpoints': saved}
    if saved:
        gives['checkpoint'], gives['student'] = saved[-1], weights(saved[-1])
    best = getattr(hook, 'best_ckpt_path', None)
    if best:
        gives['best'] = weights(Path(best).name)
    # A student's file that could not be written does not end a training.
    return {
        output: left
        for output, left in gives.items()
        if output == 'checkpoints' or (folder / left).exists()
    }


def paths_of(
    reference: Reference, folder: Path, gives: dict[str, Any]
) -> str | list[str]:
    """What a reference stands for, once its stage is finished.

    Args:
        reference: of a later stage.
        folder: of the earlier one.
        gives: its :func:`left_by`.

    Returns: an absolute path; of all checkpoints a list of them.
    Raises: ConfigError for what it did not leave.
    """
    folder = folder.resolve()
    if reference.output == 'work_dir':
        return str(folder)
    left = gives.get(reference.output)
    if not left:
        reason = (
            'it was never validated' if reference.output == 'best' else 'see its log'
        )
        raise ConfigError(
            f"'{reference.text}': stage '{reference.stage}' left none in {folder}: "
            f'{reason}.',
            reference.key,
        )
    if reference.index is not None:
        _check_index(reference, left)
        left = left[reference.index]
    if isinstance(left, list):
        return [str(folder / name) for name in left]
    return str(folder / left)
