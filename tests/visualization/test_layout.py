"""The grid of panels: its headers, its legend, panels of several sizes."""

import numpy as np
from PIL import Image

from kd_plugins.visualization.layout import arrange


def test_grid_has_headers_and_a_legend():
    panel = Image.new('RGB', (50, 40), (1, 2, 3))
    grid = np.asarray(arrange([[panel] * 3] * 2, ['a', 'b', 'c'], {'right': (9, 8, 7)}))
    same = (grid == (1, 2, 3)).all(axis=-1)
    assert same.sum() == 6 * 50 * 40
    assert (grid == (9, 8, 7)).all(axis=-1).any()
    assert (grid[:20] < 100).any()  # headers in dark letters


def test_a_legend_takes_as_many_lines_as_it_needs():
    panel = Image.new('RGB', (200, 40), 'white')
    colours = {f'class number {number}': (9, number, 7) for number in range(5)}
    grid = np.asarray(arrange([[panel]], ['a'], colours))
    squares = [np.argwhere((grid == colour).all(-1)) for colour in colours.values()]
    assert all(len(square) == 13 * 13 for square in squares)  # none is cut off
    height = arrange([[panel]], ['a'], dict(list(colours.items())[:1])).height
    assert (
        len({square[0, 0] for square in squares}) == 1 + (grid.shape[0] - height) // 28
    )


def test_panels_of_several_sizes_are_all_whole():
    small, large = Image.new('RGB', (30, 60), 'red'), Image.new('RGB', (50, 40), 'blue')
    grid = np.asarray(arrange([[small, large]], ['a', 'b'], {}))
    for colour, area in (((255, 0, 0), 30 * 60), ((0, 0, 255), 50 * 40)):
        assert (grid == colour).all(-1).sum() == area
