"""How large the teacher's lead is, beside those at which distillation helped."""

import re
from collections.abc import Iterator

from ...recorded import compared_scores
from ..case import Case
from ..finding import FINE, NOTE, WARNING, Finding, NotChecked
from ..recorded_gaps import RecordedGap, median_closed, recorded_gaps
from ..score import Score, score_of


def check_gap(case: Case) -> Iterator[Finding | NotChecked]:
    """The lead of each teacher, what to expect of it, and whether a run can show it."""
    gaps = recorded_gaps()
    kind = case.kind
    recorded = compared_scores(case.cfg).get('alone')
    spread = ''
    if recorded is not None and recorded.metric == kind.unit:
        student, spread = Score(recorded.value, kind), recorded.spread
        whose = 'the student alone, as its config records'
    else:
        student = score_of(case.validation.student, kind)
        whose = 'the distilled student'
    for facts in case.teachers:
        metrics = case.validation.teachers.get(facts.name)
        if metrics is None:
            yield NotChecked(
                f'the lead of {facts.title.lower()}', 'it has no score on these data'
            )
            continue
        teacher = score_of(metrics, kind)
        lead = teacher.over(student)
        if lead <= 0:
            continue  # the first finding
        yield _beside(facts.title, teacher, student, whose, gaps)
        yield _expected(lead, student, gaps, _number(spread))


def _beside(
    title: str, teacher: Score, student: Score, whose: str, gaps: list[RecordedGap]
) -> Finding:
    lead = teacher.over(student)
    relative = lead / max(abs(teacher.value), abs(student.value))
    smallest = min(gap.relative_lead for gap in gaps)
    figures = {'lead': lead, 'relative': relative, 'smallest recorded': smallest}
    sentence = (
        f'{title} leads by {student.difference(lead)} {student.kind.unit} ({teacher} '
        f'against {student} of {whose}), {100 * relative:.0f} % of the better score; '
        f'where distillation was seen to help, the lead was {_listed(gaps)}'
    )
    if relative < smallest / 2:
        return Finding(
            WARNING,
            f'{sentence}. This one is less than half as large.',
            'Choose a stronger teacher, or a smaller student.',
            figures,
        )
    if relative > 2 * max(gap.relative_lead for gap in gaps):
        return Finding(
            NOTE,
            f'{sentence}. This one is more than twice as large.',
            'A student may be too small to follow so good a teacher: try one in '
            'between.',
            figures,
        )
    return Finding(FINE, f'{sentence}.', figures=figures)


def _expected(
    lead: float, student: Score, gaps: list[RecordedGap], spread: float | None
) -> Finding:
    share = median_closed(gaps)
    expected = share * lead
    kind = student.kind
    figures: dict[str, float | str] = {'expected': expected, 'closed': share}
    sentence = (
        f'Of {sum(len(gap.closed) for gap in gaps)} recorded methods half closed '
        f'{100 * share:.0f} % of such a lead or more: here that would be '
        f'{student.difference(expected)} {kind.unit}'
    )
    noise = _noise(gaps, kind.unit) if spread is None else spread
    if noise is None:
        return Finding(NOTE, f'{sentence}.', figures=figures)
    figures['spread'] = noise
    if expected < 2 * noise:
        return Finding(
            WARNING,
            f'{sentence}, and scores of several seeds differ by about '
            f'±{student.difference(noise)}: one run cannot show it.',
            'Compare the means of three seeds: tools/benchmark.py.',
            figures,
        )
    return Finding(
        NOTE,
        f'{sentence}; scores of several seeds differ by about '
        f'±{student.difference(noise)}.',
        figures=figures,
    )


def _listed(gaps: list[RecordedGap]) -> str:
    return '; '.join(
        f'{gap.lead:.1f} {gap.teacher.metric}, {100 * gap.relative_lead:.0f} % '
        f'({gap.title})'
        for gap in gaps
    )


def _noise(gaps: list[RecordedGap], unit: str) -> float | None:
    spreads = [
        _number(gap.baseline.spread) for gap in gaps if gap.baseline.metric == unit
    ]
    known = [spread for spread in spreads if spread is not None]
    return max(known) if known else None


def _number(spread: str) -> float | None:
    match = re.search(r'\d+\.\d+', spread)
    return float(match[0]) if match else None
