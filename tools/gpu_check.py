"""Check a GPU in eight minutes: tests, mixed precision of every loss, cost, one row.

    python tools/gpu_check.py                     # writes work_dirs/gpu_check/*
    python tools/gpu_check.py --sections cost     # a part of it
    python tools/gpu_check.py --device cpu --quick  # tries the check itself

Writes gpu_check.json and gpu_check.md, with the hardware's name. Started again, it runs
the sections that are not done. Exit code 1 if something is wrong, 2 without a GPU.
Not for measuring a training: that is tools/benchmark.py.
"""

import kd_plugins  # noqa: F401, I001  (first: supplies what an uncompiled mmcv lacks)

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import torch

from kd_plugins.benchmark.device_check import (
    SECTIONS,
    Settings,
    check_device,
    run_section,
)
from kd_plugins.benchmark.device_check.check import NAME, problems_of
from kd_plugins.run_tool import run_tool

ROOT = Path(__file__).resolve().parents[1]


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--out', type=Path, default=Path('work_dirs', NAME))
    parser.add_argument('--minutes', type=float, default=8.0, help='in all')
    parser.add_argument(
        '--sections', nargs='+', choices=SECTIONS, help='default: all of them'
    )
    parser.add_argument('--fresh', action='store_true', help='run done ones again')
    parser.add_argument('--device', choices=('cuda', 'cpu'), default='cuda')
    parser.add_argument(
        '--quick', action='store_true', help='as little as exercises everything'
    )
    parser.add_argument('--child', choices=SECTIONS, help=argparse.SUPPRESS)
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the sections; 1 if one found a problem or was cut off, 2 without a GPU."""
    arguments = parse(argv)
    settings = Settings(arguments.out, ROOT, arguments.device, arguments.quick)
    if arguments.child is not None:
        run_section(arguments.child, settings)
        return 0
    if arguments.device == 'cuda' and not torch.cuda.is_available():
        print(
            'torch sees no CUDA device here, so there is nothing to check. Run it on a '
            'machine with a GPU; to try the check itself: --device cpu --quick.',
            file=sys.stderr,
        )
        return 2

    def command(section: str) -> list[str]:
        options = ['--out', str(arguments.out), '--device', arguments.device]
        options += ['--quick'] * arguments.quick
        return [sys.executable, __file__, '--child', section, *options]

    content = check_device(
        settings,
        command,
        minutes=arguments.minutes,
        names=arguments.sections,
        fresh=arguments.fresh,
    )
    problems = problems_of(content)
    print(*problems, f'{arguments.out / NAME}.md', sep='\n')
    return 1 if problems else 0


if __name__ == '__main__':
    run_tool(main)
