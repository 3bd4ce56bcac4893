"""Smoothed labels and mixed images in the teacher's training are found."""

from pathlib import Path
from typing import Any

import pytest
from mmengine.config import Config

from kd_plugins.apis.doctor.checks.soft_targets import check_soft_targets, softened

from .made import case, model, results, save_teacher, unchecked

HARD = "model = dict(type='X', head=dict(loss=dict(type='CrossEntropyLoss')))"


@pytest.mark.parametrize(
    ('text', 'severity', 'said'),
    [
        (
            "model = dict(head=dict(loss=dict(type='LabelSmoothLoss', mode='x')))",
            'warning',
            'label smoothing (model.head.loss LabelSmoothLoss)',
        ),
        (
            "model = dict(loss=dict(type='CrossEntropyLoss', label_smoothing=0.1))",
            'warning',
            'label smoothing (model.loss.label_smoothing=0.1)',
        ),
        (
            "train_dataloader = dict(dataset=dict(pipeline=[dict(type='MixUp')]))",
            'warning',
            'mixed images (train_dataloader.dataset.pipeline.0 MixUp)',
        ),
        (
            "model = dict(train_cfg=dict(augments=[dict(type='CutMix', alpha=1.0)]))",
            'warning',
            'mixed images (model.train_cfg.augments.0 CutMix)',
        ),
        (
            "train_dataloader = dict(dataset=dict(pipeline=[dict(type='Mosaic')]))",
            'note',
            'mosaics (train_dataloader.dataset.pipeline.0 Mosaic)',
        ),
        (HARD, 'fine', 'hard labels of whole images'),
        (
            "model = dict(loss=dict(type='CrossEntropyLoss', label_smoothing=0.0))",
            'fine',
            'hard labels',
        ),
        # What a validation does is none of the training.
        ("val_pipeline = [dict(type='Mosaic')]\n" + HARD, 'fine', 'hard labels'),
    ],
)
def test_the_config_in_the_checkpoint_tells(
    tmp_path: Path, text: str, severity: str, said: str
) -> None:
    checkpoint = save_teacher(tmp_path / 'teacher.pth', text)
    (finding,) = results(check_soft_targets, case(model(checkpoint=checkpoint)))
    assert finding.severity == severity
    assert said in finding.sentence
    assert ('Mueller et al. 2019' in finding.sentence) == (severity == 'warning')


def test_the_config_of_the_teacher_tells_where_the_checkpoint_does_not(
    tmp_path: Path,
) -> None:
    path = tmp_path / 'teacher.py'
    path.write_text("model = dict(type='X', loss=dict(label_smooth_val=0.1))\n")
    teacher = dict(cfg=str(path), allow_random=True)
    (finding,) = results(check_soft_targets, case({**model(), 'teacher': teacher}))
    assert (finding.severity, 'as its config says' in finding.sentence) == (
        'warning',
        True,
    )


def test_a_student_of_the_same_augmentation(tmp_path: Path) -> None:
    loader = dict(dataset=dict(pipeline=[dict(type='Mosaic'), dict(type='YOLOXMixUp')]))
    checkpoint = save_teacher(tmp_path / 'teacher.pth', f'train_dataloader = {loader}')
    of = case(model(checkpoint=checkpoint), whole=dict(train_dataloader=loader))
    mosaics, mixed = results(check_soft_targets, of)
    assert (mosaics.severity, mosaics.remedy) == ('note', '')
    assert mixed.severity == 'note'
    assert 'so is the student' in mixed.sentence


def test_a_model_alone_does_not_tell() -> None:
    (item,) = unchecked(check_soft_targets, case())
    assert 'neither its checkpoint nor the distillation' in item.reason


def test_a_pipeline_that_stands_twice_is_named_once() -> None:
    pipeline = [dict(type='Mosaic')]
    loader = dict(dataset=dict(type='MultiImageMixDataset', pipeline=pipeline))
    whole: dict[str, Any] = dict(train_pipeline=pipeline, train_dataloader=loader)
    assert list(softened(whole)) == ['train_dataloader.dataset.pipeline.0 Mosaic']
    assert softened(Config(whole)) == softened(whole)


def test_a_transform_that_never_applies_is_none() -> None:
    assert softened(dict(train_pipeline=[dict(type='RandomMosaic', prob=0)])) == {}
