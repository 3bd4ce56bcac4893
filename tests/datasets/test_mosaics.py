"""Mosaics of photographs: what the label maps say is what the images show."""

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kd_plugins.datasets import mosaics
from kd_plugins.datasets.photographs import photograph


@pytest.fixture(scope='module')
def root(tmp_path_factory):
    return mosaics.prepare_mosaics(
        tmp_path_factory.mktemp('data') / 'mosaics', train=6, val=3
    )


@given(split=st.sampled_from(['train', 'val']), index=st.integers(0, 3000))
def test_three_to_six_regions_of_known_classes(split, index):
    image, labels = mosaics.compose(split, index)
    assert image.shape == (128, 128, 3)
    assert labels.shape == (128, 128)
    assert image.dtype == labels.dtype == np.uint8
    # A region may be crowded out by its neighbours, a seventh cannot appear.
    assert 2 <= len(np.unique(labels)) <= 6
    assert labels.max() < len(mosaics.CLASSES) == 13


def test_an_image_is_a_function_of_split_and_index():
    first, labels = mosaics.compose('train', 3)
    again, same = mosaics.compose('train', 3)
    assert np.array_equal(first, again)
    assert np.array_equal(labels, same)
    assert not np.array_equal(first, mosaics.compose('train', 4)[0])
    assert not np.array_equal(first, mosaics.compose('val', 3)[0])


@pytest.mark.parametrize('split', ['train', 'val'])
def test_a_pixel_comes_from_the_photograph_of_its_class(monkeypatch, split):
    """Each photograph painted with its number: light changes, which is undone here."""
    flat = {
        name: np.full(photograph(name).shape, 40 + 12 * number, np.uint8)
        for number, name in enumerate(mosaics.CLASSES)
    }
    monkeypatch.setattr(mosaics, 'photograph', flat.__getitem__)
    monkeypatch.setattr(mosaics, '_LIGHT', ((1.0, 1.0), (0.0, 0.0)))
    for index in range(3):
        image, labels = mosaics.compose(split, index)
        for label in np.unique(labels):
            assert image[labels == label].mean() == pytest.approx(
                40 + 12 * label, abs=2
            )


def test_splits_are_cut_from_different_halves(monkeypatch):
    def halves(name):
        image = np.zeros_like(photograph(name))
        image[:, image.shape[1] // 2 :] = 200
        return image

    monkeypatch.setattr(mosaics, 'photograph', halves)
    monkeypatch.setattr(mosaics, '_LIGHT', ((1.0, 1.0), (0.0, 0.0)))
    for index in range(5):
        assert mosaics.compose('train', index)[0].mean() < 20
        assert mosaics.compose('val', index)[0].mean() > 180


def test_some_pieces_are_grey_and_some_are_not():
    rng = np.random.default_rng(0)
    spread = [np.ptp(mosaics._cut(rng, 'flower', 'train'), -1).max() for _ in range(20)]
    grey = sum(value < 1e-3 for value in spread)
    assert 4 <= grey <= 16


def test_files_are_those_that_are_listed(root):
    for split, count in (('train', 6), ('train_300', 6), ('val', 3)):
        names = (root / 'splits' / f'{split}.txt').read_text().split()
        assert len(names) == count
        for index, name in enumerate(names):
            folder = split.split('_')[0]
            image, labels = mosaics.compose(folder, index)
            read = cv2.imread(
                str(root / 'labels' / folder / f'{name}.png'), cv2.IMREAD_UNCHANGED
            )
            assert np.array_equal(read, labels)
            pixels = cv2.imread(str(root / 'images' / folder / f'{name}.jpg'))
            assert np.abs(pixels.astype(int) - image).mean() < 10  # JPEG, 95


def test_the_labelled_part_is_the_beginning(tmp_path, monkeypatch):
    monkeypatch.setattr(mosaics, 'LABELLED', 2)
    root = mosaics.prepare_mosaics(tmp_path / 'mosaics', train=3, val=1)
    assert (root / 'splits' / 'train_2.txt').read_text() == '00000\n00001\n'
