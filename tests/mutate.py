"""Deliberate faults: change one spot of the code at random, and see a test go red.

    python tests/mutate.py --faults 200                      # all folders of FOLDERS
    python tests/mutate.py --faults 20 --folders views/roi --seed 3

Each fault is made in a copy of the checkout, and the tests that execute the changed
line are run there until one fails, the likeliest first; which these are is measured
before, by one run with coverage (``--contexts`` keeps its file for the next time). A
fault that no test notices is reported with its file, line and change: either a test is
missing, or the code does the same with it, which a person must judge.

Not a part of the test suite: 200 faults take half an hour on two idle cores.
"""

import argparse
import ast
import os
import random
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from queue import Queue

from coverage import CoverageData

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = 'kd_plugins'
FOLDERS = (
    *('distillers', 'views', 'teachers', 'recorders', 'evaluation/gradients'),
    *('quantizers', 'compression'),
)
# What executes them; without those that train in several processes or for long.
TESTS = (
    'tests/distillers',
    'tests/views',
    'tests/teachers',
    'tests/recorders',
    'tests/evaluation',
    'tests/models',
    'tests/visualization',
    'tests/engine',
    'tests/quantizers',
    'tests/compression',
)
LONGEST = 1800  # seconds for the tests of one fault: an endless loop is a failure
_COMPARED: dict[type[ast.cmpop], str] = {
    ast.Eq: '!=',
    ast.NotEq: '==',
    ast.Lt: '>=',
    ast.LtE: '>',
    ast.Gt: '<=',
    ast.GtE: '<',
    ast.Is: 'is not',
    ast.IsNot: 'is',
    ast.In: 'not in',
    ast.NotIn: 'in',
}
_COMPUTED: dict[type[ast.operator], str] = {
    ast.Add: '-',
    ast.Sub: '+',
    ast.Mult: '/',
    ast.Div: '*',
    ast.FloorDiv: '*',
    ast.BitAnd: '|',
    ast.BitOr: '&',
}


@dataclass(frozen=True)
class Fault:
    """One change: the text between two offsets of a file is replaced."""

    path: Path
    line: int
    start: int
    end: int
    text: str

    def describe(self, source: str) -> str:
        before = ' '.join(source[self.start : self.end].split())
        return f'{self.path}:{self.line}: {before!r} -> {self.text!r}'


class Places:
    """Finds in a syntax tree what can be changed, and into what."""

    def __init__(self, path: Path, source: str) -> None:
        self.path = path
        self.source = source
        self.offsets = [0]
        for line in source.splitlines(keepends=True):
            self.offsets.append(self.offsets[-1] + len(line.encode()))
        self.raw = source.encode()
        self.found: list[Fault] = []

    def text(self, node: ast.expr) -> str:
        return ast.get_source_segment(self.source, node) or ''

    def add(self, node: ast.expr | ast.stmt, text: str) -> None:
        assert node.end_lineno is not None and node.end_col_offset is not None
        start = self.offsets[node.lineno - 1] + node.col_offset
        end = self.offsets[node.end_lineno - 1] + node.end_col_offset
        first, last = len(self.raw[:start].decode()), len(self.raw[:end].decode())
        if ' '.join(self.source[first:last].split()) == text:  # already so
            return
        self.found.append(Fault(self.path, node.lineno, first, last, text))

    def visit(self, node: ast.AST) -> None:
        for name, child in ast.iter_fields(node):
            if name in ('annotation', 'returns', 'decorator_list', 'type_params'):
                continue
            for item in child if isinstance(child, list) else [child]:
                if isinstance(item, ast.AST) and not self.left_out(item):
                    self.change(item)
                    self.visit(item)

    def left_out(self, node: ast.AST) -> bool:
        """What no test is asked to notice: messages, types, assertions, imports."""
        if isinstance(node, ast.If) and 'TYPE_CHECKING' in ast.unparse(node.test):
            return True
        if isinstance(node, ast.keyword) and node.arg == 'strict':  # zip's assertion
            return True
        return isinstance(
            node, (ast.Raise, ast.Assert, ast.Import, ast.ImportFrom, ast.JoinedStr)
        )

    def change(self, node: ast.AST) -> None:
        match node:
            case ast.Compare(left=left, ops=[op], comparators=[right]):
                both = self.text(left), self.text(right)
                self.add(node, f'({both[0]} {_COMPARED[type(op)]} {both[1]})')
            case ast.BoolOp(op=op, values=values):
                word = ' or ' if isinstance(op, ast.And) else ' and '
                self.add(node, f'({word.join(self.text(item) for item in values)})')
            case ast.UnaryOp(op=ast.Not(), operand=operand):
                self.add(node, f'({self.text(operand)})')
            case ast.BinOp(left=left, op=op, right=right) if type(op) in _COMPUTED:
                word = _COMPUTED[type(op)]
                self.add(node, f'({self.text(left)} {word} {self.text(right)})')
            case ast.Constant(value=bool() as value):
                self.add(node, str(not value))
            case ast.Constant(value=int() | float() as value):
                self.add(node, str(value + 1))
            case ast.IfExp(test=test):
                self.add(test, f'(not ({self.text(test)}))')
            case ast.If(test=test) | ast.While(test=test):
                self.add(test, f'(not ({self.text(test)}))')
            case ast.Expr(value=ast.Call()) | ast.Assign() | ast.AugAssign():
                self.add(node, 'pass')
            case ast.Return(value=ast.expr()):
                self.add(node, 'return None')
            case ast.Continue():
                self.add(node, 'break')
            case _:
                self.call(node)

    def call(self, node: ast.AST) -> None:
        if not isinstance(node, ast.Call):
            return
        if len(node.args) >= 2 and not any(
            isinstance(item, ast.Starred) for item in node.args[:2]
        ):
            first, second = node.args[:2]
            swapped = [self.text(second), self.text(first)]
            rest = [self.text(item) for item in node.args[2:]]
            rest += [
                f'{item.arg}={self.text(item.value)}'
                if item.arg
                else f'**{self.text(item.value)}'
                for item in node.keywords
            ]
            if swapped[0] != swapped[1]:
                arguments = ', '.join([*swapped, *rest])
                self.add(node, f'{self.text(node.func)}({arguments})')
        if isinstance(node.func, ast.Attribute) and node.func.attr in (
            'detach',
            'eval',
            'float',
            'clone',
            'crop',
            'contiguous',
        ):
            self.add(node, self.text(node.func.value))


