"""What cannot be distilled is told in one message, before anything is written."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
import torch
from mmengine.runner import Runner

from kd_plugins.apis import distill_checks
from kd_plugins.apis.distill import distill
from kd_plugins.apis.distill_checks import check_folder, check_teacher
from kd_plugins.apis.distill_config import Sources, trial_config, write_config
from kd_plugins.errors import CheckpointError, ConfigError
from tests.apis.distill_files import write_student, write_teacher
from tests.distillers.tiny import faster_rcnn
from tests.engine.hooks.toy import unformatted

RETINA = 'mmdet::retinanet/retinanet_r50_fpn_1x_coco.py'
PSPNET = 'mmseg::pspnet/pspnet_r18-d8_4xb2-80k_cityscapes-512x1024.py'
CHEN = 'kd_plugins::frcnn_kd.py'


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where the user stands, with a student, a teacher and its checkpoint."""
    monkeypatch.chdir(tmp_path)
    write_student(tmp_path)
    write_teacher(tmp_path)
    with mock.patch.object(Runner, '_log_env'), unformatted():
        yield tmp_path
    assert not (tmp_path / 'work_dirs').exists()


def refused(
    match: str,
    student: str = 'student.py',
    teacher: str = 'teacher.py',
    checkpoint: str = 'teacher.pth',
    error: type[Exception] = ConfigError,
    **changes: Any,
) -> None:
    with pytest.raises(error, match=match) as caught:
        distill(student, teacher, checkpoint, **changes)
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.usefixtures('folder')
@pytest.mark.parametrize(
    ('changes', 'match'),
    [
        (dict(student='nowhere.py'), r"^STUDENT: there is no config '.*nowhere.py'"),
        (dict(teacher='nowhere.py'), r"^TEACHER: there is no config '.*nowhere.py'"),
        (dict(teacher='mmdet::no.py'), r"^TEACHER: 'mmdet::no.py' names no config of"),
        (dict(teacher='mmdet::no/no.py'), r"^TEACHER: there is no config 'mmdet::no/"),
        (
            dict(student='seg_skd.py'),
            r"^STUDENT: '.*seg_skd.py' is a distillation already: expected the config "
            r'of the student alone. To run it: python tools/train.py .*seg_skd.py',
        ),
        (
            dict(teacher='seg_skd.py'),
            r"^TEACHER: '.*' is a distillation already: .* of the teacher alone. tools/"
            r'export_student.py writes that',
        ),
        (
            dict(teacher='mmdet::_base_/default_runtime.py'),
            r"^TEACHER: 'mmdet::_base_/default_runtime.py' defines no model.",
        ),
        (
            dict(student='teacher.py'),
            r"^STUDENT: '.*teacher.py' has no train_dataloader and train_cfg: there is "
            r'nothing to train on. Give a whole config',
        ),
        (
            dict(student=PSPNET),
            rf"^STUDENT '{PSPNET}' is a segmentor, TEACHER '.*' a detector: .* Choose a"
            r' segmentor as teacher.',
        ),
        (
            dict(options={'train_cfg.max_itrs': 1}),
            r"^train_cfg.max_itrs: .* has no 'max_itrs'. Close: 'max_iters'",
        ),
        (
            dict(options={'model.teacher.bakbone.depth': 18}),
            r"^model.teacher.bakbone.depth: model.teacher has no 'bakbone'.",
        ),
    ],
)
def test_configs(changes: Any, match: str, folder: Path) -> None:
    text = "model = dict(type='kd_plugins.Distiller')"
    (folder / 'seg_skd.py').write_text(text)
    refused(match, **changes)


