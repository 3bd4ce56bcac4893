"""Compare recipes with their baseline, over seeds; or measure what a step costs.

    python tools/benchmark.py [protocol] [--seeds 0 1 2] [--recipes full hint]
    python tools/benchmark.py --report-only    # the tables of what is finished so far
    python tools/benchmark.py --report [protocol ...] [--out docs/benchmark]  # a page
    python tools/benchmark.py --executor slurm --executor-options slurm_partition=gpu
    python tools/benchmark.py --cost           # step cost of the recipes in `cost`
    python tools/benchmark.py --equal-time     # the student alone, as long as each row

After an interruption run it again: what is finished stays, the rest goes on.
Not for a single training: that is tools/train.py.
"""

if __name__ == '__main__':
    import _threads  # noqa: F401  (before torch, which reads what it sets)

import kd_plugins  # noqa: F401, I001  (first: supplies what an uncompiled mmcv lacks)

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from kd_plugins.apis.command_line import KeyValues
from kd_plugins.benchmark.cluster import SCHEDULERS, Cluster
from kd_plugins.benchmark.main import benchmark, cost, report_pages
from kd_plugins.benchmark.protocol import read_protocol
from kd_plugins.benchmark.runs import Commands
from kd_plugins.errors import ConfigError
from kd_plugins.run_tool import run_tool

TOOLS = Path(__file__).resolve().parent
PROTOCOL = TOOLS.parent / 'configs' / 'benchmarks' / 'chen2017_digits.py'


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('protocol', nargs='*', type=Path, default=[PROTOCOL])
    parser.add_argument(
        '--work-dir',
        nargs='+',
        type=Path,
        help='default: work_dirs/benchmark_<protocol>; one a protocol',
    )
    parser.add_argument('--seeds', type=int, nargs='+', help="default: the protocol's")
    parser.add_argument('--recipes', nargs='+', help='default: all; baseline: always')
    parser.add_argument('--jobs', type=int, help='runs side by side')
    parser.add_argument(
        '--executor',
        choices=SCHEDULERS,
        help='each run as a job, by submitit: of a Slurm cluster, or of this machine',
    )
    parser.add_argument(
        '--executor-options',
        nargs='+',
        action=KeyValues,
        default={},
        metavar='KEY=VALUE',
        help='of the jobs, as submitit names them: timeout_min=600 slurm_partition=gpu '
        'gpus_per_node=1 cpus_per_task=8',
    )
    parser.add_argument(
        '--cfg-options', nargs='+', action=KeyValues, default={}, help='for every run'
    )
    parser.add_argument(
        '--report-only', action='store_true', help='run nothing, show what there is'
    )
    parser.add_argument(
        '--report',
        action='store_true',
        help='run nothing, write one page (HTML, Markdown) on whole protocols',
    )
    parser.add_argument(
        '--out',
        type=Path,
        default=Path('work_dirs', 'benchmark'),
        help='of --report: <out>.html and <out>.md',
    )
    parser.add_argument(
        '--cost', action='store_true', help='measure the cost of a step'
    )
    parser.add_argument(
        '--equal-time',
        type=length,
        nargs='*',
        metavar='LENGTH',
        help='train the baseline for as many seconds as each row took, its schedule '
        'stretched alike; the reports show it beside the row (with --report-only: '
        "plan it, train nothing). With lengths, as multiples of the baseline's, a row "
        'takes the next longer one: many rows share few runs',
    )
    parser.add_argument('--threads', type=int, default=1, help='of --cost')
    parser.add_argument('--steps', type=int, default=30, help='of --cost, that count')
    parser.add_argument('--warmup', type=int, default=10, help='of --cost, before them')
    return parser.parse_args(argv)


def length(text: str) -> float:
    """A multiple of the baseline's length, at least 1."""
    value = float(text)
    if not 1 <= value < float('inf'):
        raise ValueError(text)
    return value


def check(arguments: argparse.Namespace, protocols: int, work_dirs: int) -> None:
    """Refuse what does not go together."""
    if protocols > 1 and not arguments.report:
        raise ConfigError(
            f'several protocols go with --report only, got {protocols}. Run them one '
            'after the other.'
        )
    if protocols != work_dirs:
        raise ConfigError(
            f'--work-dir: expected one for each protocol, {protocols}, got {work_dirs}.'
        )
    if arguments.report:
        others = ('report_only', 'cost', 'equal_time', 'executor', 'executor_options')
        refuse(arguments, 'report', ('recipes', 'seeds', 'jobs', *others))
    elif arguments.cost:
        runs = ('report_only', 'equal_time', 'executor', 'executor_options')
        refuse(arguments, 'cost', ('seeds', 'jobs', *runs))


def cluster_of(arguments: argparse.Namespace) -> Cluster | None:
    """Where the runs are jobs; None for processes of this machine."""
    if arguments.executor is not None:
        return Cluster(arguments.executor, arguments.executor_options)
    if arguments.executor_options:
        raise ConfigError(
            '--executor-options are of jobs. Add --executor slurm or --executor local.'
        )
    return None


def refuse(arguments: argparse.Namespace, what: str, others: Sequence[str]) -> None:
    """Refuse options of which nothing would come."""
    given = [
        f'--{each.replace("_", "-")}'
        for each in others
        if getattr(arguments, each) or getattr(arguments, each) == []
    ]
    reasons = {
        'report': 'the page shows whole protocols, what is not run yet too',
        'cost': 'steps are measured, of one recipe after the other',
    }
    if given:
        raise ConfigError(
            f'--{what}: {reasons[what]}, and nothing is trained. Leave out '
            f'{" and ".join(given)}.'
        )


def main(argv: Sequence[str] | None = None) -> int:
    """Run the benchmark, measure cost, or write pages; 1 if a run failed."""
    arguments = parse(argv)
    protocols = [read_protocol(path) for path in arguments.protocol]
    work_dirs = arguments.work_dir or [
        Path('work_dirs', f'benchmark_{protocol.name}') for protocol in protocols
    ]
    check(arguments, len(protocols), len(work_dirs))
    if arguments.report:
        pages = report_pages(
            protocols, work_dirs, arguments.out, options=arguments.cfg_options
        )
        print(*pages, sep='\n')
        return 0
    (protocol,), (work_dir,) = protocols, work_dirs
    if arguments.cost:
        print(
            cost(
                protocol,
                work_dir,
                recipes=arguments.recipes,
                options=arguments.cfg_options,
                threads=arguments.threads,
                steps=arguments.steps,
                warmup=arguments.warmup,
            )
        )
        return 0
    outcome = benchmark(
        protocol,
        work_dir,
        Commands(
            train=(sys.executable, str(TOOLS / 'train.py')),
            test=(sys.executable, str(TOOLS / 'test.py')),
        ),
        seeds=arguments.seeds,
        recipes=arguments.recipes,
        options=arguments.cfg_options,
        jobs=arguments.jobs,
        report_only=arguments.report_only,
        equal_time=arguments.equal_time is not None,
        lengths=arguments.equal_time or (),
        cluster=cluster_of(arguments),
    )
    print(outcome.markdown)
    for failure in outcome.failures:
        print(f'failed: {failure}', file=sys.stderr)
    return 1 if outcome.failures else 0


if __name__ == '__main__':
    run_tool(main)
