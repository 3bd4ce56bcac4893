"""What the first process does between trainings: it looks, decides and writes down."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmengine.logging import MMLogger

from ...errors import CheckpointError, located
from .config import KEY, Stage
from .outputs import paths_of
from .records import FILE, Record, finished, set_aside, taken, versions
from .summary import FINISHED, RESUMES, STARTS, Outlook, summary

_LOG = 'stages.log'


@dataclass(frozen=True)
class Task:
    """What is to be done of a stage whose turn it is.

    Attributes:
        resume: whether it continues; otherwise it starts.
        values: what its references stand for.
    """

    resume: bool
    values: dict[str, Any]


class Chain:
    """Stages in a folder, each with its record.

    Args:
        work_dir: of all stages.
        stages: in order.
    """

    def __init__(self, work_dir: Path, stages: list[Stage]) -> None:
        self._work_dir, self._stages = work_dir, stages
        self._logger: MMLogger | None = None

    def begin(self, resume: bool) -> None:
        """Log what there is to do; unless it resumes, make all start anew."""
        self._work_dir.mkdir(parents=True, exist_ok=True)
        if not resume:
            for stage in self._stages:
                self._set_aside(stage)
        outlooks: dict[str, Outlook] = {}
        for stage in self._stages:
            sources = {outlooks[each.stage].state for each in stage.takes}
            outlooks[stage.name] = self._outlook(stage, sources <= {FINISHED})
        self._log(summary(self._work_dir, self._stages, outlooks))

    def open(self, stage: Stage) -> Task | None:
        """Decide of a stage whose turn it is; None: it is finished."""
        folder = self._folder(stage.name)
        outlook = self._outlook(stage)
        number = self._stages.index(stage) + 1
        title = f"Stage {number} of {len(self._stages)}, '{stage.name}'"
        if outlook.state == FINISHED:
            self._log(f'{title}: finished before.{_other_versions(folder)}')
            return None
        if outlook.changes:
            changes = ', '.join(outlook.changes)
            self._log(f'{title}: starts anew, changed since it last ran: {changes}.')
        values = self._values(stage)
        if outlook.state == STARTS:
            self._set_aside(stage)
            folder.mkdir(exist_ok=True)
            Record.of(stage, taken(stage, self._work_dir) or {}).write(folder)
        lines = [f'{title}: {outlook.state} in {folder}.']
        lines += [f'  {each.key} = {values[each.text]}' for each in stage.takes]
        self._log('\n'.join(lines))
        return Task(outlook.state == RESUMES, values)

    def finish(self, stage: Stage, gives: dict[str, Any]) -> None:
        """Write down that a stage is finished, and what it leaves, by output."""
        folder = self._folder(stage.name)
        record = Record.read(folder)
        assert record is not None
        record.gives = gives
        record.write(folder)
        self._log(f"Stage '{stage.name}' is finished.")

    def close(self) -> None:
        """Close the log."""
        for handler in self._logger.handlers if self._logger else ():
            handler.close()

    def _folder(self, name: str) -> Path:
        return self._work_dir / name

    def _log(self, text: str) -> None:
        if self._logger is None:
            # Not by name: what the hosts keep by name is each stage's own.
            log = str(self._work_dir / _LOG)
            self._logger = MMLogger('stages', 'stages', log_file=log, file_mode='a')
        self._logger.info(text)

    def _outlook(self, stage: Stage, sources_finished: bool = True) -> Outlook:
        """What is to be done of a stage, and why."""
        folder = self._folder(stage.name)
        record = Record.read(folder)
        if record is None:
            return Outlook(STARTS)
        with located(f'{KEY}.{stage.name}'):
            takes = taken(stage, self._work_dir) if sources_finished else None
        if takes is None:
            return Outlook(STARTS, ('what it takes',))
        changes = tuple(record.changes(stage, takes))
        if changes:
            return Outlook(STARTS, changes)
        if record.gives is not None:
            return Outlook(FINISHED)
        return Outlook(RESUMES if any(folder.glob('*.pth')) else STARTS)

    def _values(self, stage: Stage) -> dict[str, Any]:
        """What the references of a stage stand for; each file is there."""
        values: dict[str, Any] = {}
        for reference in stage.takes:
            folder = self._folder(reference.stage)
            record = finished(folder)
            assert record is not None and record.gives is not None
            with located(f'{KEY}.{stage.name}'):
                value = paths_of(reference, folder, record.gives)
                for path in [value] if isinstance(value, str) else value:
                    if not Path(path).exists():
                        raise CheckpointError(
                            f"'{reference.text}' is {path}, which is gone. Put it "
                            f'back; or remove {folder / FILE}, and --resume runs stage '
                            f"'{reference.stage}' again.",
                            reference.key,
                        )
            values[reference.text] = value
        return values

    def _set_aside(self, stage: Stage) -> None:
        aside = set_aside(self._folder(stage.name))
        if aside is not None:
            self._log(f"An earlier run's files of stage '{stage.name}' are in {aside}.")


def _other_versions(folder: Path) -> str:
    record = Record.read(folder)
    then, now = (record.versions if record else {}), versions()
    others = [
        f'{name} {then.get(name, "none")}, now {now.get(name, "none")}'
        for name in sorted(then.keys() | now.keys())
        if then.get(name) != now.get(name)
    ]
    return f' With other packages: {"; ".join(others)}.' if others else ''