def faults_of(path: Path) -> list[Fault]:
    """All faults that can be made in a file."""
    source = (ROOT / path).read_text()
    places = Places(path, source)
    places.visit(ast.parse(source))
    return places.found


def copy_checkout(folder: Path) -> Path:
    """A checkout of its own, with configs where mmengine looks for them."""
    target = folder / 'checkout'
    listed = subprocess.run(
        ['git', 'ls-files', '-co', '--exclude-standard'],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    )
    for name in listed.stdout.splitlines():
        if (ROOT / name).is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, target / name)
    mim = target / PACKAGE / '.mim'
    mim.mkdir(exist_ok=True)
    for name in ('configs', 'tools', 'model-index.yml'):
        (mim / name).symlink_to(Path('..', '..', name))
    return target


def environment(checkout: Path) -> dict[str, str]:
    return {
        **os.environ,
        'PYTHONPATH': str(checkout),
        'OMP_NUM_THREADS': '1',
        'PYTHONDONTWRITEBYTECODE': '1',
    }


def measure_contexts(file: Path, jobs: int) -> None:
    """Run the tests once, noting which lines each of them executes."""
    command = [sys.executable, '-m', 'pytest', '-q', '-n', str(jobs), '-m', 'not slow']
    command += ['-p', 'no:cacheprovider', f'--cov={PACKAGE}', '--cov-context=test']
    command += [
        '--cov-report=',
        '--cov-fail-under=0',
        *(name for name in TESTS if (ROOT / name).exists()),
    ]
    with tempfile.TemporaryDirectory() as folder:
        checkout = copy_checkout(Path(folder))
        done = subprocess.run(
            command, cwd=checkout, env=environment(checkout), check=False
        )
        if done.returncode:
            print('Tests failed without any fault: mend them, or read on with care.')
        data = CoverageData(str(checkout / '.coverage'))
        data.read()
        moved = CoverageData(str(file))
        moved.erase()
        for measured in data.measured_files():
            relative = str(Path(measured).relative_to(checkout))
            for context in data.measured_contexts():
                data.set_query_context(context)
                lines = data.lines(measured)
                if lines:
                    moved.set_context(context)
                    moved.add_lines({relative: lines})
        moved.write()


