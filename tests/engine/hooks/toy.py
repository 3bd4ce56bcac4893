"""A model, data and a config small enough to train in a tenth of a second.

Everything that may break a resume is in them: augmentations drawn from python's,
numpy's and torch's default streams, dropout, batch norm, a validation that draws, a
distiller that draws from a stream of its own.
"""

import copy
import itertools
import os
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import torch
from mmengine.config import Config
from mmengine.evaluator import BaseMetric
from mmengine.model import BaseModel
from mmengine.registry import DATASETS, METRICS, MODELS, RUNNERS
from mmengine.runner import Runner
from torch import Tensor, nn
from torch.utils.data import Dataset

from kd_plugins.random_stream import RandomStream
from kd_plugins.schedules import Clock

_run = itertools.count()


@DATASETS.register_module()
class ToyDataset(Dataset[dict[str, Tensor]]):
    metainfo = {'classes': ('zero', 'one')}

    def __init__(self, length: int = 24) -> None:
        generator = torch.Generator().manual_seed(7)
        self.inputs = torch.randn(length, 4, generator=generator)

    def __len__(self) -> int:
        return len(self.inputs)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        noise = torch.randn(4) * random.random() * float(np.random.rand())
        return {'inputs': self.inputs[index] + noise}


@MODELS.register_module()
class ToyStudent(BaseModel):
    """With a ``backbone`` and a ``head``, for options that go by name."""

    def __init__(
        self, width: int = 6, data_preprocessor: dict[str, Any] | None = None
    ) -> None:
        super().__init__(data_preprocessor)
        self.backbone = nn.Sequential(nn.Linear(4, width), nn.BatchNorm1d(width))
        self.head = nn.Sequential(nn.Dropout(0.3), nn.Linear(width, 2))

    def forward(self, inputs: Any, mode: str = 'tensor') -> Any:
        inputs = torch.stack(inputs) if isinstance(inputs, list) else inputs
        feature = self.backbone(inputs)
        output = self.head(feature)
        if mode == 'loss':
            return {'loss_task': ((output - inputs[:, :2]) ** 2).mean()}
        return list(output) if mode == 'predict' else feature


@MODELS.register_module()
class ToyDistiller(BaseModel):
    """What the runner knows of a distiller, and no more."""

    def __init__(
        self, student: dict[str, Any], weight: float = 1.0, adapter: bool = True
    ) -> None:
        built = MODELS.build(student)
        super().__init__(built.data_preprocessor)
        self.student = built
        self.weight = weight
        self.random_stream = RandomStream(3)
        width = built.backbone[0].out_features
        with self.random_stream.active():
            self.adapters = nn.ModuleDict(
                {'hint': nn.Linear(width, 4)} if adapter else {}
            )
            self.losses = nn.ModuleDict()
        self.clocks: list[Clock] = []

    def forward(self, inputs: Any, mode: str = 'tensor') -> Any:
        losses = self.student(inputs, mode=mode)
        if mode == 'loss' and len(self.adapters):
            feature = self.student.backbone(torch.stack(inputs))
            with self.random_stream.active():
                teacher = torch.randn(4)
            hint = ((self.adapters['hint'](feature) - teacher) ** 2).mean()
            losses['loss_kd_hint'] = self.weight * hint
        return losses

    @property
    def learners(self) -> dict[str, Any]:
        return {'student': self}

    def fast_state_dict(self) -> dict[str, Any]:
        return {}

    def load_fast_state_dict(self, states: dict[str, Any]) -> None:
        assert states == {}

    def init_weights(self) -> None:
        self.student.init_weights()

    def set_clock(self, clock: Clock) -> None:
        self.clocks.append(clock)

    def set_class_names(self, names: Sequence[str]) -> None:
        self.classes = tuple(names)

    def _load_from_state_dict(
        self, state_dict: dict[str, Tensor], prefix: str, *args: Any
    ) -> None:
        """Take a plain student's checkpoint too; the adapters stay."""
        if not any(key.startswith(f'{prefix}student.') for key in state_dict):
            for key in list(state_dict):
                state_dict[f'{prefix}student.{key[len(prefix) :]}'] = state_dict.pop(
                    key
                )
            state_dict.update(self.adapters.state_dict(prefix=f'{prefix}adapters.'))
        super()._load_from_state_dict(state_dict, prefix, *args)

    def summary(self) -> str:
        return 'hint: backbone'

    @staticmethod
    def student_state_dict(state_dict: dict[str, Tensor]) -> dict[str, Tensor]:
        return {
            key.removeprefix('student.'): value
            for key, value in state_dict.items()
            if key.startswith('student.')
        }


