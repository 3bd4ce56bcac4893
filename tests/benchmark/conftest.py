import sys
from pathlib import Path

import pytest

from kd_plugins.benchmark.runs import Commands

CONFIG = """
model = dict(type='FasterRCNN')
train_cfg = dict(type='IterBasedTrainLoop', max_iters=100)
randomness = dict(seed=0)
default_hooks = dict(timer=dict(type='IterTimerHook'))
strength = {strength}
"""
PROTOCOL = """
metric = 'coco/bbox_mAP'
scale = 100
unit = 'mAP'
seeds = [0, 1, 2]
baseline = 'baseline'
recipes = {
    'hint': dict(config='hint.py'),
    'baseline': dict(config='baseline.py'),
    'plain': dict(config='plain.py'),
}
teacher = dict(config='teacher.py', checkpoint='teacher.pth')
comparisons = [('hint', 'plain')]
workers = 2
"""
# Writes the logs that the host's tools write; the score depends on config and seed.
TOOL = Path(__file__).with_name('fake_tool.py')


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Protocol and configs of three recipes: no model is ever built."""
    for name, strength in {'baseline': 0, 'hint': 4, 'plain': 2, 'teacher': 9}.items():
        (tmp_path / f'{name}.py').write_text(CONFIG.format(strength=strength))
    (tmp_path / 'teacher.pth').write_bytes(b'weights')
    (tmp_path / 'protocol.py').write_text(PROTOCOL)
    return tmp_path


@pytest.fixture
def commands() -> Commands:
    """Tools that take no time; they note each call in ``calls.txt``."""
    return Commands(
        train=(sys.executable, '-S', str(TOOL), 'train'),
        test=(sys.executable, '-S', str(TOOL), 'test'),
    )
