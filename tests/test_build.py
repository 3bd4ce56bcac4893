"""Objects from configurations: whatever a class refuses, the key is named."""

from typing import Any

import pytest

from kd_plugins.build import build
from kd_plugins.errors import ConfigError
from kd_plugins.registry import ADAPTERS, LOSSES, Registry
from kd_plugins.signatures import flags

shapes = Registry('shape', 'kd_plugins.registry')


@shapes.register_module()
class Square:
    """Minds nothing itself."""

    def __init__(self, side: int, filled: bool = False, *, name: Any = False) -> None:
        self.area = side * 1
        self.filled = filled


@pytest.mark.parametrize('value', ['False', 0, None])
def test_a_flag_that_is_none_is_refused(value: Any) -> None:
    with pytest.raises(ConfigError, match=f'or False, got {value!r}'):
        build(shapes, {'type': 'Square', 'side': 2, 'filled': value})


def test_what_may_be_more_than_a_flag_is_none() -> None:
    assert flags(Square) == {'filled': False}
    assert build(shapes, {'type': 'Square', 'side': 2, 'name': 'a'}).area == 2


def test_whatever_a_class_raises_the_message_shows_its_arguments() -> None:
    message = r'^Square\(side=None\) cannot be built: TypeError: unsupported operand'
    with pytest.raises(ConfigError, match=message):
        build(shapes, {'type': 'Square', 'side': None})


def test_a_missing_argument_is_named() -> None:
    with pytest.raises(ConfigError, match=r"cannot be built: TypeError: .*'side'"):
        build(shapes, {'type': 'Square'})


@pytest.mark.parametrize('kind', [3, None, [], {}])
def test_a_type_that_is_no_name(kind: Any) -> None:
    assert shapes.get(kind) is None
    with pytest.raises(ConfigError, match=r"no '|needs a type"):
        build(shapes, {'type': kind})


def test_flags_of_ours_are_checked() -> None:
    assert flags(ADAPTERS.get('ConvAdapter')).keys() == {'resize', 'norm', 'relu'}
    adapter = {'type': 'ConvAdapter', 'student_channels': 1, 'teacher_channels': 1}
    with pytest.raises(ConfigError, match=r"norm must be True or False, got 'yes'"):
        build(ADAPTERS, {**adapter, 'norm': 'yes'})
    with pytest.raises(ConfigError, match=r"standardize must be True .*, got 'False'"):
        build(LOSSES, {'type': 'KDLoss', 'standardize': 'False'})
    assert build(LOSSES, {'type': 'KDLoss', 'use_sigmoid': None}).use_sigmoid is None
    with pytest.raises(ConfigError, match=r"use_sigmoid must be True .*, got 'False'"):
        build(LOSSES, {'type': 'KDLoss', 'use_sigmoid': 'False'})
