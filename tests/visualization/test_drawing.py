"""Boxes and texts on an image: which are painted how, and where."""

import numpy as np
from PIL import Image

from kd_plugins.visualization.drawing import (
    COLOURS,
    MISSED,
    RIGHT,
    TRUTH,
    WRONG,
    Mark,
    Objects,
    caption,
    mark_predictions,
    mark_truth,
    paint,
)

CLASSES = ('cat', 'dog')
RED = (200, 0, 0)


def objects(*rows, scores=None) -> Objects:
    """Objects of (left, top, right, bottom, label)."""
    table = np.array(rows, dtype=float).reshape(-1, 5)
    return Objects(
        table[:, :4],
        table[:, 4].astype(int),
        None if scores is None else np.array(scores, dtype=float),
    )


def test_kinds_of_predictions():
    truth = objects((0, 0, 10, 10, 0), (20, 20, 30, 30, 1), (40, 0, 50, 10, 1))
    found = objects(
        (0, 0, 10, 9, 0),  # in its place
        (0, 0, 10, 10, 0),  # again: a double
        (20, 20, 30, 30, 0),  # another class
        (60, 60, 70, 70, 1),  # nothing there
        scores=[0.9, 0.8, 0.7, 0.6],
    )
    marks = mark_predictions(found, truth, CLASSES)
    assert [(mark.kind, mark.text) for mark in marks] == [
        (MISSED, ''),
        (MISSED, ''),
        (WRONG, 'dog 60'),
        (WRONG, 'cat 70'),
        (WRONG, 'cat 80'),
        (RIGHT, 'cat 90'),  # the surest is painted last, on top
    ]
    assert [mark.box[0] for mark in marks[:2]] == [20.0, 40.0]


def test_of_two_objects_the_nearer_is_taken():
    truth = objects((0, 0, 10, 10, 0), (0, 0, 10, 8, 0))
    found = objects((0, 0, 10, 8, 0), (0, 0, 10, 10, 0), scores=[0.9, 0.8])
    kinds = [mark.kind for mark in mark_predictions(found, truth, CLASSES)]
    assert kinds == [RIGHT, RIGHT]


def test_an_image_without_predictions_or_objects():
    nothing = objects(scores=[])
    assert mark_predictions(nothing, objects(), CLASSES) == []
    truth = objects((0, 0, 10, 10, 0))
    assert [mark.kind for mark in mark_predictions(nothing, truth, CLASSES)] == [MISSED]
    assert mark_truth(truth, CLASSES) == [Mark((0, 0, 10, 10), TRUTH, 'cat')]


def test_painting_leaves_the_rest_alone():
    image = Image.new('RGB', (180, 120), (7, 7, 7))
    marks = [Mark((30, 60, 90, 105), RIGHT, 'cat 90'), Mark((120, 15, 165, 90), MISSED)]
    painted = np.asarray(paint(image, marks))
    assert painted.shape == (120, 180, 3)
    assert tuple(painted[60, 60]) == COLOURS[RIGHT]  # its upper edge
    assert tuple(painted[90, 60]) == (7, 7, 7)  # within
    assert tuple(painted[15, 120]) == COLOURS[MISSED]
    assert tuple(painted[15, 127]) == (7, 7, 7)  # dashed
    assert np.asarray(image).max() == 7


def test_texts_stay_inside_and_apart():
    """Two boxes at one place, at the upper edge: two texts, none over the other."""
    image = Image.new('RGB', (240, 240))
    marks = [
        Mark((4, 0, 100, 80), WRONG, 'dog 51'),
        Mark((4, 0, 100, 80), RIGHT, 'cat 90'),
    ]
    painted = np.asarray(paint(image, marks))
    areas = {
        kind: (painted == COLOURS[kind]).all(axis=-1).sum() for kind in (RIGHT, WRONG)
    }
    assert min(areas.values()) > 400  # both texts have their whole ground


def test_a_caption_needs_room():
    panel = Image.new('RGB', (100, 60), RED)
    captioned = np.asarray(caption(panel, '87 %'))
    assert (captioned[:40] == RED).all()
    assert not (captioned[45:] == RED).all()
    assert np.asarray(panel).min(axis=(0, 1)).tolist() == list(RED)  # itself unchanged
    assert (np.asarray(caption(panel, 'far too long for such a panel')) == RED).all()
