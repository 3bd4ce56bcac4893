"""One sample, two images: what both share, and what may differ."""

from typing import Any

import numpy as np
import pytest
import torch
from mmdet.structures.bbox import HorizontalBoxes

from kd_plugins.datasets import GaussianNoise, PackPairedInputs
from kd_plugins.errors import ConfigError
from kd_plugins.registry import TRANSFORMS

SEG = dict(type='mmseg.PackSegInputs')
DET = dict(type='mmdet.PackDetInputs')
HALF = dict(type='mmseg.Resize', scale_factor=0.5)


def segments(height: int = 40, width: int = 48, labels: bool = True) -> dict[str, Any]:
    """A sample as mmseg's loaders give it; its labels are places, to be told apart."""
    rng = np.random.default_rng(0)
    found: dict[str, Any] = dict(
        img=rng.integers(0, 256, (height, width, 3), dtype=np.uint8),
        img_shape=(height, width),
        ori_shape=(height, width),
        seg_fields=[],
    )
    if labels:
        found['gt_seg_map'] = rng.integers(0, 200, (height, width), dtype=np.uint8)
        found['seg_fields'] = ['gt_seg_map']
    return found


def detections() -> dict[str, Any]:
    """A sample as mmdet's loaders give it."""
    sample = segments(labels=False)
    del sample['seg_fields']
    boxes = torch.tensor([[4.0, 6.0, 20.0, 30.0]])
    return sample | dict(
        gt_bboxes=HorizontalBoxes(boxes),
        gt_bboxes_labels=np.array([1]),
        gt_ignore_flags=np.array([False]),
    )


def built(pack: dict[str, Any] = SEG, **options: Any) -> Any:
    return TRANSFORMS.build(
        dict(type='kd_plugins.PackPairedInputs', pack=pack, **options)
    )


def test_the_teacher_keeps_the_image_that_the_student_gets_smaller() -> None:
    sample = segments()
    packed = built(student=[HALF])({**sample, 'img': sample['img'].copy()})
    teacher = packed['data_samples'].get('teacher_image')
    expected = torch.from_numpy(sample['img'].transpose(2, 0, 1))
    assert torch.equal(teacher, expected) and teacher.dtype == torch.uint8
    assert packed['inputs'].shape == (3, 20, 24)
    labels = packed['data_samples'].gt_sem_seg.data
    plain = TRANSFORMS.build(SEG)(TRANSFORMS.build(HALF)(segments()))
    assert torch.equal(packed['inputs'], plain['inputs'])
    assert torch.equal(labels, plain['data_samples'].gt_sem_seg.data)
    assert labels.dtype == torch.int64


def test_boxes_go_with_the_student() -> None:
    half = dict(type='mmdet.Resize', scale_factor=0.5, keep_ratio=True)
    packed = built(DET, student=[half])(detections())
    sample = packed['data_samples']
    assert torch.equal(
        sample.gt_instances.bboxes.tensor, torch.tensor([[2.0, 3.0, 10.0, 15.0]])
    )
    assert sample.get('teacher_image').shape == (3, 40, 48)
    assert 'gt_sem_seg' not in sample


def test_noise_is_the_students_alone_and_draws_as_it_would_without_a_teacher() -> None:
    noise = dict(type='kd_plugins.GaussianNoise', std=20.0)
    np.random.seed(1)
    packed = built(student=[noise], teacher=[noise])(segments())
    after = np.random.rand()
    np.random.seed(1)
    plain = GaussianNoise(20.0)(segments())
    assert np.random.rand() == after
    expected = torch.from_numpy(plain['img'].transpose(2, 0, 1))
    assert torch.equal(packed['inputs'], expected)
    teacher = packed['data_samples'].get('teacher_image')
    clean = torch.from_numpy(segments()['img'].transpose(2, 0, 1))
    assert not torch.equal(teacher, clean) and not torch.equal(teacher, expected)


class Stacked:
    """A fourth channel, drawn from the labels."""

    def __call__(self, results: dict[str, Any]) -> dict[str, Any]:
        image = results['img'].astype(np.float32)
        results['img'] = np.dstack([image, np.ones(image.shape[:2], np.float32)])
        return results


TRANSFORMS.register_module(name='Stacked', module=Stacked, force=True)


def test_the_teacher_may_see_more_channels_and_a_larger_image() -> None:
    larger = dict(type='mmseg.Resize', scale=(96, 80))
    pipeline = built(
        student=[HALF], teacher=[larger, dict(type='kd_plugins.Stacked')], name='rich'
    )
    packed = pipeline(segments())
    image = packed['data_samples'].get('rich')
    assert image.shape == (4, 80, 96) and image.dtype == torch.float32
    assert 'teacher_image' not in packed['data_samples']


