"""Runs as jobs, by submitit's executor for one machine."""

import importlib
import json
import sys
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

from kd_plugins.benchmark.cluster import Cluster, ClusterExecutor, Task
from kd_plugins.benchmark.main import Outcome, benchmark
from kd_plugins.benchmark.plan import plan_runs
from kd_plugins.benchmark.protocol import read_protocol
from kd_plugins.benchmark.runs import Commands, Executor
from kd_plugins.errors import ConfigError

pytest.importorskip('submitit')
LOCAL = Cluster('local')


def run(
    folder: Path, commands: Commands, work_dir: str = 'work', **options: Any
) -> Outcome:
    protocol = read_protocol(folder / 'protocol.py')
    return benchmark(protocol, folder / work_dir, commands, **options)


def calls(folder: Path, work_dir: str = 'work') -> list[str]:
    path = folder / work_dir / 'calls.txt'
    return path.read_text().splitlines() if path.exists() else []


def results(folder: Path, work_dir: str = 'work') -> dict[str, Any]:
    root = folder / work_dir
    found = {}
    for path in root.rglob('result.json'):
        result = json.loads(path.read_text())
        for key in ('finished', 'jobs', 'peak_memory', 'command'):
            result.pop(key, None)
        found[str(path.relative_to(root))] = result
    return found


@pytest.fixture
def warm_jobs(warm_program: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Jobs start soon; not so what controls each, whose process is the job's number."""
    cold = Cluster.open

    def opened(self: Cluster, folder: Path) -> Any:
        with mock.patch.object(sys, 'executable', warm_program):
            return cold(self, folder)

    monkeypatch.setattr(Cluster, 'open', opened)


@pytest.mark.slow
@pytest.mark.usefixtures('warm_jobs')
def test_jobs_give_what_processes_give_and_are_not_run_again(
    folder: Path, commands: Commands
) -> None:
    options: dict[str, Any] = dict(seeds=[0], recipes=['hint'])
    assert run(folder, commands, 'here', **options).failures == []
    outcome = run(folder, commands, **options, cluster=LOCAL, jobs=3)
    assert outcome.failures == []
    assert results(folder) == results(folder, 'here')
    assert len(results(folder)) == 3  # with the teacher
    assert list((folder / 'work' / 'jobs').glob('*_log.out'))
    before = calls(folder)
    run(folder, commands, **options, cluster=LOCAL)
    run(folder, commands, **options)
    assert calls(folder) == before


@pytest.mark.slow
@pytest.mark.usefixtures('warm_jobs')
def test_a_killed_job_is_resumed_by_the_next(
    folder: Path, commands: Commands, monkeypatch: pytest.MonkeyPatch
) -> None:
    options: dict[str, Any] = dict(seeds=[0], recipes=['baseline'], cluster=LOCAL)
    monkeypatch.setenv('FAKE_TOOL', 'die')
    (failure,) = run(folder, commands, **options).failures
    assert 'baseline, seed 0: job ' in failure and 'ended with code -9' in failure
    monkeypatch.delenv('FAKE_TOOL')
    assert run(folder, commands, **options).failures == []
    assert calls(folder)[-1] == 'baseline/seed0 --resume'


def test_a_job_out_of_time_is_queued_again_as_it_was(
    folder: Path, commands: Commands
) -> None:
    protocol = read_protocol(folder / 'protocol.py')
    planned = plan_runs(protocol, folder / 'work', protocol.recipes, [0])
    task = Task(Executor(commands, protocol.metric), planned[0])
    assert task.checkpoint().function is task


def test_a_job_that_is_cancelled_leaves_no_process(tmp_path: Path) -> None:
    class Job:
        job_id = 'one'
        cancelled = 0

        def cancel(self, check: bool) -> None:
            self.cancelled += 1

    executor = ClusterExecutor(Commands((), ()), 'score', 1, LOCAL, tmp_path)
    job = Job()
    executor._submitted.add(job)
    executor.stop()
    assert job.cancelled == 1


def test_without_submitit_it_says_how_to_install_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, 'submitit', None)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=r"slurm needs submitit.*'kd_plugins\[clus"):
        Cluster('slurm').open(tmp_path)


def test_a_scheduler_that_there_is_not() -> None:
    with pytest.raises(ConfigError, match="must be one of slurm, local, got 'pbs'"):
        Cluster('pbs')


def test_slurm_is_not_on_every_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv('PATH', str(tmp_path))
    with pytest.raises(ConfigError, match=r'--executor slurm: .*srun'):
        Cluster('slurm').open(tmp_path)


def test_an_option_that_submitit_does_not_know(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"--executor-options: .*'queue'"):
        Cluster('local', {'queue': 'gpu'}).open(tmp_path)
    # Of the other scheduler: ignored here, so that one command serves both.
    opened = Cluster('local', {'slurm_partition': 'gpu', 'timeout_min': 7}).open(
        tmp_path
    )
    assert opened._executor.parameters['timeout_min'] == 7


def test_the_command_line_refuses_what_does_not_go_together(folder: Path) -> None:
    tool = importlib.import_module('tools.benchmark')
    protocol = str(folder / 'protocol.py')
    with pytest.raises(ConfigError, match=r'--executor-options are of jobs. Add'):
        tool.main([protocol, '--executor-options', 'timeout_min=3'])
    with pytest.raises(ConfigError, match=r'nothing is trained. Leave out --executor'):
        tool.main([protocol, '--report', '--executor', 'local'])
    arguments = tool.parse([protocol, '--executor', 'local'])
    assert tool.cluster_of(arguments) == LOCAL
