"""Errors learn the configuration key that they are about on their way up."""

import pickle

import pytest

from kd_plugins.errors import (
    CheckpointError,
    ConfigError,
    collected,
    located,
    nearest,
    raise_together,
    shown,
)


@pytest.mark.parametrize(
    ('outer', 'key', 'expected'),
    [
        ('model.pairs.a', '', 'model.pairs.a: wrong.'),
        ('model.pairs.a', 'loss', 'model.pairs.a.loss: wrong.'),
        ('model.pairs.a.loss', 'at neck[0]', 'model.pairs.a.loss at neck[0]: wrong.'),
        ('model.pairs.a', '(student)', 'model.pairs.a (student): wrong.'),
        ('(student)', 'stage', 'stage (student): wrong.'),
        ('values', '[1]', 'values[1]: wrong.'),
    ],
)
def test_a_key_is_put_in_front(outer: str, key: str, expected: str) -> None:
    with pytest.raises(ConfigError) as error, located(outer):
        raise ConfigError('wrong.', key=key)
    assert str(error.value) == expected


def test_a_side_stands_behind_its_key_however_deep() -> None:
    with (
        pytest.raises(CheckpointError) as error,
        located('model.pairs.a'),
        located('view'),
        located('(teacher)'),
    ):
        raise CheckpointError('wrong.', key='stage')
    assert str(error.value) == 'model.pairs.a.view.stage (teacher): wrong.'


def test_several_faults_are_one_error_each_with_its_key() -> None:
    faults: list[ConfigError] = []
    for name in 'ab':
        with collected(faults), located(name):
            raise ConfigError('wrong.')
    with pytest.raises(ConfigError) as error, located('model.pairs'):
        raise_together(faults)
    assert str(error.value) == 'model.pairs.a: wrong.\nmodel.pairs.b: wrong.'
    raise_together([])  # none: nothing happens


def test_other_errors_pass_as_they_are() -> None:
    with pytest.raises(KeyError, match='wrong'), located('model'):
        raise KeyError('wrong')


def test_a_key_survives_another_process() -> None:
    error = ConfigError('wrong.', key='loss')
    error.put_under('model')
    assert str(pickle.loads(pickle.dumps(error))) == 'model.loss: wrong.'


def test_nothing_close_names_what_there_is() -> None:
    assert nearest('x', ['neck', 'backbone']) == "There are: 'neck', 'backbone'."
    assert nearest('x', []) == ''


def test_what_cannot_be_printed_is_named_by_its_kind() -> None:
    class Broken:
        def __repr__(self) -> str:
            raise AttributeError('no strides')

    assert shown(Broken()) == 'a Broken (that cannot be shown: no strides)'
