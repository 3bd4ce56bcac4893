"""tools/pseudo_label.py, as a user calls it."""

from importlib import import_module
from pathlib import Path
from unittest import mock

import pytest

from kd_plugins.errors import ConfigError
from tests.engine.pseudo_labels.test_make import DIGITS

tool = import_module('tools.pseudo_label')
TEACHER = ['--teacher', DIGITS['cfg'], DIGITS['checkpoint']]


def test_it_labels_and_says_what_is_there(
    tiny_digits: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = [str(tiny_digits / 'val'), str(tmp_path / 'out'), *TEACHER]
    for there in ('are in', 'were there in'):
        assert tool.main([*arguments, '--batch-size', '2']) == 0
        told = capsys.readouterr().out
        assert f'The pseudo-labels {there} {tmp_path / "out"}: images 4, boxes' in told
        assert ('2/2' in told) == (there == 'are in')  # the bar
    with pytest.raises(ConfigError, match='fusion must be'):
        tool.main([*arguments, '--fusion', 'mean'])


def test_an_interruption_is_told_in_a_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with mock.patch.object(tool, 'pseudo_label', side_effect=KeyboardInterrupt):
        assert tool.main(['images', str(tmp_path), *TEACHER]) == 130
    assert 'Interrupted: the same command goes on from here.' in capsys.readouterr().err
