"""Halves of photographs, wavy borders and light, as mosaics and planes share them."""

import cv2
import numpy as np
import pytest

from kd_plugins.datasets import pieces
from kd_plugins.datasets.photographs import photograph


def test_halves_share_nothing():
    image = photograph('china')
    train, val = (pieces.half(image, split) for split in ('train', 'val'))
    assert np.array_equal(np.hstack([train, val]), image)


def test_borders_bend_without_tearing():
    rng = np.random.default_rng(0)
    bent = pieces.bent_grid(rng)
    straight = np.mgrid[:128, :128]
    assert np.abs(bent - straight).max() > 5
    for axis in (1, 2):  # neighbours stay neighbours
        assert np.abs(np.diff(bent - straight, axis=axis)).max() < 4


def test_centres_are_spread_where_there_is_room():
    rng = np.random.default_rng(0)
    for _ in range(20):
        centres = pieces.spread(rng, 6)
        gaps = np.linalg.norm(centres[:, None] - centres, axis=-1)
        assert gaps[~np.eye(6, dtype=bool)].min() >= 128 / 4
        assert ((centres >= 0) & (centres <= 128)).all()


def test_light_is_contrast_about_the_mean_and_brightness():
    piece = np.tile(np.array([[50], [150]], np.uint8), (4, 8, 3)).reshape(8, 8, 3)
    lit = pieces.relit(np.random.default_rng(0), piece, ((0.5, 0.5), (10, 10)))
    # 100 is the mean: 50 and 150 lose half their distance to it, and 10 is added.
    assert sorted(np.unique(lit)) == pytest.approx([85, 135])


def test_noise_is_drawn_anew_for_every_canvas():
    rng = np.random.default_rng(0)
    grey = np.full((64, 64, 3), 128, np.float32)
    strengths = [pieces.noisy(rng, grey).std() for _ in range(20)]
    assert 1.5 < min(strengths) < 5
    assert 8 < max(strengths) < 13
    assert (grey == 128).all()  # left as it was


def test_files_have_the_names_that_are_returned(tmp_path):
    def compose(split, index):
        image = np.full((16, 16, 3), 10 * index, np.uint8)
        return image, np.full((16, 16), 1000 * index, np.uint16)

    names = pieces.save(tmp_path, 'maps', 'val', 3, compose)
    assert names == ['00000', '00001', '00002']
    for index, name in enumerate(names):
        image = cv2.imread(str(tmp_path / 'images' / 'val' / f'{name}.jpg'))
        assert abs(int(image.mean()) - 10 * index) <= 1
        file = str(tmp_path / 'maps' / 'val' / f'{name}.png')
        assert (cv2.imread(file, cv2.IMREAD_UNCHANGED) == 1000 * index).all()
