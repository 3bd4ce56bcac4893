"""The config that tools/distill.py writes."""

import copy
import os
from pathlib import Path
from typing import Any

import pytest
from mmengine.config import Config

from kd_plugins.apis.distill_config import Sources, trial_config, write_config
from kd_plugins.config_files import read_config
from kd_plugins.engine.overrides import apply_overrides
from kd_plugins.errors import ConfigError
from tests.configs.tree import CONFIGS, plain

DIGITS = CONFIGS / 'digits'
STUDENT = str(DIGITS / 'faster-rcnn_r18-w16_fpn_1k_digits-300.py')
TEACHER = str(DIGITS / 'faster-rcnn_r18-w32_fpn_4k_digits.py')
CHECKPOINT = TEACHER.replace('.py', '.safetensors')
RETINA = 'mmdet::retinanet/retinanet_r50_fpn_1x_coco.py'


def sources(
    student: str = STUDENT, teacher: str = TEACHER, checkpoint: str = CHECKPOINT
) -> Sources:
    return Sources.of(student, teacher, checkpoint)


def read(folder: Path, options: dict[str, Any] | None = None, **names: str) -> Config:
    return read_config(write_config(sources(**names), folder, options))


def test_it_is_the_students_config_and_one_block(tmp_path: Path) -> None:
    cfg, student = read(tmp_path), read_config(STUDENT)
    assert plain(cfg.model) == dict(
        type='kd_plugins.Distiller',
        student=plain(student.model),
        teacher=dict(cfg=TEACHER, checkpoint=CHECKPOINT),
        pairs=dict(type='auto'),
    )
    assert cfg.runner_type == 'kd_plugins.DistillRunner'
    own = ('model', 'runner_type')
    assert {key: cfg[key] for key in cfg if key not in own} == {
        key: student[key] for key in student if key not in own
    }


def test_its_block_is_short(tmp_path: Path) -> None:
    lines = write_config(sources(), tmp_path).read_text().splitlines()
    assert len([line for line in lines if not line.startswith('#')]) <= 13


def test_names_of_the_command_line_hold_from_any_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(DIGITS)
    names = [Path(name).name for name in (STUDENT, TEACHER, CHECKPOINT)]
    written = write_config(Sources.of(*names), tmp_path / 'far' / 'away')
    monkeypatch.chdir(tmp_path)
    cfg = read_config(os.path.relpath(written))
    assert plain(cfg.model.student) == plain(read_config(STUDENT).model)
    assert cfg.model.teacher == dict(cfg=TEACHER, checkpoint=CHECKPOINT)


def test_a_home_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv('HOME', str(CONFIGS))
    names = ('~/digits/' + Path(name).name for name in (STUDENT, TEACHER, CHECKPOINT))
    assert Sources.of(*names) == sources()


@pytest.mark.parametrize(
    'checkpoint', ['https://somewhere/t.pth', 'kd_plugins::digits/t.safetensors']
)
def test_what_is_no_path_stays(checkpoint: str, tmp_path: Path) -> None:
    cfg = read(tmp_path, student=RETINA, teacher=RETINA, checkpoint=checkpoint)
    assert cfg.model.teacher == dict(cfg=RETINA, checkpoint=checkpoint)
    assert cfg.model.student.type == 'RetinaNet'


def test_a_folder_that_mmengine_refuses_in_a_base_is_named_by_its_path(
    tmp_path: Path,
) -> None:
    name = 'mmdet::gn+ws/faster-rcnn_r50_fpn_gn-ws-all_1x_coco.py'
    cfg = read(tmp_path, student=name, teacher=name)
    assert cfg.model.student.backbone.depth == 50
    assert os.path.isabs(cfg.model.teacher.cfg)


OPTIONS = [
    {'train_cfg.max_iters': 7, 'work_dir': 'there'},
    {'param_scheduler.0.end': 9, 'param_scheduler.1.begin': 9},
    {'optim_wrapper.clip_grad': None, 'custom_hooks': []},
    {'train_dataloader.dataset.pipeline.1.with_mask': True},
    {'model.task_loss_weights': {'loss_cls': 0.5, '*bbox': float('inf')}},
    {'model.teacher.roi_head.bbox_head.num_classes': 3},
    {'model.init_from_teacher': ['neck'], 'default_hooks.logger.interval': (1,)},
    {'model.pairs.mine': dict(layer='neck', loss=dict(type='HintLoss'))},
    {'model.pairs': dict(mine=dict(layer='neck', loss=dict(type='HintLoss')))},
    {'model.pairs': dict(_delete_=True, mine=dict(layer='neck'))},
    {'model.teacher': dict(_delete_=True, cfg=RETINA, allow_random=True)},
    {'optim_wrapper': dict(_delete_=True, type='OptimWrapper', optimizer=dict())},
]


@pytest.mark.parametrize('options', OPTIONS, ids=lambda item: next(iter(item)))
def test_options_become_part_of_it(options: dict[str, Any], tmp_path: Path) -> None:
    expected = read(tmp_path / 'without')
    apply_overrides(expected, copy.deepcopy(options))
    assert read(tmp_path / 'with', options).to_dict() == expected.to_dict()


def test_options_of_the_student_are_merged_into_its_file(tmp_path: Path) -> None:
    cfg = read(
        tmp_path,
        {'model.student.backbone.depth': 34, 'model.student.neck.num_outs': 5},
    )
    assert cfg.model.student == dict(
        cfg=STUDENT, backbone=dict(depth=34), neck=dict(num_outs=5)
    )


def test_an_option_that_names_nothing_writes_nothing(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"^train_cfg.max_itrs: .* Close: 'max_iter"):
        write_config(sources(), tmp_path / 'run', {'train_cfg.max_itrs': 2})
    assert not (tmp_path / 'run').exists()


def test_a_student_with_a_runner_and_a_work_dir_of_its_own(tmp_path: Path) -> None:
    student = tmp_path / 'own.py'
    student.write_text(f'_base_ = {STUDENT!r}\nrunner_type = "X"\nwork_dir = "mine"\n')
    cfg = read(tmp_path / 'run', student=str(student))
    assert cfg.runner_type == 'kd_plugins.DistillRunner'
    assert cfg.work_dir == str(tmp_path / 'run')


PURE = """
from mmengine.runner import IterBasedTrainLoop
from tests.engine.hooks.toy import ToyStudent

default_scope = None
model = dict(type=ToyStudent, width=5)
train_cfg = dict(type=IterBasedTrainLoop, max_iters=2)
"""


def test_a_student_in_pure_python_stands_beside_it_as_text(tmp_path: Path) -> None:
    student = tmp_path / 'pure.py'
    student.write_text(PURE)
    cfg = read(tmp_path / 'run', student=str(student))
    assert plain(cfg.model.student) == dict(
        type='tests.engine.hooks.toy.ToyStudent', width=5
    )
    assert cfg.train_cfg.max_iters == 2


def test_a_trial_leaves_nothing(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)
    cfg = trial_config(sources(), {'train_cfg.max_iters': 3})
    assert cfg.train_cfg.max_iters == 3
    assert list(tmp_path.iterdir()) == []
