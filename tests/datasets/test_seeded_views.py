"""Views are the same in every pass, worker, process and run."""

import random
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from mmengine.dataset import InfiniteSampler, pseudo_collate
from mmengine.registry import TRANSFORMS, init_default_scope
from mmengine.runner import Runner
from torch.utils.data import DataLoader

from kd_plugins.datasets import SeededView, SeededViews
from kd_plugins.errors import ConfigError
from kd_plugins.random_stream import get_random_state
from kd_plugins.registry import DATASETS

LOAD = [
    dict(type='LoadImageFromFile'),
    dict(type='mmdet.LoadAnnotations', with_bbox=True),
]
DISTORT = dict(type='mmdet.PhotoMetricDistortion')
PACK = dict(type='mmdet.PackDetInputs')


@TRANSFORMS.register_module()
class HoldsGenerators:
    """Noise from every kind of generator, held as libraries of augmentation do."""

    def __init__(self) -> None:
        self.inner = {
            'python': [random.Random()],
            'numpy': (np.random.default_rng(), np.random.RandomState()),
            'torch': torch.Generator(),
        }

    def __call__(self, results: dict[str, Any]) -> dict[str, Any]:
        (first,), (second, third) = self.inner['python'], self.inner['numpy']
        last = torch.randint(9, (), generator=self.inner['torch'])
        noise = [first.randint(0, 9), second.integers(9), third.randint(9), int(last)]
        results['img'] = results['img'] // 2 + np.uint8(sum(noise))
        return results


@TRANSFORMS.register_module()
class OftenNothing:
    """Gives no item for two of three images."""

    def __call__(self, results: dict[str, Any]) -> dict[str, Any] | None:
        return None if np.random.rand() < 2 / 3 else results


def digits(root: Path, *transforms: dict[str, Any], **changes: Any) -> dict[str, Any]:
    return dict(
        type='mmdet.CocoDataset',
        data_root=f'{root}/',
        metainfo=dict(classes=tuple('0123456789')),
        ann_file='annotations/train.json',
        data_prefix=dict(img='train/'),
        pipeline=[*LOAD, *(transforms or (DISTORT,)), PACK],
        **changes,
    )


def mixed_digits(root: Path) -> dict[str, Any]:
    """As YOLOX augments: mosaics, turned, mixed up."""
    data = digits(root)
    data['pipeline'] = LOAD
    return dict(
        type='mmdet.MultiImageMixDataset',
        dataset=data,
        pipeline=[
            dict(type='mmdet.Mosaic', img_scale=(64, 64)),
            dict(type='mmdet.RandomAffine', border=(-32, -32)),
            dict(type='mmdet.MixUp', img_scale=(64, 64)),
            dict(type='mmdet.YOLOXHSVRandomAug'),
            dict(type='mmdet.RandomFlip', prob=0.5),
            PACK,
        ],
    )


def mosaics(root: Path, *transforms: dict[str, Any]) -> dict[str, Any]:
    return dict(
        type='mmseg.BaseSegDataset',
        data_root=str(root),
        metainfo=dict(classes=tuple('abcdefghijklm')),
        ann_file='splits/train.txt',
        img_suffix='.jpg',
        seg_map_suffix='.png',
        data_prefix=dict(img_path='images/train', seg_map_path='labels/train'),
        pipeline=[
            dict(type='LoadImageFromFile'),
            dict(type='mmseg.LoadAnnotations'),
            *(
                transforms
                or (
                    dict(type='mmseg.RandomCrop', crop_size=(64, 64)),
                    dict(type='mmseg.PhotoMetricDistortion'),
                    dict(type='mmseg.PackSegInputs'),
                )
            ),
        ],
    )


def mixed_mosaics(root: Path) -> dict[str, Any]:
    data = mosaics(root)
    data['pipeline'] = data['pipeline'][:2]
    return dict(
        type='mmseg.MultiImageMixDataset',
        dataset=data,
        pipeline=[
            dict(type='mmseg.RandomMosaic', prob=1.0, img_scale=(64, 64)),
            dict(type='RandomFlip', prob=0.5),
            dict(type='mmseg.PackSegInputs'),
        ],
    )


def views(dataset: Any, number: int = 2, seed: int = 0) -> SeededViews:
    init_default_scope('mmdet')
    built: SeededViews = DATASETS.build(
        dict(type='kd_plugins.SeededViews', dataset=dataset, views=number, seed=seed)
    )
    return built


def content(item: Any) -> dict[str, Any]:
    """Everything of an item that a training sees."""
    sample = item['data_samples']
    labels = (
        sample.gt_sem_seg.data
        if 'gt_sem_seg' in sample
        else torch.as_tensor(sample.gt_instances.bboxes.tensor)
    )
    return dict(image=item['inputs'], labels=labels, view=mark(item))


def mark(item: Any) -> SeededView:
    found: SeededView = item['data_samples'].metainfo['seeded_view']
    return found


