"""Models of configuration files, and what is left out for a teacher."""

from pathlib import Path

import pytest
import torch
from mmengine.config import ConfigDict

from kd_plugins.errors import ConfigError
from kd_plugins.registry import MODELS
from kd_plugins.teachers import (
    model_config,
    without_pretrained,
)
from tests.distillers.tiny import (
    config,
)

CPU = torch.device('cpu')


def test_student_without_type_is_an_error() -> None:
    with pytest.raises(
        ConfigError, match=r"model.student: must be a model.*got 'a.py'"
    ):
        MODELS.build(config({}, student='a.py'))


def test_model_of_a_file_keeps_its_scope_and_takes_changes(tmp_path: Path) -> None:
    path = tmp_path / 'model.py'
    path.write_text(
        "default_scope = 'mmdet'\n"
        "model = dict(type='RetinaNet', backbone=dict(type='ResNet', depth=50))\n"
    )
    changes = dict(backbone=dict(depth=18))
    model = model_config(dict(cfg=str(path), **changes))
    assert model == dict(
        type='RetinaNet', backbone=dict(type='ResNet', depth=18), _scope_='mmdet'
    )


@pytest.mark.host
def test_model_of_the_hosts_own_configs() -> None:
    cfg = dict(cfg='mmdet::retinanet/retinanet_r18_fpn_1x_coco.py')
    model = model_config(cfg)
    assert model.type == 'RetinaNet' and model.backbone.depth == 18
    assert model._scope_ == 'mmdet'


def test_file_without_a_model_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / 'data.py'
    path.write_text('a = 1\n')
    with pytest.raises(ConfigError, match=r'^cfg: .* defines no model'):
        model_config(dict(cfg=str(path)))


def test_weights_of_others_are_not_fetched_for_a_teacher() -> None:
    pretrained = dict(type='Pretrained', checkpoint='torchvision://resnet50')
    kaiming = dict(type='Kaiming', layer='Conv2d')
    cfg = ConfigDict(
        pretrained='x',
        backbone=dict(init_cfg=pretrained, depth=50),
        necks=[dict(init_cfg=kaiming), dict(init_cfg=[kaiming, pretrained])],
        pvt=dict(init_cfg=dict(checkpoint='pvt.pth')),  # as the host has it
        heads=[dict(checkpoint='of its own'), pretrained],
    )
    assert without_pretrained(cfg) == dict(
        backbone=dict(depth=50),
        necks=[dict(init_cfg=kaiming), dict(init_cfg=[kaiming])],
        pvt=dict(),
        heads=[dict(checkpoint='of its own'), pretrained],
    )


def test_preprocessor_of_a_whole_file_is_its_models(tmp_path: Path) -> None:
    path = tmp_path / 'model.py'
    path.write_text(
        "data_preprocessor = dict(type='Own', size=(8, 8), mean=[1.0])\n"
        "model = dict(type='A')\n"
    )
    found = model_config(dict(cfg=str(path)))
    assert found.data_preprocessor == dict(type='Own', size=(8, 8), mean=[1.0])
    changed = dict(cfg=str(path), data_preprocessor=dict(mean=[2.0]))
    found = model_config(changed)
    assert found.data_preprocessor == dict(type='Own', size=(8, 8), mean=[2.0])
    path.write_text(path.read_text() + "model['data_preprocessor'] = dict(type='B')")
    found = model_config(dict(cfg=str(path)))
    assert found.data_preprocessor == dict(type='B')


def test_a_misspelt_change_of_a_file_names_the_nearest(tmp_path: Path) -> None:
    path = tmp_path / 'model.py'
    path.write_text("model = dict(type='mmdet.RetinaNet', bbox_head=dict())\n")
    message = r"^the RetinaNet of 'cfg' has no 'bbox_haed'\. Close: 'bbox_head'"
    with pytest.raises(ConfigError, match=message):
        model_config(dict(cfg=str(path), bbox_haed=dict(num_classes=3)))
    taken = model_config(dict(cfg=str(path), neck=dict(type='FPN')))  # of the class
    assert taken.neck == dict(type='FPN')


def test_of_a_type_that_nobody_knows_the_files_own_keys_are_taken(
    tmp_path: Path,
) -> None:
    path = tmp_path / 'model.py'
    path.write_text("model = dict(type='Nowhere', head=dict(a=1))\n")
    assert model_config(dict(cfg=str(path), head=dict(a=2))).head == dict(a=2)
    with pytest.raises(ConfigError, match="the Nowhere of 'cfg' has no 'heads'"):
        model_config(dict(cfg=str(path), heads=dict(a=2)))
