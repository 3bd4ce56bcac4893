"""On the embedded data: exact records train as the teacher itself, bit for bit."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from mmengine.config import ConfigDict

from tests.engine.hooks.toy import build, unformatted

from .main_job import DETECTION, short
from .runs import assert_same_weights

# A neck, an RPN and RoIs; a dense head; class maps of pixels.
JOBS = {
    'two-stage': DETECTION,
    'one-stage': 'kd/kd-logits_gfl-w32_gfl-w16_1k_digits-300.py',
    'pixels': 'cwd/cwd-logits_psp-w24_psp-w6_1500it_mosaics-300.py',
}


@pytest.fixture(autouse=True)
def data(
    tiny_digits: Path, tiny_mosaics: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[None]:
    assert tiny_mosaics.parent == tiny_digits.parent
    monkeypatch.setenv('KD_PLUGINS_DATA', str(tiny_digits.parent))
    with unformatted():
        yield


def trained(job: str, work_dir: Path, **teacher: Any) -> Any:
    """The runner, after six iterations on two views of eight images."""
    cfg = short(job, work_dir)
    cfg.merge_from_dict(dict.fromkeys(('val_dataloader', 'val_cfg', 'val_evaluator')))
    cfg.train_cfg = dict(by_epoch=False, max_iters=6)
    cfg.default_hooks.checkpoint.pop('save_best')
    data = cfg.train_dataloader.dataset
    cfg.train_dataloader.dataset = ConfigDict(
        type='kd_plugins.SeededViews', dataset=data, views=2
    )
    cfg.model.teacher.update(teacher)
    runner = build(cfg)
    runner.train()
    return runner


@pytest.mark.host
@pytest.mark.slow
@pytest.mark.parametrize('job', JOBS.values(), ids=list(JOBS))
def test_exact_records_train_as_the_teacher_itself(job: str, tmp_path: Path) -> None:
    exact = dict(folder=str(tmp_path / 'records'), dtype='float32')
    plain = trained(job, tmp_path / 'plain', fast=False)
    filling = trained(job, tmp_path / 'filling', cache=exact)
    reading = trained(job, tmp_path / 'reading', cache=exact)
    (filled,), (read,) = (
        runner.model.teachers['teacher'].cache.shelves for runner in (filling, reading)
    )
    assert filled.misses == 12 and (read.hits, read.misses) == (12, 0)
    expected = plain.model.state_dict()
    assert_same_weights(expected, filling.model.state_dict())
    assert_same_weights(expected, reading.model.state_dict())
