"""The teacher sees what its own preprocessor would make of the raw images."""

from types import SimpleNamespace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from mmdet.models import DetDataPreprocessor
from torch import Tensor

from kd_plugins.errors import ConfigError
from kd_plugins.teachers.preprocess import InputTranslator
from tests.distillers.tiny import IMAGE_MEANS, raw_batch

CAFFE = dict(mean=[103.53, 116.28, 123.675], std=[1.0, 1.0, 1.0], bgr_to_rgb=False)
PYTORCH = dict(**IMAGE_MEANS, bgr_to_rgb=True)
CASES = {
    'caffe to pytorch': (CAFFE, PYTORCH),
    'pytorch to caffe': (PYTORCH, CAFFE),
    'channels only': (PYTORCH, dict(**IMAGE_MEANS, bgr_to_rgb=False)),
    'raw to pytorch': (dict(), PYTORCH),
    'one mean for all': (PYTORCH, dict(mean=[127.5] * 3, std=[127.5] * 3)),
    'larger divisor': (PYTORCH, dict(**PYTORCH, pad_size_divisor=48)),
    'other padding': (PYTORCH, dict(**PYTORCH, pad_value=0.7)),
    'all at once': (CAFFE, dict(**PYTORCH, pad_size_divisor=96, pad_value=-2)),
}


def inputs_of(preprocessor: Any) -> tuple[Tensor, list[Any]]:
    prepared = preprocessor(raw_batch(sizes=((40, 64), (56, 48))), False)
    return prepared['inputs'], prepared['data_samples']


@pytest.mark.parametrize(('own', 'other'), CASES.values(), ids=CASES)
def test_valid_area_and_padding_are_the_teachers(own: Any, other: Any) -> None:
    own = DetDataPreprocessor(**{'pad_size_divisor': 8, **own})
    other = DetDataPreprocessor(**{'pad_size_divisor': 8, **other})
    inputs, samples = inputs_of(own)
    translated = InputTranslator(own, other)(inputs, samples)
    expected, _ = inputs_of(other)
    assert translated.shape == expected.shape
    torch.testing.assert_close(translated, expected, rtol=0, atol=1e-4)
    for image, right, sample in zip(translated, expected, samples, strict=True):
        height, width = sample.img_shape
        assert torch.equal(image[:, height:], right[:, height:])
        assert torch.equal(image[:, :, width:], right[:, :, width:])


def test_same_preprocessing_gives_the_tensor_itself() -> None:
    own = DetDataPreprocessor(**PYTORCH)
    inputs, samples = inputs_of(own)
    assert (
        InputTranslator(own, DetDataPreprocessor(**PYTORCH))(inputs, samples) is inputs
    )


def test_leaves_the_students_input_alone() -> None:
    own = DetDataPreprocessor(**PYTORCH)
    inputs, samples = inputs_of(own)
    before = inputs.clone()
    InputTranslator(own, DetDataPreprocessor(**PYTORCH, pad_value=3))(inputs, samples)
    assert torch.equal(inputs, before)


def test_without_samples_the_whole_input_is_valid() -> None:
    own = DetDataPreprocessor(**PYTORCH)
    translated = InputTranslator(own, DetDataPreprocessor(**CAFFE))(
        torch.zeros(1, 3, 4, 4), None
    )
    expected = torch.tensor(IMAGE_MEANS['mean']).flip(0) - torch.tensor(CAFFE['mean'])
    torch.testing.assert_close(translated[0, :, 0, 0], expected)


def test_scaled_image_by_image_so_that_padding_does_not_blend_in() -> None:
    own = DetDataPreprocessor(**PYTORCH)
    other = DetDataPreprocessor(**CAFFE, pad_size_divisor=32, pad_value=5)
    inputs, samples = inputs_of(own)
    translator = InputTranslator(own, other, scale=1.5)
    assert translator.unpadded(inputs) == (84, 96)
    translated = translator(inputs, samples)
    assert translated.shape[-2:] == (96, 96)
    own_inputs, _ = inputs_of(other)
    for image, right, (h, w) in zip(
        translated, own_inputs, ((40, 64), (56, 48)), strict=True
    ):
        height, width = round(1.5 * h), round(1.5 * w)
        scaled = F.interpolate(
            right[None, :, :h, :w], (height, width), mode='bilinear'
        )[0]
        torch.testing.assert_close(image[:, :height, :width], scaled, rtol=0, atol=1e-4)
        assert (image[:, height:] == 5).all() and (image[:, :, width:] == 5).all()


