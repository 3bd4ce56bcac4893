"""The config for a user's own data is changed in one file."""

import re
import shutil
from pathlib import Path

import pytest
from mmengine.config import Config

from tests.configs.tree import CONFIGS, DISTILLATIONS


def test_classes_and_sizes_stand_in_one_file(tmp_path: Path) -> None:
    (ours,) = (path for path in DISTILLATIONS if '_camvid' in path.stem)
    copied = shutil.copytree(CONFIGS, tmp_path / 'configs')
    data = copied / '_base_/datasets/camvid.py'
    text = re.sub(
        r'metainfo = .*?(?=num_classes)',
        "metainfo = dict(classes=('weed', 'crop', 'soil'))\n",
        data.read_text(),
        flags=re.S,
    )
    data.write_text(text.replace('crop_size = (360, 480)', 'crop_size = (256, 256)'))
    teacher = copied / 'camvid/pspnet_r101-d8_20k_camvid-360x480.py'
    for path in (copied / ours.relative_to(CONFIGS), teacher):
        cfg = Config.fromfile(path)
        model = cfg.model.get('student', cfg.model)
        assert model.decode_head.num_classes == 3
        assert model.auxiliary_head.num_classes == 3
        assert model.data_preprocessor.size == (256, 256)
        for loader in (cfg.train_dataloader, cfg.val_dataloader, cfg.test_dataloader):
            assert loader.dataset.metainfo.classes == ('weed', 'crop', 'soil')
        assert [
            step.crop_size
            for step in cfg.train_dataloader.dataset.pipeline
            if step.type == 'RandomCrop'
        ] == [(256, 256)]


@pytest.mark.parametrize('ending', ['jpg', 'png'])
def test_images_may_be_jpegs(
    ending: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / 'data' / 'camvid' / 'train'
    folder.mkdir(parents=True)
    (folder / f'0001.{ending}').touch()
    cfg = Config.fromfile(CONFIGS / 'camvid/pspnet_r18-d8_20k_camvid-360x480.py')
    for loader in (cfg.train_dataloader, cfg.val_dataloader, cfg.test_dataloader):
        assert loader.dataset.img_suffix == f'.{ending}'
        assert loader.dataset.seg_map_suffix == '.png'
