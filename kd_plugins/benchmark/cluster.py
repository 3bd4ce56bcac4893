"""Runs of a benchmark as jobs of a cluster, by submitit (extra ``cluster``)."""

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import ConfigError, DistillationError
from ..extras import extra
from .plan import Run
from .runs import Commands, Executor

if TYPE_CHECKING:
    import submitit

SCHEDULERS = ('slurm', 'local')
_MINUTES = 24 * 60  # submitit's own default ends a job after five
_TAIL = 15  # lines of a job's traceback in the message of a failed run


@dataclass(frozen=True)
class Cluster:
    """Where jobs run.

    Attributes:
        scheduler: 'slurm'; or 'local': processes of this machine that submitit starts.
        options: of submitit's ``update_parameters``, such as ``timeout_min`` (default
            1440), ``slurm_partition``, ``gpus_per_node``, ``cpus_per_task``.

    Raises: ConfigError for another scheduler.
    """

    scheduler: str
    options: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.scheduler not in SCHEDULERS:
            raise ConfigError(
                f'--executor must be one of {", ".join(SCHEDULERS)}, got '
                f"'{self.scheduler}'."
            )

    def open(self, folder: Path) -> 'submitit.AutoExecutor':
        """What takes jobs.

        Args:
            folder: for scripts, logs and results of jobs; all nodes must see it.

        Raises: ConfigError without submitit or the scheduler, and for its options.
        """
        with extra('cluster', f'--executor {self.scheduler}'):
            import submitit
        try:
            executor = submitit.AutoExecutor(folder, cluster=self.scheduler)
            executor.update_parameters(
                **{'timeout_min': _MINUTES, 'name': 'benchmark', **self.options}
            )
        except RuntimeError as error:  # no srun on this machine
            raise ConfigError(f'--executor {self.scheduler}: {error}') from error
        except (NameError, AssertionError, TypeError) as error:
            raise ConfigError(f'--executor-options: {error}') from error
        return executor


class ClusterExecutor(Executor):
    """As :class:`Executor`, but each run is a job.

    A job that runs out of time, or makes place for another, is queued again and
    resumes. If this process ends, its jobs go on; started again, it waits for them.

    Args:
        commands: the tools, at paths that all nodes see.
        metric: key of the score.
        jobs: largest number of jobs at once.
        cluster: where they run.
        folder: for scripts and logs of the jobs.
    """

    def __init__(
        self,
        commands: Commands,
        metric: str,
        jobs: int,
        cluster: Cluster,
        folder: Path,
    ) -> None:
        super().__init__(commands, metric, jobs)
        self._cluster = cluster.open(folder)
        self._submitting = threading.Lock()
        self._submitted: set[Any] = set()

    def start(self, run: Run) -> dict[str, Any]:
        """Result of one run, after its job has ended.

        Raises: DistillationError with the end of its traceback, if it failed.
        """
        task = Task(Executor(self.commands, self.metric), run)
        with self._submitting:
            job = self._cluster.submit(task)
        self._submitted.add(job)
        try:
            result: dict[str, Any] = job.result()
        except Exception as error:  # of submitit, whatever the job raised
            end = '\n'.join(str(error).splitlines()[-_TAIL:])
            raise DistillationError(
                f'job {job.job_id} failed; its log is {job.paths.stderr}. {end}'
            ) from error
        finally:
            self._submitted.discard(job)
        return result

    def stop(self) -> None:
        """Cancel all jobs that this process started."""
        for job in list(self._submitted):
            job.cancel(check=False)


@dataclass
class Task:
    """What a job does; submitit pickles it.

    Attributes:
        executor: of the node's processes.
        run: of the benchmark.
    """

    executor: Executor
    run: Run

    def __call__(self) -> dict[str, Any]:
        """Train, or continue."""
        return self.executor.run(self.run)

    def checkpoint(self) -> 'submitit.helpers.DelayedSubmission':
        """What is queued again when the time is over: the same, it resumes."""
        import submitit

        return submitit.helpers.DelayedSubmission(self)