@METRICS.register_module()
class ToyMetric(BaseMetric):
    """A score that rises and falls: ``best_*`` follows some validations only."""

    def process(self, data_batch: Any, data_samples: Any) -> None:
        self.results.append(torch.stack(data_samples).abs().mean().item())

    def compute_metrics(self, results: list[float]) -> dict[str, float]:
        return {'acc': sum(results) / len(results) * random.random()}


def toy_config(work_dir: Path, **changes: Any) -> Config:
    """Ten iterations with a validation and a checkpoint at every second.

    Args:
        work_dir: of the run.
        changes: keys of the config with their new values; dicts are merged.
    """
    loader = {'batch_size': 4, 'num_workers': 0, 'dataset': {'type': 'ToyDataset'}}
    cfg = Config(
        {
            'model': {'type': 'ToyDistiller', 'student': {'type': 'ToyStudent'}},
            'work_dir': str(work_dir),
            'train_dataloader': {
                **loader,
                'sampler': {'type': 'InfiniteSampler', 'shuffle': True},
            },
            'val_dataloader': {
                **loader,
                'sampler': {'type': 'DefaultSampler', 'shuffle': False},
            },
            'train_cfg': {'by_epoch': False, 'max_iters': 10, 'val_interval': 2},
            'val_cfg': {},
            'val_evaluator': {'type': 'ToyMetric'},
            'optim_wrapper': {
                'type': 'OptimWrapper',
                'optimizer': {'type': 'AdamW', 'lr': 0.05, 'weight_decay': 0.1},
                'clip_grad': {'max_norm': 0.5},
            },
            'param_scheduler': {
                'type': 'CosineAnnealingLR',
                'T_max': 10,
                'by_epoch': False,
            },
            'default_hooks': {
                'checkpoint': {
                    'type': 'CheckpointHook',
                    'by_epoch': False,
                    'interval': 2,
                    'max_keep_ckpts': 2,
                    'save_best': 'acc',
                },
                'logger': {'type': 'LoggerHook', 'interval': 5},
            },
            'randomness': {'seed': 5},
            'runner_type': 'kd_plugins.DistillRunner',
            # The host keeps loggers and hubs by name, for the whole process.
            'experiment_name': f'toy_{os.getpid()}_{next(_run)}',
            'log_level': 'WARNING',
        }
    )
    cfg.merge_from_dict(copy.deepcopy(changes))  # it takes `_delete_` out of them
    return cfg


def build(cfg: Config) -> Runner:
    """The runner of a config, by the registry as the hosts' tools build it."""
    with mock.patch.object(Runner, '_log_env'):  # asks the compiler: a second
        return RUNNERS.build(cfg)


def unformatted() -> Any:
    """Context in which the host does not format a config's text at every save.

    With a real config, that takes a second or more each time.
    """
    text = property(lambda cfg: repr(cfg._cfg_dict.to_dict()))
    return mock.patch.object(Config, 'pretty_text', text)


def train(work_dir: Path, **changes: Any) -> Runner:
    """Train the toy to its end."""
    runner = build(toy_config(work_dir, **changes))
    runner.train()
    return runner


def same_state(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    """Whether two states are equal bit for bit."""
    return one.keys() == other.keys() and all(
        torch.equal(one[key], other[key]) for key in one
    )


def names(work_dir: Path) -> set[str]:
    """Checkpoint files in a folder."""
    return {path.name for path in work_dir.glob('*.pth')}
