"""The whole benchmark: runs and reports; and the measurement of cost."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from mmengine.logging import MMLogger

from ..engine.hooks import FidelityHook
from ..engine.overrides import apply_overrides
from ..errors import ConfigError
from ..extras import extra
from ._common import read_json, write_json, write_text
from .cluster import Cluster, ClusterExecutor
from .cost import Cost
from .cost_table import cost_json, cost_markdown
from .cost_trainings import Part, measure_trainings, rows, time_ratio, trainings_json
from .equal_time import EqualTime, Ratio, file_of, plan_equal_time, write_equal_time
from .machine import cores, in_words, machine, versions
from .plan import Run, key_of, plan_runs, teacher_run, write_configs
from .protocol import Protocol
from .report import Report, StepTimes
from .runs import Commands, Executor
from .stages import scored_config, trainings_of
from .table import to_csv, to_json

_LOGGER = 'kd_plugins_cost'
_COST = 'cost.json'


@dataclass(frozen=True)
class Outcome:
    """Outcome of a benchmark.

    Attributes:
        markdown: the tables.
        failures: one text for each failed run.
    """

    markdown: str
    failures: list[str]


def benchmark(
    protocol: Protocol,
    work_dir: Path,
    commands: Commands,
    *,
    seeds: Sequence[int] | None = None,
    recipes: Sequence[str] | None = None,
    options: Mapping[str, Any] | None = None,
    jobs: int | None = None,
    report_only: bool = False,
    equal_time: bool = False,
    lengths: Sequence[float] = (),
    cluster: Cluster | None = None,
) -> Outcome:
    """Run unfinished runs, and report all finished ones.

    ``benchmark.{md,csv,json}`` in the work directory are rewritten after each run, and
    can be read while others continue; ``benchmark.png``, the plot, is written at the
    end.

    Args:
        protocol: of the benchmark.
        work_dir: of the benchmark.
        commands: the tools that train and test.
        seeds: instead of the protocol's.
        recipes: names of the recipes to run; the baseline is always included.
        options: dotted keys to values, for every run.
        jobs: parallel runs; default: the protocol's, or one for each core (on a GPU 1);
            of a Slurm cluster all.
        report_only: only report, without runs.
        equal_time: run the student alone instead, or what the protocol's ``equal_time``
            names, for as many seconds as each recipe takes: see
            :mod:`~kd_plugins.benchmark.equal_time`.
        lengths: of these runs, as multiples of the baseline's; a recipe takes the next
            longer one.
        cluster: where each run is a job; None: processes of this machine.

    Raises: ConfigError for unknown recipes or options; with ``equal_time`` for recipes
        whose step was not timed.
    """
    with extra('report', 'a benchmark'):
        from .pages import render
        from .plots import save_plot
    recipes_by_name = protocol.select(recipes)
    _check_fidelity(protocol)
    runs = plan_runs(
        protocol, work_dir, recipes_by_name, seeds or protocol.seeds, options
    )
    teacher = teacher_run(protocol, work_dir)
    work_dir.mkdir(parents=True, exist_ok=True)
    rows = _equal_time(
        protocol, work_dir, runs, options, plan_anew=equal_time, lengths=lengths
    )
    if equal_time:
        for trained, found in rows.items():
            _check_timed(protocol, trained, found, recipes)
            write_equal_time(protocol, work_dir, found, options, trained)

    def write_report() -> tuple[Report, str]:
        report = Report(protocol, runs, teacher, equal_time=rows)
        markdown = render('page.md', [report], options)
        write_text(work_dir / 'benchmark.md', markdown)
        write_text(work_dir / 'benchmark.csv', to_csv(report))
        write_json(work_dir / 'benchmark.json', to_json(report))
        return report, markdown

    failures = []
    if not report_only:
        write_configs(work_dir, recipes_by_name)
        everything = [*([teacher] if teacher is not None else []), *runs]
        if equal_time:
            everything = _each_once(rows)
        here = jobs or protocol.workers or _default_jobs()
        executor = Executor(commands, protocol.metric, here)
        if cluster is not None:
            elsewhere = here if cluster.scheduler == 'local' else jobs
            executor = ClusterExecutor(
                commands,
                protocol.metric,
                elsewhere or max(len(everything), 1),
                cluster,
                work_dir / 'jobs',
            )
        failures = executor.run_all(everything, write_report)
    report, markdown = write_report()
    save_plot(report, work_dir / 'benchmark.png')
    return Outcome(markdown, failures)


def _equal_time(
    protocol: Protocol,
    work_dir: Path,
    runs: Sequence[Run],
    options: Mapping[str, Any] | None,
    *,
    plan_anew: bool = False,
    lengths: Sequence[float] = (),
) -> dict[str, dict[str, EqualTime]]:
    """Each recipe that is trained as long as others: planned before, or anew.

    Returns: by its name, and by the recipe that it is trained as long as.
    """
    names = dict.fromkeys(run.recipe for run in runs)
    seeds = list(dict.fromkeys(run.seed for run in runs if run.seed is not None))
    rows = {}
    for trained in protocol.equal_time:
        file = work_dir / file_of(protocol, trained)
        planned = (read_json(file) or {}).get('rows', {})
        recipes = {
            name: protocol.recipes[name]
            for name in names
            if plan_anew or name in planned
        }
        if recipes:
            ratios = _ratios(protocol, work_dir, options, trained)
            rows[trained] = plan_equal_time(
                protocol, work_dir, recipes, seeds, ratios, options, lengths, trained
            )
    return rows


def _ratios(
    protocol: Protocol,
    work_dir: Path,
    options: Mapping[str, Any] | None,
    trained: str,
) -> dict[str, Ratio]:
    """The time of each recipe over that of one, by steps where both were timed."""
    runs = plan_runs(protocol, work_dir, protocol.recipes, protocol.seeds, options)
    trainings = {row.name: row.time_ratio for row in Report(protocol, runs).rows}
    measured: dict[str, Mapping[str, float | None]] = {'trainings': trainings}
    times = _step_times(protocol, work_dir, options)
    if times is not None:
        measured['steps'] = {protocol.baseline: 1.0, **times.ratios}
    ratios: dict[str, Ratio] = {}
    for source, values in measured.items():
        own = values.get(trained)
        if own is not None:
            ratios |= {
                name: Ratio(value / own, source)
                for name, value in values.items()
                if value is not None
            }
    return ratios


def _check_timed(
    protocol: Protocol,
    trained: str,
    rows: Mapping[str, EqualTime],
    names: Sequence[str] | None,
) -> None:
    untimed = [name for name in names or () if name not in (trained, *rows)]
    if untimed or not rows:
        raise ConfigError(
            f'{protocol.path}: --equal-time: it is not known what a step costs of '
            f'{", ".join(untimed) or "any distillation"} over one of {trained}. Run '
            'the benchmark, or --cost, first, of both. (Of a recipe that is no '
            'distillation there is no equal time.)'
        )


def _each_once(rows: Mapping[str, Mapping[str, EqualTime]]) -> list[Run]:
    items = [item for found in rows.values() for item in found.values()]
    runs = [run for item in items for run in item.runs]
    return list({run.folder: run for run in runs}.values())


def _check_fidelity(protocol: Protocol) -> None:
    """Check the arguments of the fidelity hook before hours of training."""
    try:
        FidelityHook(**(protocol.fidelity or {}))
    except TypeError as error:
        raise ConfigError(f'{protocol.path}: fidelity: {error}.') from error


def report_pages(
    protocols: Sequence[Protocol],
    work_dirs: Sequence[Path],
    out: Path,
    *,
    options: Mapping[str, Any] | None = None,
) -> tuple[Path, Path]:
    """Write one HTML and one Markdown page of several benchmarks.

    It starts no runs. The pages show all recipes and seeds of the protocols, including
    those without a run. Time is that of steps if :func:`cost` measured all methods that
    have runs; otherwise that of trainings.

    Args:
        protocols: of the benchmarks, at least one.
        work_dirs: one for each protocol.
        out: path of the pages, without the endings.
        options: of the runs.

    Returns: the two pages.
    Raises: ConfigError for protocols of the same name.
    """
    with extra('report', '--report'):
        from .pages import render
    names = [protocol.name for protocol in protocols]
    if len(set(names)) < len(names):
        raise ConfigError(
            f'--report: the names of protocols on a page must differ, got {names}. '
            'Rename a file.'
        )
    reports = []
    for protocol, folder in zip(protocols, work_dirs, strict=True):
        runs = plan_runs(protocol, folder, protocol.recipes, protocol.seeds, options)
        times = _step_times(protocol, folder, options)
        rows = _equal_time(protocol, folder, runs, options)
        teacher = teacher_run(protocol, folder)
        reports.append(Report(protocol, runs, teacher, times, equal_time=rows))
    out.parent.mkdir(parents=True, exist_ok=True)
    pages = out.with_name(f'{out.name}.html'), out.with_name(f'{out.name}.md')
    for path in pages:
        write_text(path, render(f'page{path.suffix}', reports, options, out))
    return pages


def _default_jobs() -> int:
    return 1 if torch.cuda.is_available() else cores()


def cost(
    protocol: Protocol,
    work_dir: Path,
    *,
    recipes: Sequence[str] | None = None,
    options: Mapping[str, Any] | None = None,
    threads: int = 1,
    steps: int = 30,
    warmup: int = 10,
) -> str:
    """Measure the step cost of the protocol's ``cost`` recipes, or of named ones.

    Of a recipe of several stages each stage is measured, and what all cost together.

    ``cost.{md,json}`` in the work directory hold the cost of each recipe; ``cost.json``
    keeps the costs of earlier calls with the same machine and versions.

    Returns: the tables, as Markdown.
    Raises: ConfigError if there is nothing to measure.
    """
    names = [
        name
        for name in protocol.select(recipes)
        if (name in protocol.cost if recipes is None else name in recipes)
    ]
    if not names:
        raise ConfigError(
            f"{protocol.path}: 'cost' names no recipe. Give some with --recipes."
        )
    torch.set_num_threads(threads)
    if not MMLogger.check_instance_created(_LOGGER):
        # Otherwise the host logs every initial weight.
        MMLogger.get_instance(_LOGGER, log_level='WARNING')
    costs: list[Cost] = []
    keys: dict[str, str] = {}
    parts: dict[str, list[Part]] = {}
    ratios: dict[str, float | None] = {}
    base = protocol.recipes[protocol.baseline]
    baseline = scored_config(base.written)
    lengths = {**base.options, **(options or {})}  # others may be of distillations
    apply_overrides(
        baseline,
        {key: value for key, value in lengths.items() if key.startswith('train_cfg.')},
    )
    facts = (machine(), versions(), threads)
    earlier = read_json(work_dir / _COST)
    work_dir.mkdir(parents=True, exist_ok=True)
    for name in names:
        recipe = protocol.recipes[name]
        overrides = {**recipe.options, **(options or {})}
        keys[name] = key_of(recipe.written, overrides)
        found, parts[name] = measure_trainings(
            name,
            trainings_of(recipe.config, overrides),
            steps=steps,
            warmup=warmup,
            bound=protocol.cost.get(name),
        )
        costs += found
        keys |= dict.fromkeys((each.recipe for each in found), keys[name])
        ratios[name] = time_ratio(parts[name], baseline)
        markdown = cost_markdown(costs, *facts, trainings=rows(parts, ratios))
        write_text(work_dir / 'cost.md', markdown)
        content = cost_json(costs, *facts, keys, earlier)
        content['trainings'] |= trainings_json(parts, ratios, keys)
        write_json(work_dir / _COST, content)
    return markdown


def _step_times(
    protocol: Protocol, work_dir: Path, options: Mapping[str, Any] | None
) -> StepTimes | None:
    """Step times from ``--cost``, of configs that have not changed since."""
    measured = read_json(work_dir / _COST)
    if measured is None:
        return None
    found = {item['recipe']: (item, 'step_ratio') for item in measured['recipes']}
    trainings = measured.get('trainings', {}).items()
    found |= {
        name: (item, 'time_ratio')
        for name, item in trainings
        if item['time_ratio'] is not None
    }
    ratios = {
        name: float(found[name][0][found[name][1]])
        for name, recipe in protocol.recipes.items()
        if name in found
        and found[name][0].get('key')
        == key_of(recipe.written, {**recipe.options, **(options or {})})
    }
    words = in_words(measured['machine'], measured['versions'])
    return StepTimes(ratios, f'{measured["threads"]} threads; {words}')
