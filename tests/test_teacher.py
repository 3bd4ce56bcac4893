"""The committed teacher is what its config's header says it is."""

import re
from pathlib import Path

import pytest
from safetensors import safe_open

import kd_plugins
from kd_plugins.hosts.running import prepare_config
from kd_plugins.hosts.testing import evaluate

CONFIG = (
    Path(kd_plugins.__file__).parents[1]
    / 'configs/digits/faster-rcnn_r18-w32_fpn_4k_digits.py'
)
WEIGHTS = CONFIG.with_suffix('.safetensors')


def test_is_small_and_says_how_it_was_made() -> None:
    with safe_open(str(WEIGHTS), 'pt') as file:
        origin = file.metadata()

    assert WEIGHTS.stat().st_size <= 8e6
    assert f'configs/digits/{CONFIG.name}' in origin['command']
    assert origin['seed'] == '0'
    assert f'{origin["mAP"]} mAP' in CONFIG.read_text()


@pytest.mark.slow
def test_scores_what_is_claimed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    claimed = float(re.findall(r'([\d.]+) mAP', CONFIG.read_text())[0])
    monkeypatch.setenv('KD_PLUGINS_DATA', str(tmp_path / 'data'))
    cfg = prepare_config(CONFIG, work_dir=str(tmp_path / 'work'))
    cfg.log_level = 'WARNING'
    for hook in cfg.custom_hooks:
        if hook.type == 'kd_plugins.PrepareDataHook':
            hook.update(train=8)  # all images to validate on, few of the others

    metrics = evaluate(cfg, str(WEIGHTS))

    # Other versions of OpenCV or PyTorch round the images or the weights otherwise.
    assert metrics['coco/bbox_mAP'] == pytest.approx(claimed, abs=0.01)