def same(one: Any, other: Any) -> bool:
    first, second = content(one), content(other)
    return all(
        first[key].shape == second[key].shape and torch.equal(first[key], second[key])
        if isinstance(first[key], torch.Tensor)
        else first[key] == second[key]
        for key in first
    )


KINDS = {
    'plain': lambda digits_root, _: digits(digits_root),
    'mixed detection': lambda digits_root, _: mixed_digits(digits_root),
    'segmentation': lambda _, mosaics_root: mosaics(mosaics_root),
    'mixed segmentation': lambda _, mosaics_root: mixed_mosaics(mosaics_root),
    'generators of its own': lambda digits_root, _: digits(
        digits_root, dict(type='HoldsGenerators')
    ),
    'without some items': lambda digits_root, _: digits(
        digits_root, dict(type='OftenNothing'), DISTORT
    ),
}


@pytest.fixture(params=list(KINDS))
def dataset(
    request: pytest.FixtureRequest, tiny_digits: Path, tiny_mosaics: Path
) -> dict[str, Any]:
    built: dict[str, Any] = KINDS[request.param](tiny_digits, tiny_mosaics)
    return built


def test_an_item_is_the_same_in_any_order_and_in_any_data_set(dataset: Any) -> None:
    one, other = views(dataset), views(dataset)
    forward = [one[index] for index in range(len(one))]
    random.seed(5), np.random.seed(5), torch.manual_seed(5)
    backward = [other[index] for index in reversed(range(len(other)))][::-1]
    assert all(map(same, forward, backward))
    assert all(map(same, forward, [one[index] for index in range(len(one))]))


def test_workers_give_the_same_items(dataset: Any) -> None:
    data = views(dataset)
    options: dict[str, Any] = dict(batch_size=None, sampler=list(range(len(data))))
    here = list(DataLoader(data, **options))
    workers = DataLoader(data, num_workers=2, persistent_workers=True, **options)
    for _ in range(2):
        assert all(map(same, here, workers))


def test_generators_outside_do_not_change(dataset: Any) -> None:
    data = views(dataset)
    before = get_random_state()
    data[3]
    after = get_random_state()
    assert before['python'] == after['python']
    assert torch.equal(before['torch'], after['torch'])
    assert torch.equal(before['numpy'][1], after['numpy'][1])
    assert before['numpy'][2:] == after['numpy'][2:]


def test_generators_of_transforms_go_on_as_before(tiny_digits: Path) -> None:
    data = views(digits(tiny_digits, dict(type='HoldsGenerators')))
    held = data.dataset.pipeline.transforms[2].inner
    states = (
        held['python'][0].getstate(),
        str(held['numpy'][0].bit_generator.state),
        str(held['numpy'][1].get_state()),
        held['torch'].get_state().tolist(),
    )
    data[1]
    assert states == (
        held['python'][0].getstate(),
        str(held['numpy'][0].bit_generator.state),
        str(held['numpy'][1].get_state()),
        held['torch'].get_state().tolist(),
    )


def test_views_of_an_image_differ_and_so_do_seeds(dataset: Any) -> None:
    data, other = views(dataset), views(dataset, seed=1)
    count = len(data.dataset)
    assert len(data) == 2 * count
    images = [data[index]['inputs'] for index in range(len(data))]
    others = [other[index]['inputs'] for index in range(len(data))]
    pairs = [*zip(images[:count], images[count:], strict=True)]
    pairs += zip(images, others, strict=True)
    differing = [a.shape != b.shape or not torch.equal(a, b) for a, b in pairs]
    assert sum(differing) > 0.8 * len(differing)


def test_more_views_leave_the_first_ones_as_they_are(tiny_digits: Path) -> None:
    few, many = views(digits(tiny_digits)), views(digits(tiny_digits), 3)
    assert mark(many[9]) == mark(few[9])._replace(views=3)
    assert torch.equal(many[9]['inputs'], few[9]['inputs'])


def test_mixing_takes_partners_of_the_view(tiny_digits: Path) -> None:
    """The first draws decide on the partners: of another view they are others."""
    data = views(mixed_digits(tiny_digits), 8)
    drawn: Counter[tuple[int, ...]] = Counter()
    mosaic = data.dataset.pipeline[0]
    inner = mosaic.get_indexes

    def noted(partners: Any) -> Any:
        indices = inner(partners)
        drawn[tuple(indices)] += 1
        return indices

    mosaic.get_indexes = noted
    for _ in range(2):
        for view in range(8):
            data[view * len(data.dataset)]
    assert len(drawn) > 1
    assert all(count % 2 == 0 for count in drawn.values())


def test_an_item_says_which_view_it_is(tiny_mosaics: Path) -> None:
    data = views(mosaics(tiny_mosaics))
    found = mark(data[11])
    assert (found.item, found.images, found.views) == (11, 8, 2)
    assert found.describe() == 'item 11 (image 3, view 1)'
    assert mark(data[-5]) == found
    assert mark(data[3]).data == found.data
    assert mark(data[3]).checksum != found.checksum
    with pytest.raises(IndexError):
        data[16]


