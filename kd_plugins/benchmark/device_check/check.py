"""Runs the sections, each in a process that ends in time, and reports."""

import os
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from typing import Any

import torch

from .._common import read_json, write_json, write_text
from ..folders import tail
from ..machine import in_words, machine, versions
from .sections import SECTIONS, Settings, section_file

NAME = 'gpu_check'
_GRACE = 5.0  # seconds between being asked to end, and being ended


def check_device(
    settings: Settings,
    command: Callable[[str], Sequence[str]],
    *,
    minutes: float = 8.0,
    names: Sequence[str] | None = None,
    fresh: bool = False,
    say: Callable[[str], None] = print,
) -> dict[str, Any]:
    """Run the sections that are not done, and write ``gpu_check.{json,md}``.

    Args:
        settings: of the check.
        command: starts one section by name.
        minutes: in all; a section that takes more than its share is ended, and what it
            has found so far is reported.
        names: of the sections; default all.
        fresh: run again what is done.
        say: is told how far it is.

    Returns: what the JSON file holds.
    """
    settings.out.mkdir(parents=True, exist_ok=True)
    file = settings.out / f'{NAME}.json'
    facts = {
        'machine': machine(),
        'device': device_facts(settings.device),
        'versions': versions(),
        'quick': settings.quick,
    }
    content = read_json(file) or {}
    if fresh or any(content.get(key) != value for key, value in facts.items()):
        content = {**facts, 'sections': {}}
    deadline = time.monotonic() + 60 * minutes
    chosen = list(names or SECTIONS)
    waiting = [
        name
        for name in chosen
        if content['sections'].get(name, {}).get('state') != 'done'
    ]
    for number, name in enumerate(waiting):
        left = max(deadline - time.monotonic(), 0.0)
        shares = [SECTIONS[each].share for each in waiting[number:]]
        bound = left * shares[0] / sum(shares)
        say(f'{name}: at most {bound:.0f} s ...')
        started = time.monotonic()
        state = run_bounded(command(name), bound, settings, name)
        found = read_json(section_file(name, settings.out)) or {}
        content['sections'][name] = {
            'state': state,
            'seconds': round(time.monotonic() - started, 1),
            'found': found,
        }
        write_json(file, content)
        write_text(file.with_suffix('.md'), markdown(content, settings))
        problems = found.get('problems', [])
        say(f'{name}: {state}, {len(problems)} problems')
    write_json(file, content)
    write_text(file.with_suffix('.md'), markdown(content, settings))
    return content


def run_bounded(
    command: Sequence[str], seconds: float, settings: Settings, name: str
) -> str:
    """Run a command and all that it starts: 'done', 'failed', or 'out of time'."""
    log = settings.out / f'{name}.log'
    with open(log, 'wb') as output:
        process = subprocess.Popen(
            list(command),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            code = process.wait(timeout=seconds)
        except subprocess.TimeoutExpired:
            return 'out of time'
        finally:
            _end(process)
    return 'done' if code == 0 else 'failed'


def _end(process: 'subprocess.Popen[bytes]') -> None:
    """End a process's whole group, gently first."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, number)
        except ProcessLookupError:
            break
        try:
            process.wait(timeout=_GRACE)
        except subprocess.TimeoutExpired:
            continue
    process.wait()


def device_facts(device: str) -> dict[str, Any]:
    """Name, memory and kind of the device."""
    if device == 'cpu':
        return {'name': 'CPU'}
    properties = torch.cuda.get_device_properties(0)
    return {
        'name': properties.name,
        'memory_gib': round(properties.total_memory / 2**30, 1),
        'capability': f'{properties.major}.{properties.minor}',
        'processors': properties.multi_processor_count,
        'devices': torch.cuda.device_count(),
        'cuda': torch.version.cuda,
        'bfloat16': torch.cuda.is_bf16_supported(),
    }


def problems_of(content: dict[str, Any]) -> list[str]:
    """What went wrong, a line each; a section out of time is one."""
    lines = []
    for name, section in content['sections'].items():
        if section['state'] != 'done':
            lines.append(f'{name}: {section["state"]}')
        lines += [f'{name}: {each}' for each in section['found'].get('problems', ())]
    return lines


def markdown(content: dict[str, Any], settings: Settings) -> str:
    """The report."""
    facts = ', '.join(f'{key} {value}' for key, value in content['device'].items())
    lines = [
        '# Check of a GPU',
        '',
        f'Device: {facts}.',
        '',
        f'{in_words(content["machine"], content["versions"])}.',
        '',
    ]
    problems = problems_of(content)
    lines += [f'- {each}' for each in problems] or ['No problem was found.']
    for name, section in SECTIONS.items():
        entry = content['sections'].get(name)
        lines += ['', f'## {section.title}', '']
        if entry is None:
            lines.append('Not run.')
            continue
        lines += [f'{entry["state"]}, {entry["seconds"]} s.', '']
        lines += section.markdown(entry['found'])
        if entry['state'] == 'failed':
            end = tail(settings.out / f'{name}.log')
            lines += ['', '```', end, '```']
    return '\n'.join(lines) + '\n'
