"""Planes in haze: what an image shows is as far as its depth map says."""

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kd_plugins.datasets import planes
from kd_plugins.datasets.photographs import photograph

MIDDLE = 63.5  # where the optical axis meets the image
FOCAL = 128.0


@pytest.fixture(scope='module')
def root(tmp_path_factory):
    return planes.prepare_planes(
        tmp_path_factory.mktemp('data') / 'planes', train=3, val=2
    )


@pytest.fixture
def painted(monkeypatch):
    """Photographs of the test's own, in air, in the light that they have."""

    def paint(picture):
        monkeypatch.setattr(planes, 'photograph', picture)
        planes._pyramid.cache_clear()

    monkeypatch.setattr(planes, '_LIGHT', ((1.0, 1.0), (0.0, 0.0)))
    monkeypatch.setattr(planes, '_DENSITY', (1e-9, 1e-9))
    yield paint
    planes._pyramid.cache_clear()


class Straight:
    """Draws nothing but zeros: no turn, no shift."""

    def uniform(self, low, high, size=None):
        return np.zeros(size or ())


def of_plane(right, down, distance):
    """The plane at this distance on the optical axis, of these tangents."""
    return np.array([right, down, 1], np.float32) / distance


@given(split=st.sampled_from(['train', 'val']), index=st.integers(0, 3000))
def test_depths_are_in_millimetres_up_to_ten_metres(split, index):
    image, depth = planes.compose(split, index)
    assert image.shape == (128, 128, 3)
    assert image.dtype == np.uint8
    assert depth.shape == (128, 128)
    assert depth.dtype == np.uint16
    assert depth.max() <= 10_000
    measured = depth > 0
    assert depth[measured].min() > 500
    assert measured.mean() > 0.4


def test_an_image_is_a_function_of_split_and_index():
    first, depth = planes.compose('train', 3)
    again, same = planes.compose('train', 3)
    assert np.array_equal(first, again)
    assert np.array_equal(depth, same)
    assert not np.array_equal(first, planes.compose('train', 4)[0])
    assert not np.array_equal(first, planes.compose('val', 3)[0])


def test_what_is_measured_is_planar():
    """The inverse depth of a plane is linear in the pixel: no second difference."""
    for index in range(5):
        depth = planes.compose('train', index)[1] / 1000
        for rows in (depth, depth.T):
            before, here, after = rows[:-2], rows[1:-1], rows[2:]
            three = (before > 0) & (here > 0) & (after > 0)
            second = 1 / before[three] - 2 / here[three] + 1 / after[three]
            bend = np.abs(second) * here[three] ** 2
            # Rounding to millimetres; but for the edges where two planes meet.
            assert (bend < 0.003).mean() > 0.97


def test_a_slant_is_one_of_space():
    """Three points by hand: 45 degrees, and the wall's distance on the axis."""
    rng = np.random.default_rng(0)
    rays = planes._rays()
    for _ in range(20):
        plane = planes._plane(rng, 40, 90, (2.0, 2.0), 1.0)
        ray = np.array([(90 - MIDDLE) / FOCAL, (40 - MIDDLE) / FOCAL, 1])
        assert 1 / (plane @ ray) == pytest.approx(2.0, rel=1e-5)
        assert np.hypot(plane[0], plane[1]) * 2 <= 1 + 1e-6
    (edge,) = {float(value) for value in rays[0, :, 127]}
    assert edge == pytest.approx((127 - MIDDLE) / FOCAL)


@pytest.mark.parametrize('tangents', [(0, 0), (0.8, 0), (0, -0.7), (0.5, 0.5)])
def test_texels_have_one_size_in_space(tangents):
    """On a ramp, grey levels differ by the distance of the points in space."""
    x, y = np.arange(256), np.arange(256)[:, None]
    ramps = [np.repeat((ramp + 0 * x * y)[..., None], 3, -1) for ramp in (x, y)]
    plane = of_plane(*tangents, distance=0.6)  # no smaller photograph is needed
    points = planes._rays() / np.tensordot(plane, planes._rays(), 1)
    first, other = (70, 66), (76, 74)  # near the axis: no mirror is reached
    shifts = []
    for ramp in ramps:
        whole = planes._covered(
            Shifted(), [ramp.astype(np.uint8)], plane, np.s_[0:128, 0:128]
        )
        shifts.append(whole[other][0] - whole[first][0])
    here, there = (points[:, row, column] for row, column in (first, other))
    apart = np.linalg.norm(there - here)
    assert np.hypot(*shifts) == pytest.approx(apart * 256 / 2, abs=1.5)


class Shifted(Straight):
    """No turn; shifted to the middle of a photograph of 256 texels."""

    def uniform(self, low, high, size=None):
        return np.full(size or (), 128.0 if size else 0.0)


