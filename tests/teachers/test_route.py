"""A route: which checkpoint teaches when, exactly on resume, and what it refuses."""

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from mmengine.config import Config

from kd_plugins.errors import CheckpointError, ConfigError
from kd_plugins.schedules import Clock
from kd_plugins.teachers import Route, Teacher, build_teachers, greedy_anchor
from kd_plugins.teachers.route import read_anchors
from tests.distillers.runs import assert_same_weights
from tests.distillers.tiny import all_pairs, distiller, faster_rcnn, hint, losses_of
from tests.distillers.tiny_teachers import route, save_anchors

CPU = torch.device('cpu')


def clock(iteration: int, epoch: int | None = None) -> Clock:
    by_epoch = epoch is not None
    return Clock(iteration, epoch or 0, 100, 13 if by_epoch else None, by_epoch)


def state_of(path: str) -> dict[str, Any]:
    state: dict[str, Any] = torch.load(path, weights_only=True)['state_dict']
    return state


@pytest.fixture
def paths(tmp_path: Path) -> list[str]:
    """Three checkpoints of one model."""
    return save_anchors(tmp_path, 3)


# Numbers of the sheet: min(floor(epoch / interval), m - 1).
def test_equal_epoch_intervals_stay_with_the_last_anchor(paths: list[str]) -> None:
    teacher = Route('teacher', plain(route(paths, interval=4, by_epoch=True)))
    found = [teacher.anchor_at(clock(0, epoch)) for epoch in range(13)]
    assert found == [0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 2]
    assert teacher.anchor_at(clock(0, 6)) == 1  # as a run that resumes there finds


def plain(cfg: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in cfg.items() if key != 'type'}


def test_checkpoints_by_iteration_begin_where_they_say(paths: list[str]) -> None:
    by_iteration = {500: paths[1], 0: paths[0], 750: paths[2]}
    teacher = Route(
        'teacher', plain(route(paths, interval=None)) | dict(checkpoints=by_iteration)
    )
    found = [teacher.anchor_at(clock(step)) for step in (0, 499, 500, 749, 750, 9999)]
    assert found == [0, 0, 1, 1, 2, 2]
    assert 'a route of 3 checkpoints: ' in teacher.describe()
    assert f'{paths[1]} from iteration 500' in teacher.describe()


def test_a_config_may_hold_iterations_as_keys(tmp_path: Path) -> None:
    """Written and read by the hosts, and changed on the command line."""
    cfg = Config(dict(checkpoints={0: 'a.pth', 500: 'b.pth'}))
    cfg.dump(str(tmp_path / 'route.py'))
    read = Config.fromfile(tmp_path / 'route.py')
    read.merge_from_dict({'checkpoints.500': 'c.pth'})
    found = read_anchors(read.checkpoints)
    assert [(item.begin, item.checkpoint) for item in found] == [
        (0, 'a.pth'),
        (500, 'c.pth'),
    ]


def test_the_weights_are_those_of_the_file_at_each_border(paths: list[str]) -> None:
    model = distiller(dict(hint=hint()), teacher=route(paths, interval=2))
    teacher = model.teachers['teacher']
    for iteration, index in enumerate((0, 0, 1, 1, 2, 2, 2)):
        model.set_clock(clock(iteration))
        losses_of(model)
        assert_same_weights(state_of(paths[index]), teacher.model.state_dict())
        assert not teacher.model.training
        assert not any(each.requires_grad for each in teacher.model.parameters())


def test_a_route_of_one_is_the_plain_teacher(paths: list[str]) -> None:
    one = distiller(all_pairs(), teacher=route(paths[:1]))
    one.set_clock(clock(50))
    whole = distiller(
        all_pairs(), teacher=dict(model=faster_rcnn(), checkpoint=paths[0])
    )
    ours, plain_losses = losses_of(one), losses_of(whole)
    for name in ('hint', 'rcn_cls', 'rcn_reg', 'rpn_cls', 'rpn_reg'):
        key = f'loss_kd_{name}'
        assert torch.equal(ours[key], plain_losses[key])


