"""Digits in photographs: what the annotations say is what the images show."""

import json

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pycocotools.coco import COCO

from kd_plugins.datasets import digits


@given(split=st.sampled_from(['train', 'val']), index=st.integers(0, 4000))
def test_boxes_are_the_bounds_of_masks_and_do_not_touch(split, index):
    image, instances = digits.compose(split, index)
    assert image.shape == (digits.SIDE, digits.SIDE, 3)
    assert image.dtype == np.uint8
    assert 0 <= len(instances) <= 5
    covered = np.zeros((digits.SIDE, digits.SIDE), int)
    for instance in instances:
        x, y, width, height = instance['box']
        rows, columns = np.nonzero(instance['mask'])
        assert (columns.min(), rows.min()) == (x, y)
        assert (columns.max() + 1 - x, rows.max() + 1 - y) == (width, height)
        assert 0 <= instance['label'] <= 9
        covered[y : y + height, x : x + width] += 1
    assert covered.max(initial=0) <= 1


def test_an_image_is_a_function_of_split_and_index():
    first, instances = digits.compose('train', 3)
    again, same = digits.compose('train', 3)
    assert np.array_equal(first, again)
    assert [one['box'] for one in instances] == [one['box'] for one in same]
    assert not np.array_equal(first, digits.compose('train', 4)[0])
    assert not np.array_equal(first, digits.compose('val', 3)[0])


def test_splits_share_no_photograph():
    train, val = (set(digits._PHOTOGRAPHS[split]) for split in ('train', 'val'))
    assert not train & val


def test_splits_share_no_digit(monkeypatch):
    drawn = {'train': set(), 'val': set()}
    strokes, _ = digits.handwritten_digits()
    for split, numbers in drawn.items():
        lookup = {stroke.tobytes(): number for number, stroke in enumerate(strokes)}
        warp = digits._warp
        monkeypatch.setattr(
            digits,
            '_warp',
            lambda rng, stroke, numbers=numbers, lookup=lookup, warp=warp: (
                numbers.add(lookup[stroke.tobytes()]) or warp(rng, stroke)
            ),
        )
        for index in range(60):
            digits.compose(split, index)
        monkeypatch.undo()
    assert max(drawn['train']) < digits._FIRST_VAL_DIGIT <= min(drawn['val'])


@pytest.mark.parametrize(('split', 'count'), [('train', 8), ('val', 4)])
def test_files_are_a_coco_data_set(tiny_digits, split, count):
    coco = COCO(str(tiny_digits / 'annotations' / f'{split}.json'))
    assert len(coco.imgs) == count
    assert [category['name'] for category in coco.dataset['categories']] == [
        str(digit) for digit in range(10)
    ]
    for number, image in coco.imgs.items():
        pixels = cv2.imread(str(tiny_digits / split / image['file_name']))
        original, instances = digits.compose(split, number)
        assert np.abs(pixels.astype(int) - original).mean() < 10  # JPEG, 95
        annotations = coco.imgToAnns[number]
        assert len(annotations) == len(instances)
        for annotation, instance in zip(annotations, instances, strict=True):
            assert np.array_equal(coco.annToMask(annotation), instance['mask'])
            assert annotation['bbox'] == list(instance['box'])
            assert annotation['area'] == instance['mask'].sum()
            assert annotation['category_id'] == instance['label']


def test_the_labelled_part_is_the_beginning(tmp_path, monkeypatch):
    monkeypatch.setattr(digits, 'LABELLED', 2)
    root = digits.prepare_digits(tmp_path / 'digits', train=3, val=1)
    some = json.loads((root / 'annotations' / 'train_2.json').read_text())
    everything = json.loads((root / 'annotations' / 'train.json').read_text())
    assert some['images'] == everything['images'][:2]
    assert some['annotations'] == [
        one for one in everything['annotations'] if one['image_id'] < 2
    ]
