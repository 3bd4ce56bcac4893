"""Run the stages of a config, one after the other, in this process."""

from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.dist import broadcast_object_list, is_main_process

from ...errors import ConfigError
from ..isolation import free_memory, isolated
from ..launch import start_processes
from .chain import Chain
from .config import read_stages
from .outputs import left_by
from .references import put_in


def train_stages(
    page: Config,
    train: Callable[[Config, str | None], Any],
    *,
    act: Callable[[Config], dict[str, str]] | None = None,
    resume: str | None = None,
    prepare: Callable[[Config], None] | None = None,
) -> Any:
    """Train the stages of a config, each in its own folder below ``work_dir``.

    All is checked first, and a summary is logged. Without ``resume`` every stage starts
    anew. With it a finished stage is not run again, and an interrupted one continues,
    while its config and what it takes from others are what they were; the packages may
    be others. A stage that starts anew never takes the files of an earlier run for its
    own: a folder with checkpoints is renamed to ``<stage>.old_<number>``.

    The processes of a launcher stay joined from the first stage to the last; the first
    one decides and writes records, the others follow it.

    Args:
        page: with ``stages``, as :func:`~kd_plugins.apis.prepare_config` gives it.
        train: trains one config; its second argument is 'auto' to continue.
        act: does what stands in the place of a training, and says which files it left
            in the ``work_dir``, by output.
        resume: 'auto', or None.
        prepare: as of :func:`read_stages`.

    Returns: the runner of the last stage; None if that was finished before.
    Raises: ConfigError, before anything runs, as :func:`read_stages`; for a checkpoint
        to resume. CheckpointError for what an earlier stage left and is gone.
    """
    if resume is None and page.get('resume'):
        resume = 'auto'
    if resume not in (None, 'auto'):
        raise ConfigError(
            '--resume continues in the stage that was interrupted, and takes no '
            f"checkpoint then, got '{resume}'. Leave it out; to continue from an older "
            "one, remove the stage's newer ones."
        )
    stages = read_stages(page, prepare)
    first = stages[0].cfg
    start_processes(first.get('launcher', 'none'), first.get('env_cfg') or {})
    runner = None
    with closing(Chain(Path(page.work_dir), stages)) as chain:
        _decided_by_first(chain.begin, resume == 'auto')
        for stage in stages:
            if runner is not None:  # of the stage before: its memory is needed
                runner = None
                free_memory()
            task = _decided_by_first(chain.open, stage)
            if task is None:
                continue
            put_in(stage.cfg, task.values)
            with isolated():
                if not stage.trains and act is not None:
                    gives = _decided_by_first(act, stage.cfg)
                else:
                    runner = train(stage.cfg, 'auto' if task.resume else None)
                    gives = left_by(runner)
                _decided_by_first(chain.finish, stage, gives)
    return runner


def _decided_by_first(decide: Callable[..., Any], *arguments: Any) -> Any:
    """What the first process decides; the others wait, and fail where it does."""
    answer: list[Any] = [None, None]
    if is_main_process():
        try:
            answer[0] = decide(*arguments)
        except Exception as error:  # whatever it is, the others must not wait
            answer[1] = error
    broadcast_object_list(answer)
    if answer[1] is not None:
        raise answer[1]
    return answer[0]
