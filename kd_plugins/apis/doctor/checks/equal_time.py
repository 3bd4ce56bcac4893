"""What the student alone would have trained in the time of the distillation."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ....benchmark.longer import length_key_of, scaled_options
from ....distillers.student import student_config
from ...recorded import config_of_student_alone
from ..case import Case
from ..finding import NOTE, WARNING, Finding, NotChecked, NotCheckedError

_DEAR = 1.25
_UNITS = {'max_iters': 'iterations', 'max_epochs': 'epochs'}


def check_equal_time(case: Case) -> Iterator[Finding | NotChecked]:
    """The price of a step in steps of the student alone, and of the whole run."""
    trial = case.trial
    if trial.price is None:
        raise NotCheckedError(trial.no_price)
    price = trial.price
    ratio, medians = price.ratio, price.medians
    figures: dict[str, float | str] = {'ratio': ratio}
    sentence = (
        f'A distilled step takes {ratio:.2f} times that of the student alone '
        f'({medians["distilled"]:.3f} against {medians["student"]:.3f} s, measured now '
        'in turn)'
    )
    unit = length_key_of(case.cfg)
    length = int(case.cfg.train_cfg[unit])
    scaled = scaled_options(student_config(case.cfg), max(ratio, 1.0))
    more = scaled[f'train_cfg.{unit}']
    figures |= {'length': length, 'length alone': more}
    sentence += (
        f'; in the time of its {length:,} {_UNITS[unit]}{_minutes(case)} it would '
        f'train {more:,} alone.'
    )
    yield Finding(
        WARNING if ratio > _DEAR else NOTE,
        sentence,
        'Before anything else, train the student alone for as long: '
        f'{_command(case, scaled)}',
        figures,
    )


def _minutes(case: Case) -> str:
    """The time that the run took, by its log."""
    try:
        log = case.log
    except NotCheckedError:
        return ''
    if log.seconds is None or case.cfg.train_cfg.get('max_iters') != log.iterations:
        return ''
    return f' ({log.iterations * log.seconds / 60:.0f} minutes by the log)'


def _command(case: Case, scaled: Mapping[str, Any]) -> str:
    """How to train the student alone for the same time."""
    options = ' '.join(
        f'{key}="{value}"' if isinstance(value, list) else f'{key}={value}'
        for key, value in scaled.items()
    )
    name = case.cfg.filename
    alone = config_of_student_alone(Path(name)) if name else None
    if alone is None:
        return f"the student's own config, with --cfg-options {options}"
    return f'python tools/train.py {_short(alone)} --cfg-options {options}'


def _short(path: Path) -> str:
    """A path from here, where it lies below."""
    here = Path.cwd()
    return str(path.relative_to(here) if path.is_relative_to(here) else path)
