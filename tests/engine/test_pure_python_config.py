"""Configs of classes, in mmengine's pure Python style, train and leave checkpoints."""

import logging
import os
from pathlib import Path
from typing import Any

import pytest
import torch
from mmengine.config import Config
from mmengine.optim import DefaultOptimWrapperConstructor, OptimWrapper
from mmengine.registry import MODELS

from kd_plugins.apis.stored_config import check_types, stored_config
from kd_plugins.apis.train import train
from kd_plugins.distillers.student import student_config
from kd_plugins.engine import distilling
from kd_plugins.engine.amp import BFloat16OptimWrapper, enable_amp
from kd_plugins.engine.hooks import ClockHook, FidelityHook
from kd_plugins.engine.opening import measures_fidelity
from tests.engine.hooks import toy

pytestmark = [
    pytest.mark.host,
    pytest.mark.filterwarnings('ignore:You are using `torch.load`:FutureWarning'),
]
STUDENT = """
from mmengine.dataset import InfiniteSampler
from mmengine.hooks import CheckpointHook
from mmengine.optim import OptimWrapper
from mmengine.runner import IterBasedTrainLoop
from torch.optim import SGD

from tests.engine.hooks.toy import ToyDataset, ToyStudent

default_scope = None
model = dict(type=ToyStudent, width=5)
train_dataloader = dict(
    batch_size=4, num_workers=0, dataset=dict(type=ToyDataset),
    sampler=dict(type=InfiniteSampler))
train_cfg = dict(type=IterBasedTrainLoop, max_iters=2)
optim_wrapper = dict(type=OptimWrapper, optimizer=dict(type=SGD, lr=0.1))
default_hooks = dict(checkpoint=dict(type=CheckpointHook, by_epoch=False, interval=2))
log_level = 'WARNING'
"""
DISTILLATION = """
from mmengine.config import read_base

with read_base():
    from .student import *

from kd_plugins.engine.hooks import ClockHook
from kd_plugins.engine.runner import DistillRunner
from tests.engine.hooks.toy import ToyDistiller

runner_type = DistillRunner
custom_hooks = [dict(type=ClockHook)]
model = dict(type=ToyDistiller, student=model)
"""


@pytest.fixture
def cfg(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Config:
    monkeypatch.syspath_prepend(tmp_path)
    package = tmp_path / 'team'
    package.mkdir()
    for name, text in (('__init__', ''), ('student', STUDENT), ('kd', DISTILLATION)):
        (package / f'{name}.py').write_text(text)
    cfg = Config.fromfile(package / 'kd.py')
    cfg.work_dir = str(tmp_path / 'run')
    cfg.experiment_name = f'pure_{os.getpid()}_{tmp_path.name}'
    return cfg


def test_the_student_is_a_plain_model_of_a_plain_config(cfg: Config) -> None:
    runner = train(cfg)
    assert [type(hook) for hook in runner.hooks].count(ClockHook) == 1
    assert toy.names(Path(cfg.work_dir)) == {'iter_2.pth', 'student_iter_2.pth'}
    saved = torch.load(Path(cfg.work_dir, 'student_iter_2.pth'), weights_only=False)
    text = saved['meta']['cfg']
    assert 'kd_plugins' not in text
    plain = Config.fromstring(text, '.py')
    model = MODELS.build(plain.model)
    assert type(model) is toy.ToyStudent
    model.load_state_dict(saved['state_dict'], strict=True)
    # It is exported by its stored config as well: read as data, its types looked up.
    check_types(stored_config(saved, 'student_iter_2.pth').model, 'student_iter_2.pth')


def test_the_training_s_own_config_imports_what_it_needs(cfg: Config) -> None:
    train(cfg)
    saved = torch.load(Path(cfg.work_dir, 'iter_2.pth'), weights_only=False)
    stored = Config.fromstring(saved['meta']['cfg'], '.py')
    assert stored.custom_imports.imports == ['kd_plugins']
    (dumped,) = Path(cfg.work_dir).glob('kd.py')
    assert Config.fromfile(dumped).custom_imports.imports == ['kd_plugins']


def test_a_student_that_cannot_be_written_costs_no_checkpoint(
    cfg: Config, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: Any) -> None:
        raise OSError('no space left')

    monkeypatch.setattr(distilling, 'student_checkpoint', fail)
    stale = Path(cfg.work_dir, 'student_iter_2.pth')
    stale.parent.mkdir()
    stale.touch()
    runner = train(cfg)
    assert toy.names(Path(cfg.work_dir)) == {'iter_2.pth'}
    log = next(Path(cfg.work_dir).rglob('*.log')).read_text()
    assert 'iter_2.pth was not written: OSError: no space left' in log
    assert runner.logger.level <= logging.WARNING


def test_classes_are_known_as_their_names_are() -> None:
    cfg = Config(
        dict(
            model=dict(type='kd_plugins.Distiller', student=dict(type=toy.ToyStudent)),
            custom_hooks=[dict(type=FidelityHook)],
            optim_wrapper=dict(
                type=OptimWrapper, constructor=DefaultOptimWrapperConstructor
            ),
        )
    )
    assert measures_fidelity(cfg)
    alone = student_config(cfg).to_dict()
    assert alone['custom_hooks'] == []
    assert alone['model'] == dict(type='tests.engine.hooks.toy.ToyStudent')
    enable_amp(cfg)
    if not torch.cuda.is_available():
        assert cfg.optim_wrapper.type == f'kd_plugins.{BFloat16OptimWrapper.__name__}'


def test_what_is_ours_is_imported_where_it_stays() -> None:
    data = dict(train_dataloader=dict(dataset=dict(type='kd_plugins.Data')))
    alone = student_config(Config(dict(model=dict(type='A'), **data)))
    assert alone.custom_imports == dict(
        imports=['kd_plugins'], allow_failed_imports=False
    )
    cfg = Config(dict(model=dict(type='A'), custom_imports=dict(imports='kd_plugins')))
    assert 'custom_imports' not in student_config(cfg)