def test_the_fingerprint_is_that_of_pipeline_and_seed(tiny_digits: Path) -> None:
    plain = mark(views(digits(tiny_digits))[0]).data
    assert mark(views(digits(tiny_digits), 4)[0]).data == plain
    assert mark(views(digits(tiny_digits), seed=1)[0]).data != plain
    flip = dict(type='mmdet.RandomFlip', prob=0.5)
    assert mark(views(digits(tiny_digits, flip))[0]).data != plain


def test_wrappers_and_samplers_of_the_hosts_work_on_it(tiny_digits: Path) -> None:
    part = digits(tiny_digits)
    concat = dict(type='mmdet.ConcatDataset', datasets=[part, part])
    repeated = dict(type='RepeatDataset', dataset=concat, times=2)
    mixed = mixed_digits(tiny_digits)
    for wrapped, count in ((concat, 16), (repeated, 32), (mixed, 8), (part, 8)):
        data = views(wrapped, 3)
        assert len(data) == 3 * count
        assert data.metainfo['classes'] == tuple('0123456789')
        data.full_init()
        last = len(data) - 1
        assert data.get_data_info(last)['img_id'] == data.get_data_info(7)['img_id']
        assert data.get_cat_ids(last) == data.get_cat_ids(7)
        assert mark(data[last]).item == last


@pytest.mark.parametrize(
    'options',
    [
        dict(sampler=dict(type='InfiniteSampler', shuffle=True)),
        dict(
            sampler=dict(type='DefaultSampler', shuffle=True),
            batch_sampler=dict(type='mmdet.AspectRatioBatchSampler'),
        ),
        dict(sampler=dict(type='mmdet.ClassAwareSampler')),
    ],
    ids=['infinite', 'aspect ratio', 'class aware'],
)
def test_the_hosts_loaders_are_built_on_it(
    options: dict[str, Any], tiny_digits: Path
) -> None:
    init_default_scope('mmdet')
    dataset = digits(tiny_digits, filter_cfg=dict(filter_empty_gt=True, min_size=8))
    loader = Runner.build_dataloader(
        dict(
            batch_size=2,
            num_workers=0,
            dataset=dict(type='kd_plugins.SeededViews', dataset=dataset, views=2),
            **options,
        ),
        seed=0,
    )
    batch = next(iter(loader))
    found = [sample.metainfo['seeded_view'] for sample in batch['data_samples']]
    assert [one.data for one in found] == [found[0].data] * 2


def test_ranks_see_the_same_items(tiny_digits: Path) -> None:
    """As two processes draw them: the sampler gives each every second one."""
    data = views(digits(tiny_digits))
    alone = {index: data[index] for index in range(len(data))}
    sampler = InfiniteSampler(data, shuffle=True, seed=3)
    for rank in range(2):
        sampler.rank, sampler.world_size = rank, 2
        loader = DataLoader(
            data, batch_size=2, sampler=sampler, collate_fn=pseudo_collate
        )
        for batch, _ in zip(loader, range(4), strict=False):
            for image, sample in zip(*batch.values(), strict=True):
                item = dict(inputs=image, data_samples=sample)
                assert same(item, alone[mark(item).item])


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        (dict(views=0), r'SeededViews.views must be a whole number >= 1, got 0'),
        (dict(views=1.5), r'SeededViews.views must be a whole number >= 1, got 1.5'),
        (dict(views=None), r'SeededViews.views must be a whole number >= 1'),
        (dict(seed=-1), r'SeededViews.seed must be a whole number >= 0, got -1'),
        (dict(dataset='digits'), r"SeededViews.dataset: .*with 'type', got 'digits'"),
    ],
)
def test_misuse_is_refused(
    changes: dict[str, Any], message: str, tiny_digits: Path
) -> None:
    options: dict[str, Any] = dict(dataset=digits(tiny_digits), views=2, seed=0)
    with pytest.raises(ConfigError, match=message):
        SeededViews(**(options | changes))


def test_what_mixes_with_images_seen_before_is_refused(tiny_digits: Path) -> None:
    data = digits(tiny_digits, dict(type='mmdet.CachedMosaic', img_scale=(64, 64)))
    with pytest.raises(ConfigError, match=r'SeededViews.dataset: CachedMosaic mixes'):
        views(data)


def test_a_pipeline_that_gives_no_data_sample_is_refused(tiny_digits: Path) -> None:
    data = digits(tiny_digits)
    data['pipeline'] = LOAD
    with pytest.raises(
        ConfigError, match=r"PackDetInputs and PackSegInputs do .*'img'"
    ):
        views(data)[0]


def test_hooks_that_change_the_pipeline_are_refused(tiny_digits: Path) -> None:
    data = views(mixed_digits(tiny_digits))
    with pytest.raises(ConfigError, match='PipelineSwitchHook would change'):
        data.pipeline = []
    with pytest.raises(ConfigError, match='YOLOXModeSwitchHook would change'):
        data.update_skip_type_keys(['Mosaic'])
    assert len(data.pipeline) == 6
