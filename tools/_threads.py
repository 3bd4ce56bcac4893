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
    """How many cores are at work; 0 where the machine does not tell.

    Args:
        seconds: to look at it for.
        stat: the kernel's account of the time of all cores together.
    """
    try:
        before = _ticks(stat)
        time.sleep(seconds)
        busy, total = (
            after - first for after, first in zip(_ticks(stat), before, strict=True)
        )
    except (OSError, ValueError):
        return 0.0
    return (os.cpu_count() or 1) * busy / total if total else 0.0


def _ticks(stat: Path) -> tuple[int, int]:
    fields = [int(field) for field in stat.read_text().split('\n')[0].split()[1:9]]
    idle = fields[3] + fields[4]
    return sum(fields) - idle, sum(fields)


def choose(environment: MutableMapping[str, str], cores: int, busy: float) -> None:
    """Set what the user has not.

    Args:
        environment: changed in place.
        cores: that this process may use.
        busy: how many of the machine's are at work, for others.
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


def cores_allowed() -> int:
    """Cores that this process may use, as torch counts them."""
    if hasattr(os, 'sched_getaffinity'):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


if not any(name in os.environ for name in VARIABLES):
    choose(os.environ, cores_allowed(), busy_cores())
