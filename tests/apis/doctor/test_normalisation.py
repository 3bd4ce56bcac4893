"""A teacher that is fed other images than it was trained on is found."""

from pathlib import Path

import pytest

from kd_plugins.apis.doctor.checks.normalisation import (
    check_normalisation,
    normalisation_of,
)
from tests.distillers.tiny import IMAGE_MEANS, faster_rcnn

from .made import case, model, results, save_teacher, unchecked

OTHER = dict(mean=[0.0] * 3, std=[255.0] * 3)


@pytest.mark.parametrize(
    ('trained', 'severity'),
    [
        (dict(IMAGE_MEANS, bgr_to_rgb=True), 'fine'),
        (dict(IMAGE_MEANS, bgr_to_rgb=False), 'problem'),
        (dict(OTHER, bgr_to_rgb=True), 'problem'),
    ],
)
def test_the_checkpoint_says_what_is_right(
    tmp_path: Path, trained: dict, severity: str
) -> None:
    text = f'model = dict(type="X", data_preprocessor={trained!r})'
    checkpoint = save_teacher(tmp_path / 'teacher.pth', text)
    found = results(check_normalisation, case(model(checkpoint=checkpoint)))
    assert [item.severity for item in found] == ['fine', severity]
    if severity == 'problem':
        assert 'Set model.teacher.data_preprocessor' in found[1].remedy
    if trained['mean'] == OTHER['mean']:
        assert 'its checkpoint says mean 0/0/0, std 255/255/255' in found[1].sentence


@pytest.mark.parametrize('old', [False, True])
def test_it_may_stand_beside_the_model(tmp_path: Path, old: bool) -> None:
    text = f'data_preprocessor = {dict(OTHER, bgr_to_rgb=True)!r}'
    if old:  # of mmdet 2
        text = f'img_norm_cfg = {dict(OTHER, to_rgb=True)!r}'
    checkpoint = save_teacher(
        tmp_path / 'teacher.pth', f'model = dict(type="X")\n{text}'
    )
    found = results(check_normalisation, case(model(checkpoint=checkpoint)))
    assert found[1].severity == 'problem'


def test_models_may_differ_since_images_are_renormalised() -> None:
    teacher = faster_rcnn(data_preprocessor=OTHER)
    (finding,) = results(check_normalisation, case(model(model=teacher)))
    assert finding.severity == 'note'
    assert 'gets them renormalised' in finding.sentence


def test_a_checkpoint_without_a_config_is_not_checked() -> None:
    (item,) = unchecked(check_normalisation, case())
    assert item.reason == 'its checkpoint holds no config that tells'


def test_the_detector_inside_a_tracker_normalises() -> None:
    inner = dict(data_preprocessor=dict(OTHER))
    assert normalisation_of(dict(type='X', detector=inner)).std == (255.0,) * 3
    assert str(normalisation_of({})) == 'not normalised, channels as read'
