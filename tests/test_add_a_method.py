"""docs/add_a_method.md, followed to the letter in a copy of the project."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGE = ROOT / 'docs' / 'add_a_method.md'
# Written by a command of the page.
MADE = ['configs/README.md', 'model-index.yml']
FOLDERS = ('configs', 'docs', 'kd_plugins', 'requirements', 'tests', 'tools')


@dataclass(frozen=True)
class Block:
    """What stands between two fences.

    Attributes:
        kind: language of the block.
        path: of the file that it writes ('python <path>') or adds to ('diff <path>').
        text: without the fences.
    """

    kind: str
    path: str
    text: str


def blocks() -> Iterator[Block]:
    fenced = re.finditer(
        r'^(`{3,})(\w*) ?([^\n]*)\n(.*?)^\1$', PAGE.read_text(), re.M | re.S
    )
    for found in fenced:
        yield Block(found[2], found[3], found[4])


def copy_of_the_project(folder: Path) -> None:
    """Without what is no part of it: environments, data, results."""
    for file in ROOT.glob('*'):
        if file.is_file():
            shutil.copy(file, folder)
    for name in FOLDERS:
        shutil.copytree(
            ROOT / name,
            folder / name,
            symlinks=True,
            ignore=shutil.ignore_patterns('__pycache__'),
        )


def write(root: Path, block: Block) -> None:
    """Do what a block says: a new file, or lines below those shown above them."""
    file = root / block.path
    if block.kind != 'diff':
        assert not file.exists(), f'{block.path} is there already: take a new example'
        file.parent.mkdir(exist_ok=True)
        file.write_text(block.text)
        return
    lines, place = file.read_text().splitlines(), 0
    for line in block.text.splitlines():
        if line.startswith('+'):
            lines.insert(place, line[1:])
            place += 1
        else:
            place = below(lines, line[1:], place, block.path)
    file.write_text('\n'.join(lines) + '\n')


def below(lines: list[str], shown: str, start: int, path: str) -> int:
    """Number of the line after the one shown, whose end '...' may stand for."""
    for number in range(start, len(lines)):
        cut = shown.endswith('...') and lines[number].startswith(shown[:-3])
        if cut or lines[number] == shown:
            return number + 1
    raise AssertionError(f'{path} has no line {shown!r} where {PAGE.name} shows one')


def commands(program: str) -> list[list[str]]:
    """Those of the page that run a module or code, without what runs them."""
    shells = [block.text for block in blocks() if block.kind == 'bash']
    lines = [line for text in shells for line in text.splitlines()]
    start = f'python {program} '
    return [
        shlex.split(line.removeprefix(start))
        for line in lines
        if line.startswith(start)
    ]


def run(root: Path, *arguments: str) -> str:
    """Output of Python in the copy, whose package it imports."""
    # Neither what measures coverage nor what runs these tests looks at the copy.
    kept = {
        key: value
        for key, value in os.environ.items()
        if not key.startswith(('COV', 'PYTEST'))
    }
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=root,
        env=kept | {'PYTHONPATH': str(root)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-8000:]
    return done.stdout


@pytest.mark.slow
def test_the_page_adds_a_method_and_its_tests_pass(tmp_path: Path) -> None:
    copy_of_the_project(tmp_path)
    for block in blocks():
        if block.path:
            write(tmp_path, block)
    (code,) = commands('-c')
    assert run(tmp_path, '-c', *code).splitlines()[-1] == 'CosineLoss()'
    run(tmp_path, '-W', 'ignore', '-m', 'tests.configs.index')
    # All tests that it names in one process, for time; of its own loss by `-k`.
    asked = commands('-m pytest')
    paths = {word for command in asked for word in command if '/' in word}
    assert len(asked) == 6 and len(paths) == 7
    output = run(
        tmp_path,
        *('-m', 'pytest', '-q', '-rA', '-p', 'no:cacheprovider'),
        *('-k', 'cosine or registered or test_docs or test_index', *sorted(paths)),
    )
    passed = re.findall(r'^PASSED (\S+)', output, re.M)
    for expected in (
        'kd_plugins/losses/cosine.py::',
        'test_contract.py::test_every_registered_loss_has_a_row',
        'test_contract.py::test_gradcheck[cosine]',
        'test_cosine.py::test_two_rows_by_hand',
        'test_tree.py::test_name_of_a_distillation_is_true[cosine/',
        'test_two_iterations.py::test_trains_two_iterations_and_validates[cosine/',
        'test_index.py::test_what_is_made_of_names_and_headers_is_up_to_date[configs/co',
        'test_docs.py::test_links_lead_somewhere[configs/cosine/README.md]',
    ):
        assert any(expected in name for name in passed), f'{expected}\n{output[-8000:]}'


def test_the_page_touches_one_place_of_each_kind() -> None:
    written = [block for block in blocks() if block.path]
    changed = {block.path for block in written if block.kind == 'diff'}
    assert changed == {
        'README.md',
        'docs/methods.md',
        'kd_plugins/losses/__init__.py',
    }
    new = [block.path for block in written if block.kind != 'diff']
    assert [str(Path(path).parent) for path in new] == [
        'kd_plugins/losses',
        'tests/losses',
        'configs/cosine',
        'configs/cosine',
    ]
    # What the page says that git will say.
    told = next(block.text for block in blocks() if block.text.startswith(' M '))
    told_changed = set(re.findall(r'^ M (\S+)$', told, re.M))
    told_new = re.findall(r'^\?\? (\S+)$', told, re.M)
    assert told_changed == {*changed, *MADE}
    assert '\npython -m tests.configs.index\n' in PAGE.read_text()
    assert all(path.startswith(tuple(told_new)) for path in new)
    assert len(told_new) == 3