def tests_of(fault: Fault, lines: dict[Path, dict[int, list[str]]]) -> list[str]:
    """Tests that execute the line; of one that the import executes, the file's."""
    by_line = lines.get(fault.path, {})
    return by_line.get(fault.line) or sorted(set().union(*by_line.values()))


def tests_by_line(file: Path) -> dict[Path, dict[int, list[str]]]:
    data = CoverageData(str(file))
    data.read()
    found: dict[Path, dict[int, list[str]]] = {}
    for name in data.measured_files():
        found[Path(name)] = {
            line: sorted({context.split('|')[0] for context in contexts if context})
            for line, contexts in data.contexts_by_lineno(name).items()
        }
    return found


def survives(fault: Fault, checkout: Path, tests: list[str]) -> bool:
    """Whether all these tests pass with the fault."""
    if not tests:
        return True
    target = checkout / fault.path
    source = (ROOT / fault.path).read_text()
    target.write_text(source[: fault.start] + fault.text + source[fault.end :])
    command = [sys.executable, '-m', 'pytest', '-q', '-x', '-p', 'no:cacheprovider']
    try:
        done = subprocess.run(
            [*command, '-p', 'no:xdist', '--no-cov', *tests],
            cwd=checkout,
            env=environment(checkout),
            capture_output=True,
            timeout=LONGEST,
            check=False,
        )
    except subprocess.TimeoutExpired:
        print(f'An endless loop? {LONGEST} s of {fault.path}:{fault.line}', flush=True)
        return False
    finally:
        target.write_text(source)
    return done.returncode == 0


def chosen(fault: Fault, tests: list[str], number: int) -> list[str]:
    """Those that most likely notice it: half of the file's own, half of all others."""
    stem = fault.path.stem.strip('_')
    own = [test for test in tests if f'test_{stem}' in test or f'/{stem}/' in test]
    rest = [test for test in tests if test not in own]
    picked: list[str] = []
    for group in (own, rest):
        # Spread over the group: neighbours often state one fact.
        step = max(2 * len(group) // number, 1)
        picked += group[::step]
    return picked


def drawn(folders: list[str], number: int, seed: int, lines: dict) -> Iterator[Fault]:
    """Faults at random, of lines that a test executes, each line at most once."""
    files = [
        path.relative_to(ROOT)
        for folder in folders
        for path in sorted((ROOT / PACKAGE / folder).rglob('*.py'))
    ]
    every = [fault for path in files for fault in faults_of(path)]
    random.Random(seed).shuffle(every)
    seen: set[tuple[Path, int]] = set()
    for fault in every:
        if len(seen) == number:
            return
        if (fault.path, fault.line) not in seen:
            seen.add((fault.path, fault.line))
            yield fault


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('--faults', type=int, default=200)
    parser.add_argument('--folders', nargs='+', default=list(FOLDERS))
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--jobs', type=int, default=os.cpu_count() or 1)
    parser.add_argument(
        '--first', type=int, default=30, help='tests tried before all that execute it'
    )
    parser.add_argument('--contexts', type=Path, default=Path('.coverage-contexts'))
    args = parser.parse_args(argv)
    if not args.contexts.exists():
        measure_contexts(args.contexts.resolve(), args.jobs)
    lines = tests_by_line(args.contexts)
    faults = list(drawn(args.folders, args.faults, args.seed, lines))
    checkouts: Queue[Path] = Queue()
    with tempfile.TemporaryDirectory() as folder:
        for job in range(args.jobs):
            checkouts.put(copy_checkout(Path(folder) / str(job)))

        def attempt(fault: Fault) -> tuple[Fault, bool]:
            tests = tests_of(fault, lines)
            checkout = checkouts.get()
            try:
                rounds = chosen(fault, tests, args.first), tests
                return fault, all(survives(fault, checkout, some) for some in rounds)
            finally:
                checkouts.put(checkout)

        survivors = []
        with ThreadPoolExecutor(args.jobs) as pool:
            for number, (fault, alive) in enumerate(pool.map(attempt, faults), 1):
                if alive:
                    survivors.append(fault)
                    told = (
                        'survived' if tests_of(fault, lines) else 'no test executes it'
                    )
                    text = fault.describe((ROOT / fault.path).read_text())
                    print(f'[{number}/{len(faults)}] {told}: {text}', flush=True)
    caught = len(faults) - len(survivors)
    print(f'{caught} of {len(faults)} faults were caught ({caught / len(faults):.1%}).')
    return 0


if __name__ == '__main__':
    sys.exit(main())
