"""The gaps between teacher and student at which distillation was seen to help.

Of the protocols in ``configs/benchmarks`` and the scores in the headers of the configs
that they name.
"""

import statistics
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ...benchmark.protocol import Protocol, read_protocol
from ...benchmark.statistics import gap_closed
from ...config_files import config_path, read_config
from ..recorded import Score, config_of_student_alone, recorded_score

_FOLDER = 'kd_plugins::benchmarks/methods_digits.py'


@dataclass(frozen=True)
class RecordedGap:
    """A gap, and what distillation made of it.

    Attributes:
        title: of the protocol.
        baseline: score of the student without distillation.
        teacher: score of its teacher.
        lead: of the teacher, > 0.
        closed: share of the lead that each method closed; below 0 for a loss.
    """

    title: str
    baseline: Score
    teacher: Score
    lead: float
    closed: tuple[float, ...]

    @property
    def relative_lead(self) -> float:
        """The lead as a share of the better score."""
        return self.lead / max(abs(self.teacher.value), abs(self.baseline.value))


def recorded_gaps(folder: Path | None = None) -> list[RecordedGap]:
    """Every pair of baseline and teacher whose scores are recorded, once.

    Args:
        folder: of the protocols; default: those of the package.
    """
    folder = config_path(_FOLDER).parent if folder is None else folder
    gaps: dict[tuple[Path, Path], RecordedGap] = {}
    for path in sorted(folder.glob('*.py')):
        protocol = read_protocol(path)
        for gap in _gap(protocol):
            assert protocol.teacher is not None
            key = (
                protocol.recipes[protocol.baseline].config,
                protocol.teacher.config,
            )
            if key not in gaps or len(gap.closed) > len(gaps[key].closed):
                gaps[key] = gap
    return list(gaps.values())


def median_closed(gaps: list[RecordedGap]) -> float:
    """Median share of the lead over all methods of all gaps."""
    return statistics.median(share for gap in gaps for share in gap.closed)


def _gap(protocol: Protocol) -> Iterator[RecordedGap]:
    if protocol.teacher is None:
        return
    config = protocol.recipes[protocol.baseline].config
    if _distils(config):  # one distillation beside another
        return
    baseline = recorded_score(config)
    teacher = recorded_score(protocol.teacher.config)
    if baseline is None or teacher is None:
        return
    lead = protocol.gain(teacher.value, baseline.value)
    shares = []
    configs = [recipe.config for recipe in protocol.recipes.values()]
    alone = {config_of_student_alone(config) for config in configs}
    for name, recipe in protocol.recipes.items():
        score = recorded_score(recipe.config)
        if name == protocol.baseline or score is None:
            continue
        if recipe.config.resolve() in alone:  # nothing is distilled in it
            continue
        share = gap_closed(protocol.gain(score.value, baseline.value), lead)
        if share is not None:
            shares.append(share)
    if shares:
        title = protocol.title or protocol.name
        yield RecordedGap(title, baseline, teacher, lead, tuple(shares))


def _distils(config: Path) -> bool:
    pairs = (read_config(config).get('model') or {}).get('pairs') or {}
    return pairs == 'auto' or any(pair is not None for pair in pairs.values())
