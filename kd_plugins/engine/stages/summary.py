"""The table of all stages that is logged before the first one starts."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from mmengine.config import Config

from ...tables import table_lines
from .actions import ACTION, action_of
from .config import Stage

STARTS, RESUMES, FINISHED = 'starts', 'continues', 'finished'


@dataclass(frozen=True)
class Outlook:
    """What is to be done of a stage.

    Attributes:
        state: ``STARTS``, ``RESUMES`` or ``FINISHED``.
        changes: since it last ran, for which it starts anew.
    """

    state: str
    changes: tuple[str, ...] = ()


def summary(
    work_dir: Path, stages: Sequence[Stage], outlooks: Mapping[str, Outlook]
) -> str:
    """A row a stage: config, length, what it takes and gives, what is to be done.

    Args:
        work_dir: of all.
        stages: in order.
        outlooks: by name.
    """
    head = ('stage', 'config', 'length', 'takes', 'gives', 'now')
    rows = [
        (
            stage.name,
            stage.source or 'this page',
            _length(stage.cfg),
            ', '.join(dict.fromkeys(_inside(each.text) for each in stage.takes)),
            ', '.join(_gives(stage, stages)),
            _now(outlooks[stage.name]),
        )
        for stage in stages
    ]
    lines = table_lines(head, [[cell or '-' for cell in row] for row in rows])
    return '\n'.join([f'Stages, each in its folder of {work_dir}:', *lines])


def _inside(text: str) -> str:
    return text.strip('{}')


def _gives(stage: Stage, stages: Sequence[Stage]) -> list[str]:
    return [
        f'{output} to {other.name}'
        for other in stages
        for output in dict.fromkeys(
            _inside(each.text).partition('.')[2]
            for each in other.takes
            if each.stage == stage.name
        )
    ]


def _length(cfg: Config) -> str:
    if cfg.get(ACTION):
        return f'{action_of(cfg)[0]}s, no training'
    loop = cfg.get('train_cfg') or {}
    for key, unit in (('max_iters', 'iterations'), ('max_epochs', 'epochs')):
        if loop.get(key) is not None:
            return f'{loop[key]} {unit}'
    return ''


def _now(outlook: Outlook) -> str:
    if outlook.changes:
        return f'{outlook.state} anew, changed: {", ".join(outlook.changes)}'
    return outlook.state
