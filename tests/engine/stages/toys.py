"""Pages of stages of the toy, which train in a tenth of a second each; and less."""

import copy
import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

from mmengine.config import Config
from mmengine.hooks import CheckpointHook
from mmengine.runner import Runner
from torch import nn

from kd_plugins.apis.train import train
from kd_plugins.engine.isolation import isolated
from kd_plugins.engine.stages import train_stages
from tests.engine.hooks.toy import toy_config, unformatted

# The second starts from the first's best student.
TWO: dict[str, Any] = {
    'first': {},
    'second': {
        'options': {
            'load_from': '{first.best}',
            'randomness.seed': 6,
            'train_cfg.max_iters': 6,
        }
    },
}


def page(work_dir: Path, stages: Any, **changes: Any) -> Config:
    """The toy, of four iterations unless a stage says more, with stages.

    Its runs have the names that the host gives them, and a visualizer of the name that
    all configs give theirs.
    """
    cfg = toy_config(work_dir, **{'train_cfg.max_iters': 4, **changes})
    cfg.pop('experiment_name')
    backends = [{'type': 'LocalVisBackend'}]
    cfg.visualizer = dict(type='Visualizer', name='visualizer', vis_backends=backends)
    cfg.stages = copy.deepcopy(stages)
    return cfg


@contextmanager
def quick() -> Iterator[None]:
    """Without what takes most of the time of a toy, and is not looked at."""
    with (
        mock.patch.object(Runner, '_log_env'),
        mock.patch('kd_plugins.engine.stages.run.free_memory'),
        unformatted(),
    ):
        yield


def run(cfg: Config, resume: str | None = None) -> Any:
    """Train it as ``tools/train.py`` does."""
    with quick():
        return train(copy.deepcopy(cfg), resume=resume)


def run_alone(cfg: Config) -> Any:
    """Train a page as if it had no stages, and nothing else had run."""
    cfg.pop('stages')
    with isolated():  # two that start within a second would share their logger
        return run(cfg)


_number = itertools.count()


def pretend(
    cfg: Config, resume: str | None = None, act: Any = None
) -> tuple[Any, list[str]]:
    """Stages that leave their files at once, other ones each time, and train nothing.

    Returns: the last runner; names of the stages that ran, with '+' if they continued.
    """
    trained: list[str] = []

    def leave(cfg: Config, resume: str | None) -> Any:
        folder = Path(cfg.work_dir)
        trained.append(folder.name + ('+' if resume else ''))
        for name in ('iter_2.pth', 'iter_4.pth', 'best_acc_iter_2.pth'):
            (folder / name).write_text(f'{name} {next(_number)}')
        hook = CheckpointHook(by_epoch=False, save_best='acc')
        hook.best_ckpt_path = str(folder / 'best_acc_iter_2.pth')
        return SimpleNamespace(
            work_dir=cfg.work_dir, hooks=[hook], model=nn.Identity(), cfg=cfg
        )

    with quick():
        last = train_stages(copy.deepcopy(cfg), leave, act=act, resume=resume)
    return last, trained


def log(work_dir: Path) -> str:
    """What was logged of all stages."""
    return (work_dir / 'stages.log').read_text()
