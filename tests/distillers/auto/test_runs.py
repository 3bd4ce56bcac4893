"""Runs of ``pairs='auto'``: as its text, resumed, saved, and without the package."""

from pathlib import Path
from typing import Any

import pytest
import torch
from mmengine.config import Config

from kd_plugins.apis.export import export_student
from kd_plugins.checkpoints import read_checkpoint
from kd_plugins.registry import MODELS
from tests.distillers import tiny
from tests.distillers.auto.models import auto
from tests.distillers.auto.test_text import pasted
from tests.distillers.runs import assert_same_weights, train

RUNNER: dict[str, Any] = dict(
    runner_type='kd_plugins.DistillRunner',
    default_hooks=dict(
        logger=dict(type='LoggerHook', interval=1),
        checkpoint=dict(type='CheckpointHook', by_epoch=False, interval=2),
    ),
)


def cfg(pairs: Any = 'auto') -> dict[str, Any]:
    whole = auto(tiny.faster_rcnn(), tiny.faster_rcnn(8, 16), pairs)
    whole['teacher']['fast'] = False  # the run of the module knows no fixture of a test
    return whole


@pytest.fixture(scope='module')
def run(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Four iterations, its weights balanced by measurement."""
    return train(cfg(), tmp_path_factory.mktemp('auto'), **RUNNER)


def test_weights_follow_the_gradients(run: Any) -> None:
    logged = run.message_hub.log_scalars
    for name in ('features', 'logits'):
        assert logged[f'train/loss_kd_{name}'].data[0].min() > 0
        assert logged[f'train/kd_weight/{name}'].data[0].min() > 0


def test_the_text_gives_the_same_run_bit_for_bit(run: Any, tmp_path: Path) -> None:
    by_hand = train(cfg(pasted(run.model.choice.text())), tmp_path, **RUNNER)
    assert_same_weights(run.model.state_dict(), by_hand.model.state_dict())


def test_it_resumes_bit_for_bit(run: Any, tmp_path: Path) -> None:
    earlier = Path(run.work_dir) / 'iter_2.pth'
    resumed = train(cfg(), tmp_path, **RUNNER, resume=True, load_from=str(earlier))
    assert_same_weights(run.model.state_dict(), resumed.model.state_dict())


def test_its_checkpoint_says_auto_and_builds_again(run: Any) -> None:
    saved = read_checkpoint(Path(run.work_dir) / 'iter_4.pth')
    again = MODELS.build(run.cfg.model)
    assert run.cfg.model.pairs == 'auto'
    again.load_state_dict(saved['state_dict'])
    assert again.choice == run.model.choice


def test_its_student_is_the_host_s_own(run: Any) -> None:
    weights = read_checkpoint(Path(run.work_dir) / 'student_iter_4.pth')['state_dict']
    plain = MODELS.build(tiny.faster_rcnn())
    plain.load_state_dict(weights, strict=True)
    assert_same_weights(plain.state_dict(), run.model.student.state_dict())


@pytest.mark.parametrize('pairs', ['auto', dict(type='auto', logits=None)])
def test_its_student_goes_out(run: Any, pairs: Any, tmp_path: Path) -> None:
    state = read_checkpoint(Path(run.work_dir) / 'iter_4.pth')['state_dict']
    meta = dict(cfg=Config(dict(model=cfg(pairs))).pretty_text)
    torch.save(dict(meta=meta, state_dict=state), tmp_path / 'iter_4.pth')
    export_student(str(tmp_path / 'iter_4.pth'), tmp_path / 'out.pth')
    weights = read_checkpoint(tmp_path / 'out.pth')['state_dict']
    assert_same_weights(dict(weights), run.model.student.state_dict())
