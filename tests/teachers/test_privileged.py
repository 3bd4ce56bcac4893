"""A privileged teacher sees the images that data samples hold for it, and no others."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch.testing import assert_close

from kd_plugins.errors import ConfigError
from kd_plugins.registry import MODELS
from kd_plugins.teachers import Privileged, build_teachers
from kd_plugins.teachers.preprocess import resized
from tests.distillers import tiny_seg
from tests.distillers.tiny import (
    batch,
    config,
    distiller,
    faster_rcnn,
    hint,
    raw_batch,
    teacher_of,
)
from tests.distillers.tiny_teachers import (
    IMAGE,
    other_image,
    paired_batch,
    privileged,
    with_teacher_images,
)
from tests.teachers.cache.marks import exact, marked

ROI = dict(view='roi.logits', loss=dict(type='KDLoss'))


def losses_on(model: Any, prepared: dict[str, Any]) -> dict[str, Any]:
    torch.manual_seed(3)
    found: dict[str, Any] = model(**prepared, mode='loss')
    return found


def test_it_is_given_what_its_own_preprocessor_makes_of_its_images() -> None:
    """Images of two sizes, another normalisation and padding than the student's."""
    preprocessor = dict(mean=[1.0, 2.0, 3.0], std=[4.0, 5.0, 6.0], pad_size_divisor=96)
    cfg = dict(
        type='Privileged',
        **teacher_of(faster_rcnn(data_preprocessor=preprocessor)),
    )
    model = distiller(dict(hint=hint()), teacher=cfg)
    prepared = paired_batch(model)
    teacher = model.teachers['teacher']
    found, unpadded = teacher.inputs(prepared['inputs'], prepared['data_samples'])
    assert unpadded == (64, 64)
    raw = with_teacher_images(raw_batch())
    images = [sample.get(IMAGE) for sample in raw['data_samples']]
    assert not torch.equal(images[0], raw['inputs'][0])
    own = teacher.model.data_preprocessor(
        dict(inputs=images, data_samples=raw['data_samples']), True
    )
    assert found.shape == own['inputs'].shape == (2, 3, 96, 96)
    assert_close(found, own['inputs'])


def test_of_the_same_images_it_is_the_plain_teacher() -> None:
    """Generalized distillation with x* = x."""
    pairs = dict(hint=hint(), roi=ROI)
    ours = distiller(pairs, teacher=privileged())
    whole = distiller(pairs)
    whole.student.load_state_dict(ours.student.state_dict())
    raw = raw_batch()
    for image, sample in zip(raw['inputs'], raw['data_samples'], strict=True):
        sample.set_field(image.clone(), IMAGE)
    found = losses_on(ours, ours.data_preprocessor(raw, True))
    expected = losses_on(whole, batch(whole))
    for key in ('loss_kd_hint', 'loss_kd_roi'):
        assert_close(found[key], expected[key])


def test_larger_images_are_matched_at_their_scale() -> None:
    """RoIs move along; the student's maps meet those of the larger image."""
    pairs = dict(hint=hint(adapter=dict(type='ResizeAdapter')), roi=ROI)
    model = distiller(pairs, teacher=privileged(input_scale=2.0))
    seen, student_rois = [], []
    teacher = model.teachers['teacher'].model
    teacher.roi_head.bbox_roi_extractor.register_forward_pre_hook(
        lambda module, args: seen.append(args[1])
    )
    model.student.roi_head.bbox_roi_extractor.register_forward_pre_hook(
        lambda module, args: student_rois.append(args[1])
    )
    shapes = []
    teacher.backbone.register_forward_pre_hook(
        lambda module, args: shapes.append(tuple(args[0].shape))
    )
    losses = losses_on(model, paired_batch(model, scale=2.0))
    assert losses['loss_kd_hint'] > 0 and losses['loss_kd_roi'] > 0
    assert shapes[-1] == (2, 3, 128, 128)
    assert_close(seen[-1][:, 1:], 2 * student_rois[0][:, 1:])


def test_logits_of_a_larger_image_are_compared_on_the_students_grid() -> None:
    pairs = dict(pixel=dict(view='seg.logits', loss=dict(type='KDLoss')))
    model_cfg = dict(
        type='Privileged',
        model=tiny_seg.segmentor(8),
        allow_random=True,
        input_scale=2.0,
    )
    model = MODELS.build(config(pairs, tiny_seg.segmentor(), model_cfg)).train()
    raw = with_teacher_images(tiny_seg.raw_segments(), scale=2.0)
    prepared = model.data_preprocessor(raw, True)
    inputs, samples = prepared['inputs'], prepared['data_samples']
    with model.step(inputs, samples) as step:
        torch.manual_seed(3)
        model.task_losses(step)
        (item,) = model.pairs[0].match(step)
    images = torch.stack([sample.get(IMAGE) for sample in samples]).float()
    teacher = model.teachers['teacher'].model
    preprocessor = teacher.data_preprocessor
    normalised = (images.flip(1) - preprocessor.mean) / preprocessor.std
    with torch.no_grad():
        logits = teacher.decode_head.forward(teacher.extract_feat(normalised))
    assert logits.shape[2:] == (8, 8) and item.student.shape[2:] == (4, 4)
    expected = torch.nn.functional.interpolate(
        logits, (4, 4), mode='bilinear', align_corners=False
    )
    assert_close(item.teacher, expected)