def test_far_pieces_are_averaged_instead_of_sampled(painted):
    painted(
        lambda name: (
            (np.indices((256, 512)).sum(0) % 2 * 200)[..., None]
            .repeat(3, -1)
            .astype(np.uint8)
        )
    )
    pyramid = planes._pyramid('any', 'train')
    near, far = (
        planes._covered(Straight(), pyramid, of_plane(0, 0, distance), np.s_[:, :])
        for distance in (0.1, 8.0)
    )
    assert near.std() > 30
    assert far.std() < 5
    assert far.mean() == pytest.approx(100, abs=5)


@pytest.mark.parametrize(('pieces', 'seen'), [(2.0, {2000, 8000}), (9.0, {8000})])
def test_the_nearest_is_seen(painted, monkeypatch, pieces, seen):
    """Each photograph painted with its number, all planes upright."""
    painted(
        lambda name: np.full((256, 512, 3), 20 * planes.CLASSES.index(name), np.uint8)
    )
    monkeypatch.setattr(planes, '_WALL', (8.0, 8.0))
    monkeypatch.setattr(planes, '_PIECES', (pieces, pieces))
    monkeypatch.setattr(planes, '_STEEPEST', (0.0, 0.0))
    for index in range(4):
        image, depth = planes.compose('train', index)
        assert set(np.unique(depth)) - {0} == seen
        greys = {value: smooth(image)[inner(depth == value)] for value in seen}
        wall = np.median(greys[8000])
        assert np.abs(greys.pop(8000) - wall).max() < 10
        for others in greys.values():  # where two of them meet it may be between
            assert (np.abs(others - wall) > 10).mean() > 0.9


def smooth(image):
    """Grey without its noise."""
    return cv2.blur(image, (7, 7)).mean(-1)


def inner(region):
    """Away from its borders."""
    return cv2.erode(region.astype(np.uint8), np.ones((9, 9))).astype(bool)


def test_splits_show_different_halves(painted):
    def halves(name):
        image = np.zeros_like(photograph(name))
        image[:, image.shape[1] // 2 :] = 200
        return image

    painted(halves)
    for index in range(3):
        assert planes.compose('train', index)[0].mean() < 20
        assert planes.compose('val', index)[0].mean() > 180


def test_haze_is_koschmieders(monkeypatch):
    monkeypatch.setattr(planes, '_DENSITY', (0.2, 0.2))
    canvas = np.full((1, 3, 3), 50, np.float32)
    depth = np.array([[0, 5, 1e9]], np.float32)
    near, middle, far = planes._hazy(np.random.default_rng(0), canvas, depth)[0]
    assert near == pytest.approx(50)
    # exp(-0.2 5) = 1 / e of the piece is left, the rest is the colour of the haze.
    assert middle == pytest.approx(50 / np.e + far * (1 - 1 / np.e), rel=1e-5)
    assert far.min() > 80


def test_haze_differs_from_image_to_image():
    rng = np.random.default_rng(0)
    canvas, depth = np.zeros((1, 2, 3), np.float32), np.array([[2, 1e9]], np.float32)
    hazy = np.stack([planes._hazy(rng, canvas, depth)[0] for _ in range(50)])
    assert np.ptp(hazy[:, 1].mean(-1)) > 80
    left = 1 - hazy[:, 0].mean(-1) / hazy[:, 1].mean(-1)
    assert left.min() < 0.6
    assert left.max() > 0.85


def test_nothing_is_measured_far_away_at_borders_and_in_holes(monkeypatch):
    depth = np.full((128, 128), 3, np.float32)
    depth[:, 64:] = 4
    depth[100:] = 10.5
    measured = planes._measured(np.random.default_rng(0), depth)
    assert not measured[100:].any()
    assert not measured[:, 63:65].any()
    holes = 1 - measured[:98, :62].mean()
    assert 0 < holes < 0.15
    monkeypatch.setattr(planes, '_HOLES', 99)
    measured = planes._measured(np.random.default_rng(0), depth)
    assert measured[:98, :62].all()
    assert measured[:98, 66:].all()


def test_files_are_what_is_drawn(root):
    for split, count in (('train', 3), ('val', 2)):
        assert len(list((root / 'images' / split).iterdir())) == count
        for index in range(count):
            image, depth = planes.compose(split, index)
            file = root / 'annotations' / split / f'{index:05d}.png'
            read = cv2.imread(str(file), cv2.IMREAD_UNCHANGED)
            assert read.dtype == np.uint16
            assert np.array_equal(read, depth)
            pixels = cv2.imread(str(root / 'images' / split / f'{index:05d}.jpg'))
            assert np.abs(pixels.astype(int) - image).mean() < 10  # JPEG, 95
