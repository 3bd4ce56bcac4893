"""Overrides of what is named, of what a file gives, and of types out of reach."""

import pytest
from mmengine.config import Config

from kd_plugins.engine.arguments import arguments_of_type
from kd_plugins.engine.overrides import check_overrides
from kd_plugins.errors import ConfigError
from kd_plugins.signatures import arguments


def test_a_named_teacher_has_its_own_keys() -> None:
    cfg = Config(
        dict(
            model=dict(
                type='kd_plugins.Distiller',
                teacher=dict(big=dict(cfg='x.py'), small=dict(cfg='y.py')),
            )
        )
    )
    check_overrides(cfg, {'model.teacher.big.checkpoint': 'x.pth'})
    check_overrides(cfg, {'model.teacher.huge': dict(cfg='z.py')})
    with pytest.raises(ConfigError, match=r"model.teacher has no 'bigg'. Close: 'big'"):
        check_overrides(cfg, {'model.teacher.bigg.checkpoint': 'x.pth'})
    with pytest.raises(ConfigError, match=r"big has no 'chekpoint'. Close: 'checkp"):
        check_overrides(cfg, {'model.teacher.big.chekpoint': 'x.pth'})


def test_of_a_student_from_a_file_the_files_keys_are_legal() -> None:
    file = 'mmdet::faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py'
    model = dict(type='kd_plugins.Distiller', student=dict(cfg=file))
    cfg = Config(dict(default_scope='mmdet', model=model))
    check_overrides(cfg, {'model.student.backbone.depth': 18})
    check_overrides(cfg, {'model.student.backbone.with_cp': True})
    with pytest.raises(ConfigError, match=r'student.backbone \(ResNet\) has no .dpeth'):
        check_overrides(cfg, {'model.student.backbone.dpeth': 18})
    with pytest.raises(ConfigError, match=r"model.student has no 'bakcbone'"):
        check_overrides(cfg, {'model.student.bakcbone.depth': 18})


def test_of_a_type_that_means_nothing_only_what_exists_is_legal() -> None:
    cfg = Config(dict(thing=dict(type='nothing.at.all', size=1)))
    check_overrides(cfg, {'thing.size': 2})
    with pytest.raises(ConfigError, match=r"thing \(nothing.at.all\) has no 'siez'"):
        check_overrides(cfg, {'thing.siez': 2})


def test_arguments_of_functions_and_of_classes_in_c() -> None:
    def function(first: int, *rest: int, second: int = 0, **others: int) -> None: ...

    assert arguments(function) == ['first', 'second']
    assert arguments(dict) == []
    assert arguments_of_type(Config, None)[:2] == ['cfg_dict', 'cfg_text']
