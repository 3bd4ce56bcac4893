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


def write_protocol(folder: Path) -> Path:
    """Protocol and configs of three recipes: no model is ever built."""
    for name, strength in {'baseline': 0, 'hint': 4, 'plain': 2, 'teacher': 9}.items():
        (folder / f'{name}.py').write_text(CONFIG.format(strength=strength))
    (folder / 'teacher.pth').write_bytes(b'weights')
    (folder / 'protocol.py').write_text(PROTOCOL)
    return folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Of :func:`write_protocol`."""
    return write_protocol(tmp_path)


@pytest.fixture
def commands() -> Commands:
    """Of :func:`fake_commands`."""
    return fake_commands()


def fake_commands() -> Commands:
    """Tools that take no time; they note each call in ``calls.txt``."""
    return Commands(
        train=(sys.executable, '-S', str(TOOL), 'train'),
        test=(sys.executable, '-S', str(TOOL), 'test'),
    )