def test_what_is_behind_is_not_asked_for(paths: list[str]) -> None:
    Path(paths[0]).unlink()
    model = distiller(dict(hint=hint()), teacher=route(paths, interval=2))
    model.set_clock(clock(3))  # as after a resume
    losses_of(model)
    teacher = model.teachers['teacher']
    assert_same_weights(state_of(paths[1]), teacher.model.state_dict())


def test_no_file_is_touched_while_no_pair_has_a_weight(paths: list[str]) -> None:
    missing = [f'{path}.away' for path in paths]
    pairs = dict(hint=hint() | dict(loss=dict(type='HintLoss', loss_weight=0.0)))
    model = distiller(pairs, teacher=route(missing))
    model.pairs[0].check = False
    model.set_clock(clock(0))
    assert losses_of(model)['loss_kd_hint'] == 0
    assert 'a route of 3 checkpoints' in model.summary()
    assert not model.teachers['teacher'].loaded


def test_a_checkpoint_of_another_model_is_found_before_the_first_step(
    tmp_path: Path, paths: list[str]
) -> None:
    folder = tmp_path / 'other'
    folder.mkdir()
    other = save_anchors(folder, 1, base=8)
    model = distiller(
        dict(hint=hint()), teacher=route([*paths[:2], *other], interval=100)
    )
    model.set_clock(clock(0))
    message = (
        r"^model\.teacher\.checkpoints\.2: '.*other/anchor_0\.pth' is of another "
        'architecture than the FasterRCNN of the config'
    )
    with pytest.raises(CheckpointError, match=message):
        losses_of(model)
    model.set_clock(clock(0))
    Path(paths[1]).unlink()
    missing = dict(type='Route', model=faster_rcnn(), checkpoints=paths, interval=9)
    model = distiller(dict(hint=hint()), teacher=dict(big=missing))
    model.set_clock(clock(0))
    with pytest.raises(
        CheckpointError, match=r'^model\.teacher\.big\.checkpoints\.1: there is no file'
    ):
        losses_of(model)


def test_a_later_checkpoint_of_other_classes_is_found_too(
    tmp_path: Path, paths: list[str]
) -> None:
    content = torch.load(paths[2], weights_only=True)
    content['meta'] = dict(dataset_meta=dict(classes=('x', 'y', 'z')))
    torch.save(content, paths[2])
    model = distiller(all_pairs(), teacher=route(paths))
    model.set_class_names(['a', 'b', 'c'])
    model.set_clock(clock(0))
    with pytest.raises(CheckpointError, match=r'checkpoints\.2.*for other classes'):
        losses_of(model)


@pytest.mark.fast_teacher
def test_its_fast_copy_follows_the_weights(paths: list[str]) -> None:
    model = distiller(
        dict(hint=hint()),
        teacher=route(paths, fast=dict(dtype='float32', tolerance=1e-3)),
    )
    teacher = model.teachers['teacher']
    exact = distiller(dict(hint=hint()), teacher=route(paths, fast=False))
    exact.student.load_state_dict(model.student.state_dict())
    for iteration in range(4):
        for each in (model, exact):
            each.set_clock(clock(iteration))
        value, expected = (losses_of(each)['loss_kd_hint'] for each in (model, exact))
        torch.testing.assert_close(value, expected, rtol=1e-3, atol=1e-5)
    assert teacher.fast.is_used(CPU)  # as decided once, at the first batch


def test_copies_that_look_ahead_leave_the_original_where_it_is(
    paths: list[str],
) -> None:
    """A dry run steps a copy, whose clock is another, with the same model."""
    teacher = build_teachers(route(paths), None)['teacher']
    teacher.set_clock(clock(0))
    teacher.prepare(CPU)
    ahead = copy.copy(teacher)
    ahead.fast = copy.copy(teacher.fast)
    ahead.set_clock(clock(2))
    assert_same_weights(state_of(paths[2]), ahead.prepare(CPU).state_dict())
    assert_same_weights(state_of(paths[0]), teacher.prepare(CPU).state_dict())


def test_without_a_training_it_is_the_last_or_what_it_was(paths: list[str]) -> None:
    teacher = build_teachers(route(paths), None)['teacher']
    assert_same_weights(state_of(paths[2]), teacher.prepare(CPU).state_dict())
    # As inherited from; then a training begins, at its beginning.
    teacher.set_clock(clock(0))
    assert_same_weights(state_of(paths[0]), teacher.prepare(CPU).state_dict())