@pytest.mark.host
def test_names_of_the_segmentors_preprocessor() -> None:
    from mmseg.models import SegDataPreProcessor

    own = SegDataPreProcessor(**IMAGE_MEANS, bgr_to_rgb=True, size_divisor=8)
    other = SegDataPreProcessor(
        mean=CAFFE['mean'], std=CAFFE['std'], size_divisor=48, pad_val=4
    )
    image = raw_batch(sizes=((40, 64), (40, 64)))['inputs'][0]
    translator = InputTranslator(own, other)
    inputs = (image.float().flip(0) - own.mean) / own.std
    translated = translator(inputs[None], None)[0]
    assert translated.shape[-2:] == (48, 96)
    expected = image.float() - other.mean
    torch.testing.assert_close(translated[:, :40, :64], expected, rtol=0, atol=1e-4)
    assert (translated[:, 40:] == 4).all()


def test_constants_are_copied_to_a_device_once() -> None:
    own, other = DetDataPreprocessor(**PYTORCH), DetDataPreprocessor(**CAFFE)
    translator = InputTranslator(own, other)
    inputs, samples = inputs_of(own)
    translator(inputs, samples)
    (kept,) = translator._constants.values()
    translator(inputs, samples)
    assert translator._constants[inputs.device, inputs.dtype] is kept


def grey(mean: float, std: float, **changes: Any) -> DetDataPreprocessor:
    return DetDataPreprocessor(mean=[mean], std=[std], **changes)


def test_grey_images_stay_of_one_channel() -> None:
    images = torch.randint(0, 256, (2, 1, 8, 8)).float()
    student, teacher = grey(110.0, 50.0), grey(120.0, 45.0, pad_size_divisor=16)
    translated = InputTranslator(student, teacher)((images - 110) / 50, None)
    assert translated.shape == (2, 1, 16, 16)
    torch.testing.assert_close(translated[..., :8, :8], (images - 120) / 45)


@pytest.mark.parametrize('channels', [4, 6])
def test_any_number_of_channels_has_a_mean_each_and_keeps_its_order(
    channels: int,
) -> None:
    """As mmseg does it: three channels are swapped, and no other number of them."""
    mean, std = torch.rand(2, channels) + 0.5
    student = of_channels(mean, std, swaps=True)
    teacher = of_channels(mean.flip(0), std.flip(0), swaps=False)
    images = torch.rand(2, channels, 8, 8)
    inputs = (images - student.mean) / student.std
    expected = (images - teacher.mean) / teacher.std
    torch.testing.assert_close(
        InputTranslator(student, teacher)(inputs, None), expected
    )


def test_raw_images_of_four_channels_are_handed_on() -> None:
    inputs = torch.rand(1, 4, 32, 32)
    raw, padded = DetDataPreprocessor(), DetDataPreprocessor(pad_size_divisor=48)
    swapping = DetDataPreprocessor(bgr_to_rgb=True)
    assert InputTranslator(raw, DetDataPreprocessor())(inputs, None) is inputs
    assert InputTranslator(raw, swapping)(inputs, None) is inputs
    translated = InputTranslator(raw, padded)(inputs, None)
    assert torch.equal(translated[..., :32, :32], inputs)


def test_one_mean_for_all_beside_one_a_channel() -> None:
    """Swapped, too: the mean of the first channel goes along to the third."""
    single, three = grey(100.0, 50.0), DetDataPreprocessor(**PYTORCH)
    images = torch.rand(1, 3, 8, 8) * 255  # as loaded: BGR
    rgb = (images.flip(1) - three.mean) / three.std
    bgr = (images - 100) / 50
    torch.testing.assert_close(InputTranslator(single, three)(bgr, None), rgb)
    torch.testing.assert_close(InputTranslator(three, single)(rgb, None), bgr)


def test_preprocessors_of_other_channels_are_refused() -> None:
    four = of_channels(torch.zeros(4), torch.ones(4), swaps=False)
    with pytest.raises(ConfigError, match="normalises 4 channels, the teacher's 3"):
        InputTranslator(four, DetDataPreprocessor(**PYTORCH))
    with pytest.raises(ConfigError, match="normalises 3 channels, the teacher's 4"):
        InputTranslator(DetDataPreprocessor(**PYTORCH), four)


def of_channels(mean: Tensor, std: Tensor, swaps: bool) -> SimpleNamespace:
    """mmseg's preprocessor; mmengine's own takes one mean, or three."""
    return SimpleNamespace(
        _enable_normalize=True,
        _channel_conversion=swaps,
        mean=mean.view(-1, 1, 1),
        std=std.view(-1, 1, 1),
    )
