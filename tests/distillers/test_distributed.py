import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.engine.hooks.toy import build, same_state, unformatted

from .split import far_apart, split_config, split_kinds, split_peers, split_segments

pytestmark = [pytest.mark.host, pytest.mark.slow]


@pytest.fixture(scope='module')
def ends(
    tmp_path_factory: pytest.TempPathFactory, tiny_digits: Path, tiny_mosaics: Path
) -> dict[str, Any]:
    """What each process of each run ended with."""
    folder = tmp_path_factory.mktemp('two')
    command = [sys.executable, '-m', 'tests.distillers.two_processes', str(folder)]
    assert tiny_mosaics.parent == tiny_digits.parent
    env = {**os.environ, 'KD_PLUGINS_DATA': str(tiny_digits.parent)}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=env)
    logs = [path.read_text() for path in folder.glob('log_*')]
    assert done.returncode == 0, '\n'.join([*logs, done.stderr])
    found: dict[str, Any] = {
        path.stem: torch.load(path, weights_only=True) for path in folder.glob('*.pth')
    }
    found['log'] = '\n'.join(
        path.read_text() for path in (folder / 'resumed').rglob('*.log')
    )
    found['files'] = {path.name for path in (folder / 'whole').glob('*.pth')}
    return found


@pytest.mark.parametrize(
    ('run', 'ours'),
    [
        ('whole', 'adapters.'),
        ('detection', 'adapters.'),
        ('segmentation', 'losses.holistic.critic.'),
        ('alone', 'losses.uskdloss.classifier.'),
    ],
)
def test_all_processes_end_identical(ends: dict[str, Any], run: str, ours: str) -> None:
    first, second = ends[f'{run}_0'], ends[f'{run}_1']
    # Statistics of batch norm are each process's own, as in the host.
    trained = first['trained']
    assert any(name.startswith(ours) for name in trained)
    assert any(name.startswith('student.backbone.') for name in trained)
    # A critic is outside DDP's buckets, its buffers (spectral norms) averaged too.
    for name in {*trained, *(key for key in first['state'] if key.startswith(ours))}:
        assert torch.equal(first['state'][name], second['state'][name]), name
    assert not torch.equal(first['draw'], second['draw'])


@pytest.mark.parametrize('rank', [0, 1])
def test_each_process_resumes_its_own_random_stream(
    ends: dict[str, Any], rank: int
) -> None:
    assert 'the newest whole checkpoint' in ends['log']
    whole, resumed = ends[f'whole_{rank}'], ends[f'resumed_{rank}']
    for key in ('draw', 'own'):
        assert torch.equal(whole[key], resumed[key])


def test_a_resumed_run_ends_as_the_uninterrupted_one(ends: dict[str, Any]) -> None:
    assert same_state(ends['whole_0']['state'], ends['resumed_0']['state'])


def test_our_wrapper_is_used_and_files_are_written_once(ends: dict[str, Any]) -> None:
    assert ends['whole_0']['wrapper'] == 'DistillDistributedDataParallel'
    assert ends['files'] >= {'iter_10.pth', 'student_iter_10.pth'}


SPLITS = {
    'boxes': (
        split_config,
        ('hint', 'rcn_cls', 'rcn_reg', 'rpn_cls', 'rpn_reg'),
        ('adapters', 'student.backbone', 'student.rpn', 'student.roi'),
    ),
    'kinds': (
        split_kinds,
        ('many_cls', 'many_hint', 'road', 'rich'),
        ('adapters', 'student.backbone', 'student.roi'),
    ),
    'peers': (
        split_peers,
        ('logits', 'rpn', 'hint'),
        (
            *('peers.first.student.roi', 'peers.first.student.backbone'),
            *('peers.second.student.rpn', 'peers.second.adapters'),
        ),
    ),
    'segments': (
        split_segments,
        ('pixel', 'pair'),
        ('losses.holistic.critic', 'student.backbone', 'student.decode_head'),
    ),
}


@pytest.mark.parametrize('run', SPLITS)
def test_one_image_a_process_trains_as_one_process_with_both(
    ends: dict[str, Any], run: str, tmp_path: Path
) -> None:
    make_cfg, pairs, parts = SPLITS[run]
    with unformatted():
        runner = build(make_cfg(tmp_path, 2))
        start = {name: each.clone() for name, each in runner.model.state_dict().items()}
        runner.train()
    whole = runner.model.state_dict()
    assert not far_apart(ends[f'{run}_0']['state'], whole)
    # That could fail: the weights went a long way, those of adapters and critic too.
    scalars = runner.message_hub.log_scalars
    for pair in pairs:
        of_pair = [key for key in scalars if key.endswith(f'loss_kd_{pair}')]
        assert of_pair and all(scalars[key].min() > 0 for key in of_pair)
    moved = far_apart(start, whole)
    for part in parts:
        assert max(moved[name] for name in moved if name.startswith(part)) > 1e-3
