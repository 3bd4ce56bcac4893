"""The hosts' own command lines train our configs."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.hooks.toy import names

pytestmark = [pytest.mark.host, pytest.mark.slow]
ROOT = Path(__file__).parents[2]


def tool(host: str) -> str:
    spec = importlib.util.find_spec(host)
    assert spec is not None
    assert spec.origin is not None
    return str(Path(spec.origin).parent / '.mim' / 'tools' / 'train.py')


@pytest.mark.parametrize('host', ['mmdet', 'mmseg'])
def test_trains_with_the_base_config_alone(host: str, tmp_path: Path) -> None:
    path = tmp_path / 'config.py'
    path.write_text(
        f"""
_base_ = ['{ROOT}/configs/_base_/distill.py']
default_scope = '{host}'
custom_imports = dict(imports=['kd_plugins', 'tests.hooks.toy'])
model = dict(type='ToyDistiller', student=dict(type='ToyStudent'))
train_dataloader = dict(
    batch_size=4, dataset=dict(type='ToyDataset'), sampler=dict(type='InfiniteSampler'))
train_cfg = dict(by_epoch=False, max_iters=4)
optim_wrapper = dict(type='OptimWrapper', optimizer=dict(type='SGD', lr=0.1))
default_hooks = dict(
    checkpoint=dict(type='CheckpointHook', by_epoch=False, interval=2))
randomness = dict(seed=1)
"""
    )
    work_dir = tmp_path / 'run'
    command = [sys.executable, tool(host), str(path), '--work-dir', str(work_dir)]
    env = {**os.environ, 'PYTHONPATH': str(ROOT), 'OMP_NUM_THREADS': '1'}
    options = ['--resume', '--amp']
    done = subprocess.run(
        [*command, *options], capture_output=True, text=True, check=False, env=env
    )
    assert done.returncode == 0, done.stderr
    assert names(work_dir) == {
        *('iter_2.pth', 'student_iter_2.pth'),
        *('iter_4.pth', 'student_iter_4.pth'),
    }
    log = done.stdout + done.stderr
    assert 'Distillation plan' in log
    assert 'No whole checkpoint to resume' in log
