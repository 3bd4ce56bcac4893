"""All checks of one distillation, for ``tools/analyze.py --why``."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from mmengine.config import Config
from mmengine.logging import MMLogger
from mmengine.registry import init_default_scope

from ...checkpoints import read_checkpoint
from ...checks import check_int
from ...distillers.peers import check_no_peers
from ...engine.files import newest_checkpoint
from ...engine.stages import last_stage
from ...errors import CheckpointError, ConfigError, located
from .case import Case, reason_of
from .checks import CHECKS, Check
from .data import Images
from .finding import SEVERITIES, Finding, NotChecked, NotCheckedError

_TEMPLATES = ('iter_{}.pth', 'epoch_{}.pth')
_STUDENTS = tuple(f'student_{template}' for template in _TEMPLATES)
_LOGGER = 'kd_plugins_why'
_PARTS = ('student', 'pairs')
_HEADINGS = {
    'problem': 'Problems: likely the reason',
    'warning': 'Warnings: possibly a reason',
    'note': 'To be known',
    'fine': 'Fine',
}


@dataclass(frozen=True)
class Diagnosis:
    """What the checks found.

    Attributes:
        subject: what was looked at, in a sentence.
        findings: with the name of their check, the most important first.
        not_checked: likewise.
    """

    subject: str
    findings: tuple[tuple[str, Finding], ...]
    not_checked: tuple[tuple[str, NotChecked], ...]

    def __str__(self) -> str:
        lines = [self.subject]
        for severity in SEVERITIES:
            found = [
                (name, item)
                for name, item in self.findings
                if item.severity == severity
            ]
            if found:
                lines += ['', f'{_HEADINGS[severity]}:']
            for name, item in found:
                lines.append(f'- {name}: {item.sentence}')
                if item.remedy:
                    lines.append(f'  -> {item.remedy}')
        if self.not_checked:
            lines += ['', *(f'not checked: {text}' for text in _by_reason(self))]
        return '\n'.join(lines)

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            'subject': self.subject,
            'findings': [
                {
                    'check': name,
                    **asdict(item),
                    'figures': {
                        key: None if _is_no_number(value) else value
                        for key, value in item.figures.items()
                    },
                }
                for name, item in self.findings
            ],
            'not_checked': [
                {'check': name, **asdict(item)} for name, item in self.not_checked
            ],
        }


def examine(
    cfg: Config,
    *,
    checkpoint: str | None = None,
    images: int = 300,
    batches: int = 4,
) -> Diagnosis:
    """Look for the reason why a distillation did not help.

    Nothing is trained, and the folder of the run is only read. What cannot be checked
    is named with the reason.

    Args:
        cfg: of the distillation, from ``prepare_config``; its ``work_dir`` is the run.
        checkpoint: of the run, or of the student alone; default: the newest there.
        images: that are looked at, at most, of the validation and of the training.
        batches: for the shares of gradients, where the run measured none.

    Raises: ConfigError if ``cfg`` is no distillation, or there is no checkpoint;
        CheckpointError for one that cannot be read.
    """
    check_int('--images', images)
    check_int('--batches', batches)
    cfg = last_stage(cfg)
    _check_distils(cfg)
    folder = Path(cfg.work_dir)
    run = folder if folder.is_dir() else None
    if checkpoint is None:
        checkpoint = _newest(folder)
    else:
        with located('--checkpoint'):
            read_checkpoint(checkpoint)
    init_default_scope(cfg.get('default_scope', 'mmengine'))
    if not MMLogger.check_instance_created(_LOGGER):
        # Otherwise the host logs tables of every class.
        MMLogger.get_instance(_LOGGER, log_level='WARNING')
    with TemporaryDirectory(prefix='why_', ignore_cleanup_errors=True) as place:
        case = Case(cfg, checkpoint, run, Path(place), images=images, batches=batches)
        return diagnose(case, CHECKS)


def diagnose(case: Case, checks: Sequence[Check]) -> Diagnosis:
    """Run checks, each whatever becomes of the others.

    Args:
        case: the distillation.
        checks: in the order of their importance.
    """
    findings: list[tuple[str, Finding]] = []
    not_checked: list[tuple[str, NotChecked]] = []
    for check in checks:
        for item in _results(check, case):
            if isinstance(item, Finding):
                findings.append((check.name, item))
            else:
                not_checked.append((check.name, item))
    findings.sort(key=lambda item: SEVERITIES.index(item[1].severity))
    subject = (
        f'{case.cfg.filename or "The distillation"}, with {case.checkpoint}'
        + ('' if case.run is None else f', trained in {case.run}')
        + _looked_at(case)
    )
    return Diagnosis(subject, tuple(findings), tuple(not_checked))


def _looked_at(case: Case) -> str:
    parts = []
    for which in ('validation', 'training'):
        images = case.kept.get(f'{which}_images')
        if isinstance(images, Images):
            parts.append(f'{images.number} of {images.total} {which} images')
    return f'. Looked at: {", ".join(parts)}.' if parts else '.'


def _results(check: Check, case: Case) -> Iterator[Finding | NotChecked]:
    try:
        yield from check.function(case)
    except NotCheckedError as error:
        yield NotChecked(check.subject, str(error))
    except Exception as error:  # of files and models of others: the rest goes on
        yield NotChecked(check.subject, reason_of(error))


def _is_no_number(value: float | str) -> bool:
    return isinstance(value, float) and not math.isfinite(value)


def _by_reason(diagnosis: Diagnosis) -> list[str]:
    """A line for each reason, with all that it stands in the way of."""
    subjects: dict[str, list[str]] = {}
    for _, item in diagnosis.not_checked:
        subjects.setdefault(item.reason, []).append(item.subject)
    return [f'{", ".join(names)}: {reason}' for reason, names in subjects.items()]


def _check_distils(cfg: Config) -> None:
    model = cfg.get('model') or {}
    check_no_peers(model, '--why')
    missing = [key for key in _PARTS if key not in model]
    if missing:
        raise ConfigError(
            '--why: there is no distillation to look into in a model of type '
            f"'{model.get('type')}', expected 'kd_plugins.Distiller', with a student "
            'and pairs. Give the config that the student was distilled with.'
        )


def _newest(folder: Path) -> str:
    """The newest whole checkpoint of a run."""
    for templates in (_TEMPLATES, _STUDENTS):
        paths = [newest_checkpoint(folder, template) for template in templates]
        whole = [path for path in paths if path is not None]
        if whole:
            return str(max(whole, key=lambda path: path.stat().st_mtime_ns))
    raise CheckpointError(
        f"there is no whole checkpoint in '{folder}'"
        + ('' if folder.is_dir() else ', which does not exist')
        + '. Name the run by --work-dir, or a checkpoint by --checkpoint.'
    )
