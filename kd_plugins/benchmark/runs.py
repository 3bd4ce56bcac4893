"""Run unfinished runs in parallel; a run can be stopped and continued at any time."""

import math
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from mmengine.logging import print_log

from ..errors import DistillationError
from ._common import read_json, write_json, write_text
from .fingerprint import FILE as FINGERPRINT
from .folders import STARTED, clear, locked, tail
from .logs import read_test, read_training, read_validation
from .machine import machine, versions
from .plan import RESULT, Run
from .shared_stages import take_over_stages

_OUTPUT = 'output.log'
_THREADS = ('OMP_NUM_THREADS', 'MKL_NUM_THREADS', 'OPENBLAS_NUM_THREADS')


@dataclass(frozen=True)
class Commands:
    """The tools for training and test, as argument lists.

    Attributes:
        train: followed by config, ``--work-dir``, ``--resume`` and ``--cfg-options``.
        test: followed by config, checkpoint, ``--work-dir``, ``--fidelity`` and
            ``--cfg-options``.
    """

    train: tuple[str, ...]
    test: tuple[str, ...]


class Executor:
    """Runs processes of one thread each, and writes their results.

    A finished run has a ``result.json`` of its key, written atomically, and does not
    run again. An interrupted run resumes; a run of another key (the config changed)
    starts again. For missing fidelity, the last checkpoint is validated once more,
    together with the teacher.

    Args:
        commands: the tools.
        metric: key of the score.
        jobs: number of parallel runs.
    """

    def __init__(self, commands: Commands, metric: str, jobs: int = 1) -> None:
        self.commands = commands
        self.metric = metric
        self.jobs = jobs
        self._processes: set[subprocess.Popen[bytes]] = set()

    def run_all(self, runs: Sequence[Run], finished: Callable[[], object]) -> list[str]:
        """Run all runs without a result, in order.

        Args:
            runs: all runs of the benchmark.
            finished: called after each run.

        Returns: one text for each failed run; the other runs continue.
        """
        waiting = [run for run in runs if not run.complete]
        print_log(
            f'{len(runs) - len(waiting)} of {len(runs)} runs are finished already.',
            'current',
        )
        failures = []
        with ThreadPoolExecutor(self.jobs) as pool:
            futures = {pool.submit(self.start, run): run for run in waiting}
            try:
                for number, future in enumerate(as_completed(futures), start=1):
                    run = futures[future]
                    left = f'{number} of {len(waiting)}'
                    try:
                        result = future.result()
                        print_log(
                            f'{left}: {run.title}: {self.metric} {result["score"]:.4f}',
                            'current',
                        )
                    except Exception as error:  # the other runs continue
                        failures.append(f'{run.title}: {error}')
                        print_log(f'{left}: {failures[-1]}', 'current')
                    finished()
            except BaseException:  # interrupted: leave no process behind
                pool.shutdown(wait=False, cancel_futures=True)
                self.stop()
                raise
        return failures

    def start(self, run: Run) -> dict[str, Any]:
        """Result of one run; where it runs, others may decide."""
        return self.run(run)

    def stop(self) -> None:
        """End all processes."""
        for process in list(self._processes):
            process.terminate()

    def run(self, run: Run) -> dict[str, Any]:
        """Result of one run, after its missing parts have run.

        Raises: DistillationError with the end of the output, if it failed.
        """
        run.folder.mkdir(parents=True, exist_ok=True)
        with locked(run.folder / '.lock') as lock:
            result = run.result()
            if result is None:
                result = self._train(run, lock)
                write_json(run.folder / RESULT, result)
            if run.lacks_fidelity(result):
                result = self._compare(run, result, lock)
                write_json(run.folder / RESULT, result)
        return result

    def _train(self, run: Run, lock: int) -> dict[str, Any]:
        """Start or resume a training; its result."""
        resume = (read_json(run.folder / STARTED) or {}).get('key') == run.key
        result = self._attempt(run, resume, lock)
        if result is None and resume:
            # Killed between its last checkpoint and the end of its validation.
            result = self._attempt(run, False, lock)
        if result is None:
            raise DistillationError(
                f"ended without a validation. See '{run.folder / _OUTPUT}'."
            )
        return result

    def _compare(
        self, run: Run, result: Mapping[str, Any], lock: int
    ) -> dict[str, Any]:
        """The result, with fidelity in the metrics."""
        trained, config, options = _scored(run)
        folder = trained / 'fidelity'  # no stage's
        last = trained / 'last_checkpoint'
        checkpoint = trained / (Path(last.read_text()).name if last.exists() else '')
        if not checkpoint.is_file():
            raise DistillationError(
                f"'{run.folder}' holds no checkpoint to measure fidelity of. Remove "
                'that folder to train it anew, or set fidelity=False in the recipe.'
            )
        if folder.exists():
            shutil.rmtree(folder)
        folder.mkdir()
        hooks = {
            'fidelity': {'type': 'kd_plugins.FidelityHook', **(run.fidelity or {})}
        }
        inherits = os.path.relpath(config, folder)
        text = f'_base_ = [{inherits!r}]\ndefault_hooks = {hooks!r}\n'
        write_text(folder / 'config.py', f'# The run, with its teacher.\n{text}')
        command = [*self.commands.test, str(folder / 'config.py'), str(checkpoint)]
        command += ['--fidelity', '--work-dir', str(folder), *options]
        self._call(command, folder / _OUTPUT, lock)
        validation = read_validation(folder, self.metric)
        if validation is None:
            raise DistillationError(
                f"the validation logged nothing. See '{folder / _OUTPUT}'."
            )
        score = validation[self.metric]
        if not math.isclose(score, result['score'], rel_tol=1e-2):
            raise DistillationError(
                f"{self.metric} of '{checkpoint}' is {score}, and after its training "
                f'was {result["score"]}: data, versions or machine changed. Remove '
                f"the folder '{run.folder}' to train it anew."
            )
        measured = {
            key: value
            for key, value in validation.items()
            if key.startswith('fidelity/')
        }
        kept = {
            key: value
            for key, value in result['metrics'].items()
            if not key.startswith('fidelity/')
        }
        metrics = {**kept, **measured}
        return {**result, 'metrics': metrics, 'fidelity': run.fidelity}

    def _attempt(self, run: Run, resume: bool, lock: int) -> dict[str, Any] | None:
        if not resume:
            clear(run.folder)
            write_json(run.folder / STARTED, {'key': run.key})
            resume = bool(take_over_stages(run))
        command = self._command(run, resume)
        return self._read(run, self._call(command, run.folder / _OUTPUT, lock))

    def _command(self, run: Run, resume: bool) -> list[str]:
        tool = self.commands.test if run.seed is None else self.commands.train
        command = [*tool, *run.arguments, '--work-dir', str(run.folder)]
        if resume and run.seed is not None:
            command.append('--resume')
        return [*command, *_options(run)]

    def _call(self, command: Sequence[str], log: Path, lock: int) -> float:
        """Peak of resident memory of a command, MiB.

        Raises: DistillationError with the end of the output, if it failed.
        """
        with open(log, 'ab') as output:
            code, peak = self._execute(command, output, lock)
        if code != 0:
            raise DistillationError(
                f'ended with code {code}. The end of {log}:\n{tail(log)}'
            )
        return peak

    def _execute(
        self, command: Sequence[str], output: IO[bytes], lock: int
    ) -> tuple[int, float]:
        """Exit code, and peak of resident memory in MiB."""
        environment = {**os.environ, **dict.fromkeys(_THREADS, '1')}
        output.write(f'$ {" ".join(command)}\n'.encode())
        output.flush()
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=environment,
            # The process holds the lock even after this one is killed: a new benchmark
            # then waits for it.
            pass_fds=(lock,),
        )
        self._processes.add(process)
        try:
            _, status, usage = os.wait4(process.pid, 0)
        except BaseException:  # a job that is cancelled, or whose time is over
            process.terminate()
            raise
        finally:
            self._processes.discard(process)
        process.returncode = os.waitstatus_to_exitcode(status)
        return process.returncode, usage.ru_maxrss / 1024

    def _read(self, run: Run, peak: float) -> dict[str, Any] | None:
        content: dict[str, Any] = {
            'key': run.key,
            'recipe': run.recipe,
            'seed': run.seed,
            'command': self._command(run, resume=False),
        }
        if run.seed is None:
            metrics = read_test(run.folder, self.metric)
            if metrics is None:
                return None
        else:
            log = read_training(run.folder, self.metric, run.stages)
            if log is None:
                return None
            metrics = log.metrics
            content.update(
                iterations=log.iterations,
                seconds=log.seconds,
                peak_memory=peak if log.cuda_memory is None else log.cuda_memory,
                start=read_json(run.folder / run.start / FINGERPRINT),
            )
            if log.stages:
                content['stages'] = log.stages
        return {
            **content,
            'score': metrics[self.metric],
            'metrics': metrics,
            'jobs': self.jobs,
            'finished': time.strftime('%Y-%m-%dT%H:%M:%S%z'),
            'machine': machine(),
            'versions': versions(),
        }


def _scored(run: Run) -> tuple[Path, Path, list[str]]:
    """Folder, config and options of the training whose student is scored."""
    if not run.stages:
        return run.folder, run.folder.parent / 'config.py', _options(run)
    # With what it took from the other stages, and all options.
    folder = run.folder / run.stages[-1]
    configs = sorted(folder.glob('*.py'))
    if not configs:
        raise DistillationError(
            f"'{folder}' holds no config to measure fidelity with. Remove "
            f"'{run.folder}' to train it anew, or set fidelity=False in the recipe."
        )
    return folder, configs[0], []


def _options(run: Run) -> list[str]:
    """Options of the command line."""
    options = [f'{key}={value}' for key, value in run.options.items()]
    return ['--cfg-options', *options] if options else []
