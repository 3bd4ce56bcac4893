"""How many threads a process on this machine should take, and how they wait.

Imported by the tools before torch, whose OpenMP reads these variables once. Nothing is
set where the user has set one of them. README.md has the figures.
"""

import os
import sys
import time
from collections.abc import MutableMapping
from pathlib import Path

VARIABLES = (
    'GOMP_SPINCOUNT',
    'KMP_BLOCKTIME',
    'MKL_NUM_THREADS',
    'OMP_NUM_THREADS',
    'OMP_WAIT_POLICY',
)
# OpenMP's threads wait for each other in a loop before they sleep: by default so long
# that where a core is taken they use up their share of it with waiting. Ten thousand
# rounds are half a millisecond; where all cores are free that costs a tenth.
SPINCOUNT = 10_000
IDLE = 0.1  # cores at work for others on a machine that counts as idle
SECONDS = 0.3
_STAT = Path('/proc/stat')  # of Linux; elsewhere nothing is known


def busy_cores(seconds: float = SECONDS, stat: Path = _STAT) -> float:
    """How many of the cores that this process may use are at work for others.

    Args:
        seconds: to look at them for.
        stat: the kernel's account of the time of each core.

    Returns: 0 where the machine does not tell.
    """
    try:
        before = _ticks(stat)
        time.sleep(seconds)
        after = _ticks(stat)
    except (OSError, ValueError, IndexError):
        return 0.0
    busy = 0.0
    for core in before.keys() & after.keys():
        worked, passed = (
            end - start for end, start in zip(after[core], before[core], strict=True)
        )
        busy += worked / passed if passed else 0.0
    return busy


def _ticks(stat: Path) -> dict[str, tuple[int, int]]:
    """Time at work, and all of it, of each core that this process may use."""
    ticks = {}
    for line in stat.read_text().splitlines():
        core, *fields = line.split() or ['']
        if core in {f'cpu{number}' for number in _allowed()}:
            times = [int(field) for field in fields[:8]]
            ticks[core] = sum(times) - times[3] - times[4], sum(times)
    return ticks


def choose(environment: MutableMapping[str, str], cores: int, busy: float) -> None:
    """Set what the user has not.

    Args:
        environment: changed in place.
        cores: that this process may use.
        busy: how many of them are at work, for others.
    """
    if busy < IDLE or any(name in environment for name in VARIABLES):
        return
    environment['GOMP_SPINCOUNT'] = str(SPINCOUNT)
    free = max(1, cores - round(busy))
    if free < cores:
        environment['OMP_NUM_THREADS'] = str(free)
        taken = (
            f'{cores - free} of {cores} cores {"is" if cores - free == 1 else "are"}'
        )
        print(f'{taken} busy: OMP_NUM_THREADS={free}.', file=sys.stderr)


def _allowed() -> set[int]:
    """Numbers of the cores that this process may use."""
    if hasattr(os, 'sched_getaffinity'):
        return os.sched_getaffinity(0)
    return set(range(os.cpu_count() or 1))


def cores_allowed() -> int:
    """How many they are, as torch counts them."""
    return len(_allowed())


if not any(name in os.environ for name in VARIABLES):
    choose(os.environ, cores_allowed(), busy_cores())