def test_more_channels_than_the_student_has() -> None:
    """Depth, or what an annotation draws, as a fourth channel."""
    model = faster_rcnn(backbone=dict(in_channels=4))
    model.data_preprocessor.update(mean=[120.0], std=[60.0], bgr_to_rgb=False)
    cfg = dict(type='Privileged', **teacher_of(model))
    built = distiller(dict(hint=hint(), roi=ROI), teacher=cfg)
    raw = raw_batch()
    for number, (image, sample) in enumerate(
        zip(raw['inputs'], raw['data_samples'], strict=True)
    ):
        sample.set_field(torch.cat([image, other_image(image[:1], number)]), IMAGE)
    losses = losses_on(built, built.data_preprocessor(raw, True))
    assert losses['loss_kd_hint'] > 0 and losses['loss_kd_roi'] > 0
    del cfg['type']
    with pytest.raises(ConfigError, match='images of 3 channels, the teacher of 4'):
        distiller(dict(hint=hint()), teacher=cfg)


def test_a_means_channels_must_be_those_of_the_image() -> None:
    model = distiller(dict(hint=hint()), teacher=privileged())
    prepared = paired_batch(model)
    for sample in prepared['data_samples']:
        sample.set_field(sample.get(IMAGE)[:1], IMAGE)
    message = (
        r"^model\.teacher: the sample's 'teacher_image' has 1 channels, and the mean "
        r"of the teacher's data_preprocessor is of 3\."
    )
    with pytest.raises(ConfigError, match=message):
        losses_on(model, prepared)


def test_samples_without_such_an_image_name_what_makes_them() -> None:
    model = distiller(dict(hint=hint()), teacher=privileged(input='sharp'))
    message = (
        r"^model\.teacher: a data sample holds no image 'sharp' for the teacher, which "
        r"is a Privileged one\. End the pipeline by dict\(type='kd_plugins\.PackPaired"
    )
    for prepared in (batch(model), paired_batch(model)):
        with pytest.raises(ConfigError, match=message):
            losses_on(model, prepared)


@pytest.mark.parametrize('scale', [1.0, 1.5])
def test_images_of_another_size_are_refused(scale: float) -> None:
    model = distiller(
        dict(hint=hint(adapter=dict(type='ResizeAdapter'))),
        teacher=privileged(input_scale=2.0),
    )
    size = round(64 * scale)
    message = (
        rf"^model\.teacher: the sample's 'teacher_image' is {size}x{size} pixels, "
        rf"expected 128x128: 2 times the student's 64x64\. Set input_scale={scale:g} "
        'if the pipeline makes them so, or let both share flips'
    )
    with pytest.raises(ConfigError, match=message):
        losses_on(model, paired_batch(model, scale))


def test_sides_that_resizing_rounds_are_accepted() -> None:
    model = distiller(
        dict(hint=hint(adapter=dict(type='ResizeAdapter'))),
        teacher=privileged(input_scale=2.0),
    )
    raw = raw_batch(sizes=((64, 64), (55, 60)))
    sides = ((128, 128), (109, 120))  # of which half of the odd one is rounded up
    for number, sample in enumerate(raw['data_samples']):
        drawn = other_image(torch.zeros(3, *sides[number]), number)
        sample.set_field(drawn, IMAGE)
    losses = losses_on(model, model.data_preprocessor(raw, True))
    assert losses['loss_kd_hint'] > 0


def test_gradients_of_another_image_are_not_compared() -> None:
    pair = dict(view='seg.gradient', loss=dict(type='GradientATLoss'))
    teacher = dict(type='Privileged', model=tiny_seg.segmentor(), allow_random=True)
    message = r"of the same image, and teacher 'teacher' sees another one"
    with pytest.raises(ConfigError, match=message):
        MODELS.build(config(dict(a=pair), tiny_seg.segmentor(), teacher))


def test_what_it_predicts_is_of_its_own_images() -> None:
    teacher = build_teachers(privileged(input_scale=2.0), None)['teacher']
    raw = with_teacher_images(raw_batch(), scale=2.0)
    images = teacher.images(raw)
    assert [tuple(image.shape[1:]) for image in images or ()] == [
        (128, 128),
        (112, 120),
    ]
    plain = build_teachers(teacher_of(faster_rcnn(), input_scale=2.0), None)['teacher']
    enlarged = plain.images(raw)
    assert enlarged is not None
    assert_close(enlarged[0], resized(raw['inputs'][0].float(), 2.0))
    assert (
        build_teachers(teacher_of(faster_rcnn()), None)['teacher'].images(raw) is None
    )


def test_it_says_what_it_sees() -> None:
    teacher = build_teachers(privileged(), None)['teacher']
    assert isinstance(teacher, Privileged)
    assert "sees each sample's 'teacher_image'" in teacher.describe()
    with pytest.raises(ConfigError, match=r'^input: must be a text, or None, got 3\.'):
        build_teachers(privileged(input=3), None)


def test_its_cache_holds_what_it_gave_of_its_own_images(tmp_path: Path) -> None:
    pairs = dict(pixel=dict(view='seg.logits', loss=dict(type='KDLoss')))
    cfg = dict(
        type='Privileged',
        model=tiny_seg.segmentor(8),
        allow_random=True,
        cache=exact(tmp_path),
    )
    model = MODELS.build(config(pairs, tiny_seg.segmentor(), cfg)).train()
    del cfg['cache']
    plain = MODELS.build(config(pairs, tiny_seg.segmentor(), cfg)).train()
    plain.load_state_dict(model.state_dict())
    runs = []
    backbone = model.teachers['teacher'].model.backbone
    backbone.register_forward_hook(lambda *_: runs.append(1))
    values = []
    for each in (plain, model, model):
        raw = with_teacher_images(tiny_seg.raw_segments())
        prepared = marked(each.data_preprocessor(raw, True), 0, 1)
        values.append(losses_on(each, prepared)['loss_kd_pixel'])
    assert torch.equal(values[0], values[1]) and torch.equal(values[1], values[2])
    assert len(runs) == 1