@pytest.mark.parametrize(
    ('checkpoint', 'match'),
    [
        (
            'nowhere.pth',
            r"^CHECKPOINT: there is no file '.*nowhere.pth' .* 'teacher.pt",
        ),
        (
            'student.py',
            r"^CHECKPOINT: '.*student.py' cannot be read: truncated, corrup",
        ),
        ('s3://bucket/t.pth', r"^CHECKPOINT: 's3://bucket/t.pth' has an unknown schem"),
        ('numbers.pth', r"'.*numbers.pth' has no weights: expected a 'state_dict' of"),
        ('other.pth', r"^model.teacher.checkpoint: '.*' is of another architecture th"),
    ],
)
def test_checkpoints(checkpoint: str, match: str, folder: Path) -> None:
    torch.save({'epoch': 3, 'lr': [0.1]}, folder / 'numbers.pth')
    torch.save({'backbone.conv1.weight': torch.ones(2)}, folder / 'other.pth')
    refused(match, checkpoint=checkpoint, error=CheckpointError)


def test_a_teacher_of_more_classes_in_its_config_than_in_its_weights(
    folder: Path,
) -> None:
    five = faster_rcnn(base=8, roi_head__bbox_head=dict(num_classes=5))
    write_teacher(folder, five, 'five')
    (folder / 'teacher.pth').write_bytes((folder / 'five.pth').read_bytes())
    refused(
        r"^model.teacher.checkpoint: '.*' has 5 classes, the model 3 .* Set model."
        r'teacher.roi_head.bbox_head.num_classes=5, or give a checkpoint trained for 3',
        error=CheckpointError,
    )


def trial(teacher: str, **others: Any) -> list[str]:
    sources = Sources.of('student.py', f'{teacher}.py', f'{teacher}.pth')
    return list(check_teacher(trial_config(sources, others)))


def test_a_teacher_of_other_classes_is_told_with_the_cure(folder: Path) -> None:
    assert trial('teacher') == []
    write_teacher(folder, faster_rcnn(roi_head__bbox_head=dict(num_classes=5)), 'five')
    (told,) = trial('five')
    assert told.startswith('The teacher knows 5 classes, the student 3: ')
    assert 'model.teacher.class_map=dict(student=..., teacher=...)' in told
    names = {
        'model.teacher.class_map.student': ['a', 'b', 'c'],
        'model.teacher.class_map.teacher': ['c', 'b', 'a', 'x', 'y'],
    }
    assert trial('five', **names) == []


def test_a_work_dir_with_another_run(folder: Path) -> None:
    sources = Sources.of('student.py', 'teacher.py', 'teacher.pth')
    run = folder / 'run'
    check_folder(run, sources, None)
    write_config(sources, run)
    check_folder(run, sources, None)  # of a dry run
    (run / 'iter_2.pth').touch()
    check_folder(run, sources, 'auto')
    refused(
        r"^--work-dir: 'run' holds checkpoints of this run already \(iter_2.pth\). "
        r'Continue it by --resume, or give another folder.',
        work_dir='run',
    )
    other = Sources.of('student.py', 'teacher.py', 'other.pth')
    for resume in (None, 'auto'):
        with pytest.raises(ConfigError, match=r'of another run .*\). Give another fol'):
            check_folder(run, other, resume)


@pytest.mark.parametrize(
    ('student', 'teacher', 'kinds'),
    [
        (RETINA, 'mmdet::mask_rcnn/mask-rcnn_r50_fpn_1x_coco.py', ['detector'] * 2),
        (
            PSPNET,
            'kd_plugins::planes/depth_r18-w16_1k_planes-300-128x128.py',
            ['segmentor', 'depth estimator'],
        ),
        (
            'mmdet::sort/sort_faster-rcnn_r50_fpn_8xb2-4e_mot17halftrain_test-'
            'mot17halfval.py',
            RETINA,
            ['detector'] * 2,
        ),
    ],
)
def test_kinds(student: str, teacher: str, kinds: list[str]) -> None:
    cfgs = [distill_checks.read_config(name) for name in (student, teacher)]
    assert [distill_checks._kind(cfg) for cfg in cfgs] == kinds
