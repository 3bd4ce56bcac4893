"""Run what is not finished, several runs side by side; stop and go on at any time."""

import fcntl
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from mmengine.logging import print_log

from ..errors import DistillationError
from ._common import read_json, write_json
from .fingerprint import FILE as FINGERPRINT
from .logs import read_test, read_training
from .machine import machine, versions
from .plan import RESULT, Run

_STARTED = 'started.json'
_OUTPUT = 'output.log'
_TAIL = 15  # lines of output shown of a run that failed
_THREADS = ('OMP_NUM_THREADS', 'MKL_NUM_THREADS', 'OPENBLAS_NUM_THREADS')


@dataclass(frozen=True)
class Commands:
    """The tools that do the work, as argument lists.

    Attributes:
        train: followed by config, ``--work-dir``, ``--resume`` and ``--cfg-options``.
        test: followed by config, checkpoint and ``--work-dir``.
    """

    train: tuple[str, ...]
    test: tuple[str, ...]


class Executor:
    """Runs processes of one thread each, and writes what came of them.

    A finished run has a ``result.json`` of its own key, written whole or not at all,
    and is not run again. One that was interrupted is resumed; one of another key (the
    config changed) starts anew.

    Args:
        commands: the tools.
        metric: key of the score.
        jobs: runs side by side.
    """

    def __init__(self, commands: Commands, metric: str, jobs: int = 1) -> None:
        self.commands = commands
        self.metric = metric
        self.jobs = jobs
        self._processes: set[subprocess.Popen[bytes]] = set()

    def run_all(self, runs: Sequence[Run], finished: Callable[[], object]) -> list[str]:
        """Run what has no result yet, in order.

        Args:
            runs: all runs of the benchmark.
            finished: called after each.

        Returns: what went wrong, one text a run; the others run all the same.
        """
        waiting = [run for run in runs if run.result() is None]
        print_log(
            f'{len(runs) - len(waiting)} of {len(runs)} runs are finished already.',
            'current',
        )
        failures = []
        with ThreadPoolExecutor(self.jobs) as pool:
            futures = {pool.submit(self.run, run): run for run in waiting}
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
                    except Exception as error:  # the others run all the same
                        failures.append(f'{run.title}: {error}')
                        print_log(f'{left}: {failures[-1]}', 'current')
                    finished()
            except BaseException:  # interrupted: leave no process behind
                pool.shutdown(wait=False, cancel_futures=True)
                for process in list(self._processes):
                    process.terminate()
                raise
        return failures

    def run(self, run: Run) -> dict[str, Any]:
        """Result of one run, which is started or resumed if there is none yet.

        Raises: DistillationError with the end of its output, if it failed.
        """
        run.folder.mkdir(parents=True, exist_ok=True)
        with _lock(run.folder / '.lock') as lock:
            result = run.result()
            if result is not None:
                return result
            resume = (read_json(run.folder / _STARTED) or {}).get('key') == run.key
            result = self._attempt(run, resume, lock)
            if result is None and resume:
                # Killed between its last checkpoint and the end of its validation.
                result = self._attempt(run, False, lock)
            if result is None:
                raise DistillationError(
                    f"ended without a validation. See '{run.folder / _OUTPUT}'."
                )
            write_json(run.folder / RESULT, result)
            return result

    def _attempt(self, run: Run, resume: bool, lock: int) -> dict[str, Any] | None:
        if not resume:
            _clear(run.folder)
            write_json(run.folder / _STARTED, {'key': run.key})
        with open(run.folder / _OUTPUT, 'ab') as output:
            code, peak = self._execute(self._command(run, resume), output, lock)
        if code != 0:
            raise DistillationError(
                f'ended with code {code}. The end of {run.folder / _OUTPUT}:\n'
                + _tail(run.folder / _OUTPUT)
            )
        return self._read(run, peak)

    def _command(self, run: Run, resume: bool) -> list[str]:
        tool = self.commands.test if run.seed is None else self.commands.train
        command = [*tool, *run.arguments, '--work-dir', str(run.folder)]
        if resume and run.seed is not None:
            command.append('--resume')
        if run.options:
            command += ['--cfg-options']
            command += [f'{key}={value}' for key, value in run.options.items()]
        return command

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
            # Held as long as the process lives, even if we are killed: whoever starts
            # the benchmark anew waits for it instead of writing beside it.
            pass_fds=(lock,),
        )
        self._processes.add(process)
        try:
            _, status, usage = os.wait4(process.pid, 0)
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
            log = read_training(run.folder, self.metric)
            if log is None:
                return None
            metrics = log.metrics
            content.update(
                iterations=log.iterations,
                seconds=log.seconds,
                peak_memory=peak if log.cuda_memory is None else log.cuda_memory,
                start=read_json(run.folder / FINGERPRINT),
            )
        return {
            **content,
            'score': metrics[self.metric],
            'metrics': metrics,
            'jobs': self.jobs,
            'finished': time.strftime('%Y-%m-%dT%H:%M:%S%z'),
            'machine': machine(),
            'versions': versions(),
        }


def _clear(folder: Path) -> None:
    """Remove what an earlier run left in its folder; the lock stays."""
    for path in _entries(folder):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()


def _entries(folder: Path) -> Iterable[Path]:
    entries = [path for path in folder.iterdir() if path.name != '.lock']
    if entries and not any(path.name == _STARTED for path in entries):
        raise DistillationError(
            f"'{folder}' holds files that no benchmark wrote. Choose another "
            '--work-dir.'
        )
    # The mark of a folder of ours goes last: a kill in between leaves it.
    return sorted(entries, key=lambda path: path.name == _STARTED)


@contextmanager
def _lock(path: Path) -> Iterator[int]:
    with open(path, 'w') as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print_log(
                f'{path.parent} is being written by a process that goes on; waiting.',
                'current',
            )
            fcntl.flock(file, fcntl.LOCK_EX)
        yield file.fileno()


def _tail(path: Path) -> str:
    return '\n'.join(path.read_text(errors='replace').splitlines()[-_TAIL:])
