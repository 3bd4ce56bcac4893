"""A tool ends with a message after a mistake, and with a traceback after a bug."""

import ast
import io
import sys
import warnings
from collections.abc import Callable
from pathlib import Path

import pytest
from mmengine.logging import MMLogger, print_log
from mmengine.registry import Registry

from kd_plugins.errors import (
    CheckpointError,
    ConfigError,
    DistillationError,
    HostError,
    ShapeError,
    raise_together,
)
from kd_plugins.notices import WithoutNotices
from kd_plugins.run_tool import run_tool

ROOT = Path(__file__).parents[1]
TOOLS = [path for path in ROOT.glob('tools/*.py') if path.stem != '_threads']


def raising(error: Exception) -> Callable[[], None]:
    def main() -> None:
        raise error

    return main


@pytest.mark.parametrize(
    ('error', 'status'),
    [
        (ConfigError('must be > 0, got 0.', 'loss'), 2),
        (CheckpointError("there is no file 'x'.", 'checkpoint'), 2),
        (ShapeError('differ.'), 2),
        (HostError('mmdet is missing.'), 2),
        (DistillationError('NaN in the teacher.'), 1),
    ],
)
def test_a_mistake_is_its_message_alone(
    error: Exception, status: int, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        run_tool(raising(error))
    assert ended.value.code == status
    assert capsys.readouterr() == ('', f'{error}\n')


def test_several_mistakes_are_a_line_each(capsys: pytest.CaptureFixture[str]) -> None:
    def main() -> None:
        raise_together([ConfigError('one.', 'a'), ConfigError('two.', 'b')])

    with pytest.raises(SystemExit):
        run_tool(main)
    assert capsys.readouterr().err == 'a: one.\nb: two.\n'


def test_a_type_that_no_registry_has_is_a_mistake(
    capsys: pytest.CaptureFixture[str],
) -> None:
    registry = Registry('thing', scope='kd_plugins', locations=['kd_plugins.errors'])
    with pytest.raises(SystemExit, match='2'):
        run_tool(lambda: registry.build(dict(type='Typo')))
    said = capsys.readouterr().err
    assert said.startswith('Typo is not in the kd_plugins::thing registry. Please')


@pytest.mark.parametrize(
    'error', [KeyError('loss'), ValueError('x'), FileNotFoundError('x'), TypeError('x')]
)
def test_a_bug_is_raised_as_it_is(error: Exception) -> None:
    with pytest.raises(type(error)) as raised:
        run_tool(raising(error))
    assert raised.value is error


@pytest.mark.parametrize(('result', 'status'), [(None, 0), (3, 3), ({'mAP': 0.5}, 0)])
def test_the_status_is_the_tools_own(result: object, status: int) -> None:
    with pytest.raises(SystemExit) as ended:
        run_tool(lambda: result)
    assert ended.value.code == status


@pytest.mark.parametrize('path', TOOLS, ids=lambda path: path.name)
def test_every_tool_ends_by_it(path: Path) -> None:
    last = ast.parse(path.read_text()).body[-1]
    assert ast.unparse(last) == "if __name__ == '__main__':\n    run_tool(main)"


def test_notices_of_the_hosts_are_held_back(capsys: pytest.CaptureFixture[str]) -> None:
    def main() -> None:
        logger = MMLogger.get_instance('test_notices')  # a run's is made in the tool
        print_log('Could not import OneDL. Skipping OneDL datasets.')
        print('kept')
        for text in (
            '"FileClient" will be deprecated in future. Please use io functions in '
            'https://onedl-mmengine.readthedocs.io/en/latest/api/fileio.html#file-io',
            '"HardDiskBackend" is the alias of "LocalBackend" and the former will be '
            'deprecated in future.',
            'The prefix is not set in metric class IoUMetric.',
            'The prefix is not set in metric class MyMetric.',
        ):
            logger.warning(text)
        for text in (
            'faster_coco_eval is not installed, metrics will not be computed. Please '
            'install it by: mim install onedl-mmdetection[optional]',
            'something else',
        ):  # as Python writes them; pytest would catch the warnings themselves
            warned = warnings.formatwarning(text, UserWarning, 'x.py', 21, 'warn(')
            sys.stderr.write(warned)

    with pytest.raises(SystemExit, match='0'):
        run_tool(main)
    out, err = capsys.readouterr()
    first, second = out.splitlines()
    assert first == 'kept'
    assert second.endswith('metric class MyMetric.')
    assert 'something else' in err and 'faster_coco_eval' not in err


def test_what_was_held_back_is_shown_when_a_tool_fails(
    capsys: pytest.CaptureFixture[str],
) -> None:
    def main() -> None:
        print('Could not import OneDL')
        raise TypeError

    with pytest.raises(TypeError):
        run_tool(main)
    assert capsys.readouterr() == ('', 'Held back before: Could not import OneDL\n')


def test_only_whole_lines_are_held_back() -> None:
    inner = io.StringIO()
    stream = WithoutNotices(inner)
    texts = ('ImportError: Could not import OneDL\n', '\n', 'Could not import OneDLX\n')
    for text in texts:
        assert stream.write(text) == len(text)
    assert inner.getvalue() == ''.join(texts)
    assert stream.getvalue() == inner.getvalue()  # all else is the stream's own
    assert sys.stdout is not stream
