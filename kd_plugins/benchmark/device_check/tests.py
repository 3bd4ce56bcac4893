"""The tests that need a GPU, by pytest."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from ...errors import ConfigError
from ...tables import markdown_table
from .settings import Settings

_MARK = 'pytest.mark.gpu'
_NOTES = ('failure', 'error', 'skipped')
_LENGTH = 400  # of a message, in the report


def run(settings: Settings, keep: Callable[[dict[str, Any]], None]) -> dict[str, Any]:
    """Run all tests with the mark ``gpu``.

    Raises: ConfigError without the tests of the checkout.
    """
    files = gpu_tests(settings.root / 'tests')
    if not files:
        raise ConfigError(
            f"there are no tests with {_MARK} in '{settings.root / 'tests'}'. The "
            'check needs a checkout, not the installed package alone.'
        )
    keep({'files': len(files)})
    report = settings.out / 'tests.xml'
    report.unlink(missing_ok=True)
    command = [sys.executable, '-m', 'pytest', '-q', '-m', 'gpu', '-p', 'no:xdist']
    command += [f'--junitxml={report.resolve()}', *files]
    subprocess.run(command, cwd=settings.root, check=False)
    if not report.exists():
        raise ConfigError('pytest wrote no report; its output stands above.')
    found = read_report(report)
    problems = [
        f'{each["name"]}: {each["note"]}'
        for each in found
        if each['outcome'] in ('failure', 'error')
    ]
    if not found:
        problems = ['no test ran']
    return {'files': len(files), 'tests': found, 'problems': problems}


def gpu_tests(folder: Path) -> list[str]:
    """Files with such tests, relative to the checkout."""
    return [
        str(path.relative_to(folder.parent))
        for path in sorted(folder.rglob('test_*.py'))
        if _MARK in path.read_text()
    ]


def read_report(path: Path) -> list[dict[str, Any]]:
    """Name, outcome, seconds and message of every test of pytest's XML."""
    found = []
    for case in ElementTree.parse(path).getroot().iter('testcase'):
        notes = [note for note in case if note.tag in _NOTES]
        found.append(
            {
                'name': f'{case.get("classname")}.{case.get("name")}',
                'outcome': notes[0].tag if notes else 'passed',
                'seconds': float(case.get('time', 0)),
                'note': (notes[0].get('message') or '')[:_LENGTH] if notes else '',
            }
        )
    return found


def markdown(content: dict[str, Any]) -> list[str]:
    """A line a test."""
    rows = [
        (each['name'], each['outcome'], f'{each["seconds"]:.1f}', each['note'])
        for each in content.get('tests', ())
    ]
    return markdown_table(('test', 'outcome', 'seconds', 'message'), rows)
