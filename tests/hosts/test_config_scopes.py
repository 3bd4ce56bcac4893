"""Config names before ``::``, and no package installed behind the user's back."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from mmengine.config import Config
from mmengine.config import utils as config_utils
from mmengine.hub import get_config
from mmengine.utils import package_utils

from kd_plugins.errors import HostError
from kd_plugins.hosts.config_scopes import register_scopes
from kd_plugins.hosts.packages import MAINTAINED, ORIGINAL

ROOT = Path(__file__).parents[2]
OURS = """_base_ = [
    'mmdet::_base_/models/faster-rcnn_r50_fpn.py',
    {}'kd_plugins::_base_/datasets/digits_detection.py']
"""


@pytest.fixture
def restored(monkeypatch):
    """mmengine as it is before anything of ours is registered, and again after."""
    monkeypatch.setattr(
        config_utils, 'MODULE2PACKAGE', {'mmseg': 'mmsegmentation', 'mmpose': 'mmpose'}
    )
    monkeypatch.setattr(package_utils, 'call_command', None)


@pytest.mark.host
def test_our_configs_are_found_by_name(tmp_path):
    (tmp_path / 'config.py').write_text(OURS.format(''))
    config = Config.fromfile(tmp_path / 'config.py')
    assert config.train_dataloader.dataset.type == 'CocoDataset'
    assert config.model.type == 'FasterRCNN'


@pytest.mark.host
def test_our_configs_are_found_by_the_hosts_own_tools(tmp_path):
    """Without an import beforehand: mmengine evaluates ``_base_`` as an expression."""
    path = tmp_path / 'config.py'
    path.write_text(OURS.format("__import__('kd_plugins') and "))
    code = f'from mmengine.config import Config; Config.fromfile({str(path)!r})'
    done = subprocess.run(
        [sys.executable, '-c', code],
        cwd=tmp_path,
        env=os.environ | {'PYTHONPATH': str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.host
@pytest.mark.parametrize(
    'name',
    [
        'mmdet::faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py',
        'mmseg::pspnet/pspnet_r50-d8_4xb2-40k_cityscapes-512x1024.py',
    ],
)
def test_hub_finds_the_hosts_configs(name):
    assert get_config(name).model.backbone.depth == 50


def test_original_family_keeps_mmengines_names(restored):
    register_scopes(ORIGINAL)
    assert config_utils.MODULE2PACKAGE['mmseg'] == 'mmsegmentation'
    assert package_utils.call_command is None


def test_maintained_family_installs_nothing(restored):
    register_scopes(MAINTAINED)
    with pytest.raises(
        HostError,
        match=r"'no_such_package' is not installed.* now run `python -m pip install "
        r'no_such_package`.*install it yourself: pip install no_such_package',
    ):
        package_utils.install_package('no_such_package')


def test_maintained_family_names_its_own_distribution(restored):
    register_scopes(MAINTAINED)
    with pytest.raises(HostError, match=r'yourself: pip install onedl-mmdetection$'):
        package_utils.call_command(['python', '-m', 'pip', 'install', 'mmdet'])
