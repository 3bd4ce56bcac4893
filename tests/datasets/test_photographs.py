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