A = ['a.pth', 'b.pth']
BAD: dict[str, tuple[dict[str, Any], str]] = {
    'no interval': (
        dict(checkpoints=A),
        'a list of checkpoints needs interval, after how many iterations',
    ),
    'interval of a dict': (
        dict(checkpoints={0: 'a.pth'}, interval=3),
        '^interval: goes with a list of checkpoints',
    ),
    'not from 0': (
        dict(checkpoints={3: 'a.pth', 5: 'b.pth'}),
        '^checkpoints: the first must begin at 0, got 3',
    ),
    'no iteration': (
        dict(checkpoints={0: 'a.pth', 'late': 'b.pth'}),
        r"^checkpoints: an iteration or epoch must be a whole number >= 0, got 'late'",
    ),
    'empty': (
        dict(checkpoints={}),
        r"^checkpoints: must be checkpoints=\{0: 'a.pth', 500: 'b.pth'\}, or a list",
    ),
    'none': (dict(), r'^checkpoints: must be checkpoints=\{0: .*, got None'),
    'no path': (
        dict(checkpoints={0: 'a.pth', 2: 3}),
        r'^checkpoints\.2: must be the path of a checkpoint, got 3',
    ),
    'both': (
        dict(checkpoints=A, interval=1, checkpoint='a.pth'),
        r'^checkpoint: a Route has several: checkpoints=\{0: ..., 500: ...\}',
    ),
    'cached': (
        dict(checkpoints=A, interval=1, cache=dict(folder='x')),
        '^cache: a Route changes its weights, and a cache holds what one checkpoint',
    ),
    'by_epoch': (
        dict(checkpoints=A, interval=1, by_epoch=1),
        'by_epoch must be True or False, got 1',
    ),
    'misspelt': (
        dict(checkpoints=A, interval=1, by_epochs=True),
        "no argument 'by_epochs'. Close: 'by_epoch'",
    ),
}


@pytest.mark.parametrize(('options', 'message'), BAD.values(), ids=BAD)
def test_bad_routes(options: dict[str, Any], message: str) -> None:
    cfg = dict(type='Route', model=faster_rcnn(), **options)
    with pytest.raises(ConfigError, match=message):
        build_teachers(cfg, None)


def test_a_clock_that_cannot_tell_is_refused(paths: list[str]) -> None:
    model = distiller(dict(hint=hint()), teacher=route(paths))
    with pytest.raises(
        ConfigError,
        match=r'^model\.teacher: is a Route, and the iteration is not known',
    ):
        losses_of(model)
    model = distiller(dict(hint=hint()), teacher=route(paths, by_epoch=True))
    model.set_clock(clock(0))
    with pytest.raises(
        ConfigError, match=r'^model\.teacher: the route counts epochs .* loop counts it'
    ):
        losses_of(model)


# The greedy choice.


@pytest.mark.parametrize(
    ('losses', 'current', 'threshold', 'expected'),
    [
        ([0.2, 0.25, 0.28, 0.5], 0, 1.5, 2),  # 0.5 is 2.5 times as hard
        ([0.2, 0.25, 0.28, 0.5], 2, 1.5, 3),  # the last, though it is too hard
        ([0.2, 0.5, 0.21, 0.2], 0, 1.5, 1),  # the first that is too hard ends it
        ([0.2, 0.2, 0.2], 0, 1.1, 2),
        ([0.2, 0.3], 1, 2.0, 1),
    ],
)
def test_greedy_choice(
    losses: list[float], current: int, threshold: float, expected: int
) -> None:
    assert greedy_anchor(losses, current, threshold) == expected


@pytest.mark.parametrize(
    ('losses', 'current', 'threshold', 'message'),
    [
        ([0.1], 1, 2.0, 'current must be one of 0 to 0, got 1'),
        ([0.1], 0, 1.0, 'threshold must be a finite number > 1, got 1'),
        ([0.0, 1.0], 0, 2.0, 'a loss must be a finite number > 0, got 0'),
    ],
)
def test_bad_greedy_choice(
    losses: list[float], current: int, threshold: float, message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        greedy_anchor(losses, current, threshold)


def test_kinds_are_teachers() -> None:
    assert issubclass(Route, Teacher)
