"""The hosts' own runner on the embedded data, which nobody made beforehand."""

from pathlib import Path

import pytest
from mmengine.config import Config
from mmengine.runner import Runner

CONFIGS = Path(__file__).parents[2] / 'configs'


def run_one_iteration(config: Config, tmp_path: Path) -> dict[str, float]:
    """Scores after one iteration on 4 images and a validation on 2."""
    (hook,) = config.custom_hooks
    hook.update(train=4, val=2)
    config.work_dir = str(tmp_path / 'work')
    config.train_cfg = dict(type='IterBasedTrainLoop', max_iters=1, val_interval=1)
    config.train_dataloader.batch_size = 2
    runner = Runner.from_cfg(config)
    runner.train()
    assert runner.iter == 1
    return {
        name: runner.message_hub.get_scalar(f'val/{name}').current()
        for name in ('coco/bbox_mAP', 'mIoU', 'rmse')
        if f'val/{name}' in runner.message_hub.log_scalars
    }


@pytest.mark.host
def test_detection_on_digits(tmp_path, monkeypatch):
    monkeypatch.setenv('KD_PLUGINS_DATA', str(tmp_path))
    name = 'digits/faster-rcnn_r18-w16_fpn_1k_digits-300.py'
    scores = run_one_iteration(Config.fromfile(CONFIGS / name), tmp_path)
    assert set(scores) == {'coco/bbox_mAP'}
    assert (tmp_path / 'digits' / 'annotations' / 'train_300.json').exists()


@pytest.mark.host
def test_segmentation_of_mosaics(tmp_path, monkeypatch):
    monkeypatch.setenv('KD_PLUGINS_DATA', str(tmp_path))
    path = tmp_path / 'config.py'
    path.write_text(f"""
_base_ = {str(CONFIGS / '_base_' / 'datasets' / 'mosaics.py')!r}
default_scope = 'mmseg'
model = dict(
    type='EncoderDecoder',
    data_preprocessor=dict(
        type='SegDataPreProcessor', mean=[120.0] * 3, std=[60.0] * 3,
        bgr_to_rgb=True, pad_val=0, seg_pad_val=255, size=(128, 128)),
    backbone=dict(
        type='ResNet', depth=18, base_channels=4, stem_channels=4,
        norm_cfg=dict(type='BN')),
    decode_head=dict(
        type='FCNHead', in_channels=32, channels=8, num_classes=13,
        norm_cfg=dict(type='BN'), align_corners=False),
    train_cfg=dict(), test_cfg=dict(mode='whole'))
optim_wrapper = dict(optimizer=dict(type='SGD', lr=0.01))
val_cfg = dict()
test_cfg = dict()
""")
    scores = run_one_iteration(Config.fromfile(path), tmp_path)
    assert set(scores) == {'mIoU'}
    assert (tmp_path / 'mosaics' / 'splits' / 'val.txt').exists()


@pytest.mark.host
def test_depth_of_planes(tmp_path, monkeypatch):
    monkeypatch.setenv('KD_PLUGINS_DATA', str(tmp_path))
    name = 'planes/depth_r18-w16_1k_planes-300-128x128.py'
    scores = run_one_iteration(Config.fromfile(CONFIGS / name), tmp_path)
    assert set(scores) == {'rmse'}
    assert 0 < scores['rmse'] < 10
    assert (tmp_path / 'planes' / 'annotations' / 'val' / '00001.png').exists()
