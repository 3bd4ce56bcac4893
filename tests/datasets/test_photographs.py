"""The pictures that scikit-learn and scikit-image ship."""

import socket

import numpy as np
import pytest

from kd_plugins.datasets import digits, mosaics, photographs

NAMES = sorted(
    {*mosaics.CLASSES, *digits._PHOTOGRAPHS['train'], *digits._PHOTOGRAPHS['val']}
)


@pytest.mark.parametrize('name', NAMES)
def test_is_there_without_a_network(name, monkeypatch):
    def refuse(*arguments):
        raise AssertionError('asked the network')

    monkeypatch.setattr(socket, 'create_connection', refuse)
    photographs.photograph.cache_clear()
    image = photographs.photograph(name)
    assert image.dtype == np.uint8
    assert image.ndim == 3
    assert image.shape[2] == 3
    assert min(image.shape[:2]) >= 300
    assert image.std() > 5


def test_colours_are_bgr():
    flower = photographs.photograph('flower')
    blue, _, red = flower[200, 320]  # in the middle of an orange blossom
    assert red > blue


def test_digits_are_dark_to_bright_within_one():
    strokes, labels = photographs.handwritten_digits()
    assert strokes.shape == (1797, 8, 8)
    assert strokes.min() == 0
    assert strokes.max() == 1
    assert sorted(set(labels)) == list(range(10))


def test_an_unknown_name_is_an_error():
    with pytest.raises(KeyError, match='eiffel'):
        photographs.photograph('eiffel')


def test_a_photograph_that_is_no_longer_shipped(monkeypatch):
    monkeypatch.setitem(photographs._SKIMAGE, 'gone', 'gone.png')
    with pytest.raises(FileNotFoundError, match=r'no longer ships gone\.png'):
        photographs.photograph('gone')


def test_files_are_read_as_their_package_reads_them():
    from sklearn.datasets import load_digits, load_sample_image

    for name in ('china', 'flower'):
        theirs = load_sample_image(f'{name}.jpg')[..., ::-1]
        assert np.array_equal(photographs.photograph(name), theirs)
    strokes, labels = photographs.handwritten_digits()
    assert np.array_equal(strokes, (load_digits().images / 16).astype(np.float32))
    assert np.array_equal(labels, load_digits().target)


def test_a_package_that_is_missing_is_named(monkeypatch):
    monkeypatch.setattr(photographs, 'find_spec', lambda package: None)
    photographs.handwritten_digits.cache_clear()
    with pytest.raises(ModuleNotFoundError, match="No module named 'sklearn'"):
        photographs.handwritten_digits()
