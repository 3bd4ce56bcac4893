"""The committed teachers are what their configs' headers say they are."""

import re
from pathlib import Path

import pytest
from safetensors import safe_open

import kd_plugins
from kd_plugins.apis.test import evaluate
from kd_plugins.apis.train import prepare_config

CONFIGS = Path(kd_plugins.__file__).parents[1] / 'configs'
# The config, and the score that its header gives.
TEACHERS = [
    (CONFIGS / 'digits/faster-rcnn_r18-w32_fpn_4k_digits.py', 'mAP'),
    (CONFIGS / 'digits/gfl_r18-w32_fpn_3k_digits.py', 'mAP'),
    (CONFIGS / 'mosaics/pspnet_r18-w24-d8_4k_mosaics-128x128.py', 'mIoU'),
    (CONFIGS / 'planes/depth_r18-w32_2k_planes-128x128.py', 'RMSE'),
]
METRICS = {'mAP': 'coco/bbox_mAP', 'mIoU': 'mIoU', 'RMSE': 'rmse'}
# What headers write is the metric times this: mAP in hundredths, as mIoU is.
FACTORS = {'mAP': 100.0, 'mIoU': 1.0, 'RMSE': 1.0}
# Other versions of OpenCV or PyTorch round the images or the weights otherwise: by a
# hundredth of what there is to score; a depth by some centimetres.
TOLERANCES = {'mAP': 1.0, 'mIoU': 1.0, 'RMSE': 0.03}

every_teacher = pytest.mark.parametrize(
    ('config', 'score'),
    TEACHERS,
    ids=['detector', 'one-stage detector', 'segmentor', 'depth estimator'],
)


@every_teacher
def test_is_small_and_says_how_it_was_made(config: Path, score: str) -> None:
    weights = config.with_suffix('.safetensors')
    with safe_open(str(weights), 'pt') as file:
        origin = file.metadata()

    assert weights.stat().st_size <= 8e6
    assert config.relative_to(CONFIGS.parent).as_posix() in origin['command']
    assert origin['seed'] == '0'
    written = f'{FACTORS[score] * float(origin[score]):g}'
    assert f'{written} {score}' in config.read_text()


def test_no_other_is_committed() -> None:
    tested = {config.with_suffix('.safetensors') for config, _ in TEACHERS}
    assert set(CONFIGS.rglob('*.safetensors')) <= tested


@pytest.fixture(scope='module')
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Made for the first teacher that is scored on them: two see the same."""
    return tmp_path_factory.mktemp('data')


@pytest.mark.slow
@every_teacher
def test_scores_what_is_claimed(
    config: Path,
    score: str,
    data: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    claimed = re.findall(rf'([\d.]+) {score}', config.read_text())[0]
    monkeypatch.setenv('KD_PLUGINS_DATA', str(data))
    cfg = prepare_config(config, work_dir=str(tmp_path / 'work'))
    cfg.log_level = 'WARNING'
    # The hosts keep visualizers by name, for the whole process.
    cfg.experiment_name = cfg.visualizer.name = config.stem
    for hook in cfg.custom_hooks:
        if hook.type == 'kd_plugins.PrepareDataHook':
            hook.update(train=8)  # all images to validate on, few of the others

    metrics = evaluate(cfg, str(config.with_suffix('.safetensors')))

    expected = pytest.approx(float(claimed), abs=TOLERANCES[score])
    assert FACTORS[score] * metrics[METRICS[score]] == expected
