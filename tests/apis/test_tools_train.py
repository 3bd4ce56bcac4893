"""The hosts' own command lines train configs of anybody's, anywhere."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.engine.hooks.toy import names

pytestmark = [
    pytest.mark.host,
    pytest.mark.slow,
    pytest.mark.usefixtures('warm_processes'),
]
ROOT = Path(__file__).parents[2]
# Two ways, since mmengine reads `_base_` before it imports anything of the config.
# A base of somebody's own imports a backbone of theirs; ours stands beside it.
OWN = "custom_imports = dict(imports=['tests.engine.hooks.toy'])"
IMPORTED = """
_base_ = __import__('kd_plugins') and [
    '{host}::_base_/default_runtime.py', './own.py', 'kd_plugins::_base_/distill.py']
"""
WRITTEN = """
_base_ = ['{host}::_base_/default_runtime.py']
custom_imports = dict(imports=['kd_plugins', 'tests.engine.hooks.toy'])
runner_type = 'kd_plugins.DistillRunner'
"""
REST = """
model = dict(type='ToyDistiller', student=dict(type='ToyStudent'))
train_dataloader = dict(
    batch_size=4, dataset=dict(type='ToyDataset'), sampler=dict(type='InfiniteSampler'))
train_cfg = dict(by_epoch=False, max_iters=4)
optim_wrapper = dict(type='OptimWrapper', optimizer=dict(type='SGD', lr=0.1))
default_hooks = dict(
    checkpoint=dict(type='CheckpointHook', by_epoch=False, interval=2))
randomness = dict(seed=1)
"""


def tool(host: str) -> str:
    spec = importlib.util.find_spec(host)
    assert spec is not None
    assert spec.origin is not None
    return str(Path(spec.origin).parent / '.mim' / 'tools' / 'train.py')


@pytest.mark.parametrize(
    ('host', 'head'), [('mmdet', IMPORTED), ('mmdet', WRITTEN), ('mmseg', IMPORTED)]
)
def test_trains_a_config_from_outside(host: str, head: str, tmp_path: Path) -> None:
    path = tmp_path / 'config.py'
    path.write_text(head.format(host=host) + REST)
    (tmp_path / 'own.py').write_text(OWN)
    work_dir = tmp_path / 'run'
    command = [sys.executable, tool(host), str(path), '--work-dir', str(work_dir)]
    env = {**os.environ, 'PYTHONPATH': str(ROOT), 'OMP_NUM_THREADS': '1'}
    done = subprocess.run(
        [*command, '--resume', '--amp'],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        env=env,
    )
    assert done.returncode == 0, done.stderr
    assert names(work_dir) == {
        *('iter_2.pth', 'student_iter_2.pth'),
        *('iter_4.pth', 'student_iter_4.pth'),
    }
    log = done.stdout + done.stderr
    assert 'Distillation:' in log
    assert 'No whole checkpoint to resume' in log
