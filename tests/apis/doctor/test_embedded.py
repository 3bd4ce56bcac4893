"""From a training to its diagnosis, on the embedded tasks with their own teachers."""

import os
from importlib import import_module
from pathlib import Path

import pytest

from kd_plugins.apis.doctor import Diagnosis, examine
from kd_plugins.apis.train import prepare_config

train = import_module('tools.train')
CONFIGS = Path(__file__).parents[3] / 'configs'
SMALL = {
    'train_cfg.max_iters': 2,
    'train_cfg.val_interval': 1,
    'train_dataloader.batch_size': 2,
    'val_dataloader.batch_size': 2,
    'default_hooks.checkpoint.interval': 2,
    'default_hooks.logger.interval': 1,
    'custom_hooks': [],
    'log_level': 'WARNING',
}
DIGITS = {'train_dataloader.dataset.ann_file': 'annotations/train.json'}
MOSAICS = {'train_dataloader.dataset.ann_file': 'splits/train.txt'}
PLANES = {'train_dataloader.dataset.indices': 8}


@pytest.fixture(autouse=True)
def _data(
    tiny_digits: Path,
    tiny_mosaics: Path,
    tiny_planes: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert tiny_mosaics.parent == tiny_planes.parent == tiny_digits.parent
    monkeypatch.setenv('KD_PLUGINS_DATA', str(tiny_digits.parent))


def trained(path: Path, work_dir: Path, options: dict) -> Diagnosis:
    """What the doctor says of two iterations."""
    name = f'why_{path.stem}_{os.getpid()}'
    # The hosts keep what they name for the whole process.
    names = {'experiment_name': name, 'visualizer.name': name}
    every = {**SMALL, **options, **names}
    given = [f'{key}={value}' for key, value in every.items()]
    train.main([str(path), '--work-dir', str(work_dir), '--cfg-options', *given])
    every |= {key: f'{value}_again' for key, value in names.items()}
    cfg = prepare_config(path, options=every, work_dir=str(work_dir))
    return examine(cfg, images=4, batches=1)


@pytest.mark.slow
@pytest.mark.parametrize(
    ('config', 'options', 'unit', 'agreement'),
    [
        ('frcnn_kd.py', DIGITS, 'mAP', 'the student finds, and names alike'),
        (
            'skd/skd-pixel_psp-w24_psp-w6_1500it_mosaics-300.py',
            MOSAICS,
            'mIoU',
            'the student gives the same class',
        ),
        ('skd/skd-pair_depth-w32_depth-w16_1k_planes-300.py', PLANES, 'RMSE', None),
    ],
)
def test_every_task_has_its_diagnosis(
    config: str, options: dict, unit: str, agreement: str | None, tmp_path: Path
) -> None:
    diagnosis = trained(CONFIGS / config, tmp_path / 'run', options)
    found: dict[str, list[str]] = {}
    for name, item in diagnosis.findings:
        found.setdefault(name, []).append(item.sentence)
    reasons = {name: item.reason for name, item in diagnosis.not_checked}
    # An untrained student, and a teacher that is good.
    said = f'{unit}, on all 4 validation images'
    assert any(said in text for text in found['teacher'])
    assert any('its checkpoint says' in text for text in found['teacher'])
    assert set(found) >= {
        *('teacher', 'normalisation', 'gradients', 'soft targets', 'labels'),
        *('equal time', 'config'),
    }
    assert found['config'] == ['The checkpoint was trained by this config.']
    assert 'gap' in found
    if agreement is None:
        assert 'got' in reasons['agreement']
    else:
        assert any(agreement in text for text in found['agreement'])
    assert set(reasons) <= {'classes', 'normalisation', 'agreement'}