@pytest.mark.parametrize('labels', [True, False])
@pytest.mark.parametrize(
    'moving',
    [
        dict(type='mmseg.RandomFlip', prob=1.0),
        dict(type='mmseg.RandomFlip', prob=1.0, direction='vertical'),
        dict(type='mmcv.CenterCrop', crop_size=(24, 20)),
        dict(type='mmcv.Pad', size=(60, 60)),
        dict(type='mmseg.Resize', scale=(24, 40)),  # of one side alone
    ],
    ids=['flip', 'vertical', 'crop', 'pad', 'stretch'],
)
@pytest.mark.parametrize('way', ['student', 'teacher'])
def test_what_moves_pixels_of_one_way_is_refused(
    way: str, moving: dict[str, Any], labels: bool
) -> None:
    message = (
        rf'^PackPairedInputs\.{way}: its transforms move pixels: of an image of 40x48 '
        r'they make \d+x\d+.*Put flips, crops, rotations and padding before'
    )
    with pytest.raises(ConfigError, match=message):
        built(**{way: [moving]})(segments(labels=labels))


@pytest.mark.parametrize('factor', [0.25, 0.5, 0.7, 1.0, 1.5, 3.0])
@pytest.mark.parametrize('size', [(40, 48), (41, 37), (128, 128), (17, 200)])
def test_resizing_by_any_factor_is_accepted(
    factor: float, size: tuple[int, int]
) -> None:
    resize = dict(type='mmseg.Resize', scale_factor=factor, keep_ratio=True)
    packed = built(student=[resize])(segments(*size))
    assert packed['inputs'].shape[1] == pytest.approx(size[0] * factor, abs=1)


def test_detections_that_are_flipped_alone_are_refused_too() -> None:
    flip = dict(type='mmdet.RandomFlip', prob=1.0)
    with pytest.raises(ConfigError, match='its transforms move pixels'):
        built(DET, student=[flip])(detections())


def test_a_sample_that_a_transform_drops_stays_dropped() -> None:
    TRANSFORMS.register_module(name='Dropped', module=Dropped, force=True)
    dropped = dict(type='kd_plugins.Dropped')
    assert built(student=[dropped, HALF])(segments()) is None
    assert built(teacher=[dropped])(segments()) is None


class Dropped:
    """As a crop that leaves no box."""

    def __call__(self, results: dict[str, Any]) -> None:
        return None


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (
            dict(pack=None),
            r"PackPairedInputs\.pack: must be transforms, dicts with 'ty",
        ),
        (dict(student=HALF), r'PackPairedInputs\.student: must be transforms'),
        (dict(teacher=['Resize']), r"PackPairedInputs\.teacher: .* got \['Resize'\]"),
        (dict(name='a b'), r"PackPairedInputs\.name: must be a name, got 'a b'"),
    ],
)
def test_bad_options_name_the_key(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        PackPairedInputs(**(dict(pack=SEG) | options))


def test_noise_has_its_deviation_and_keeps_the_type() -> None:
    grey = dict(img=np.full((64, 64, 3), 128, dtype=np.uint8))
    noisy = GaussianNoise(10.0)(grey)['img']
    assert noisy.dtype == np.uint8
    assert noisy.std() == pytest.approx(10, rel=0.05)
    assert noisy.mean() == pytest.approx(128, abs=0.5)
    black = GaussianNoise(50.0)(dict(img=np.zeros((8, 8, 3), np.uint8)))['img']
    assert black.min() == 0 and black.max() < 255
    floats = GaussianNoise(1.0)(dict(img=np.zeros((8, 8), np.float32)))['img']
    assert floats.dtype == np.float32 and floats.min() < 0
    with pytest.raises(ConfigError, match='std must be a finite number >= 0, got -1'):
        GaussianNoise(-1)
    assert repr(GaussianNoise(2.5)) == 'GaussianNoise(std=2.5, seed=None)'


def test_seeded_noise_is_a_function_of_the_image() -> None:
    noise = GaussianNoise(10.0, seed=3)
    state = np.random.get_state()[1].copy()
    one, same = (noise(segments())['img'] for _ in range(2))
    assert (np.random.get_state()[1] == state).all()
    assert (one == same).all()
    turned = segments()
    turned['img'] = turned['img'][::-1]
    assert (noise(turned)['img'][::-1] != one).any()
    assert (GaussianNoise(10.0, seed=4)(segments())['img'] != one).any()
    with pytest.raises(ConfigError, match='seed must be'):
        GaussianNoise(1.0, seed=-1)
