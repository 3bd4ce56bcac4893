"""The text of a report's pages, with numbers from its runs."""

from collections import Counter
from collections.abc import Sequence
from datetime import datetime, timezone

from .machine import in_words
from .page_tables import gain_kind
from .report import Report
from .table import NOT_RUN, score_text

TITLE = 'Which method, and at what cost'
LEDE = (
    'What each method of distillation gains over the same student, trained from the '
    'same weights on the same batches without it, and what it costs.'
)
HOW_TO_READ = {
    'Gain': 'The difference to the baseline with the same seed, mean over the seeds. '
    "In brackets its 95 % interval (Student's t, paired by seed): of twenty such "
    'intervals about one misses the true mean. One that holds zero has shown no gain. '
    'The order of the rows is no finding: to rank two methods, compare them with each '
    'other, seed by seed.',
    'One seed': 'A single run has no interval, and proves nothing: the ± of the other '
    'rows, the standard deviation over seeds, says how much luck alone does. Such rows '
    'are marked, and their dots are hollow. Their gain is over the baseline of that '
    'seed.',
    'Gap closed': "The gain as a share of the teacher's lead over the baseline.",
    'Time': 'Of steps, where they were measured: a distilling step over a step of the '
    'student alone, both in turn in one process, on one batch, at the moment of the '
    'training at which most terms are at work; the median. Of whole trainings '
    "otherwise, over the baseline's: iterations times the median iteration, median "
    'over the seeds, which moves with whatever else the machine does.',
    'Student alone, equal time': 'The baseline, trained for as many seconds as the '
    'row: its iterations times the step ratio of the row, rounded up to a twentieth, '
    'and its schedule (warm-up, decay, milestones) stretched alike. In small print how '
    'far the row is above it, paired by seed.',
    'Memory': "Peak beyond the baseline's, whose own row has the peak itself; median "
    'over the seeds; of the process on a CPU, of the tensors on a GPU. Validation is '
    "in it, and fidelity only where a config's own hook measured it while training. "
    'Differences as small as those between seeds mean nothing.',
    'Start': '"Same" was checked: hashes of the first weights of the student and of '
    "the first batches equal the baseline's, seed by seed.",
    'Agrees, KL': 'Fidelity: how often student and teacher predict the same, and the '
    'divergence of their predictions in nats; a dash where it was not measured.',
}


def story(report: Report) -> str:
    """Two or three sentences before the table."""
    protocol, baseline = report.protocol, report.rows[0]
    title = protocol.recipes[baseline.name].title
    texts = []
    if baseline.summary is None:
        texts.append(f'The baseline, {title}, is {NOT_RUN}.')
    else:
        mean = score_text(protocol, baseline.summary.mean)
        text = f'The baseline, {title}, scores {mean} {protocol.unit}'
        if report.teacher is not None:
            lead = protocol.gain(report.teacher, baseline.summary.mean)
            text += f', the teacher {score_text(protocol, report.teacher)}'
            text += f': a gap of {score_text(protocol, lead)}'
        texts.append(text + '.')
    if protocol.lower_is_better:
        texts.append('Lower is better: a gain is by how much a score is below.')
    return ' '.join([*texts, *_sentences(report)])


def warnings(report: Report) -> list[str]:
    """Reasons for doubt; empty if there are none."""
    return [*report.warnings, *report.unknown_details]


def facts(report: Report, options: str) -> list[tuple[str, str]]:
    """The facts to reproduce a benchmark, as pairs of a word and its meaning.

    Args:
        report: of the benchmark.
        options: of the command line, for every run.
    """
    protocol = report.protocol
    planned = sum(len(row.planned) for row in report.rows)
    pairs = [
        ('Command', f'python tools/benchmark.py {protocol.path}{options}'),
        (
            'Score',
            f'{protocol.metric}, times {protocol.scale:g}, of the last validation',
        ),
        ('Seeds', f'{", ".join(map(str, report.seeds))}{_fewer(report)}'),
        ('Runs', f'{len(report.runs)} of {planned} finished'),
    ]
    if protocol.teacher is not None:
        pairs.append(('Teacher', str(protocol.teacher.config)))
    timed = f'steps, measured in turn ({report.timed_with})'
    pairs.append(('Time', f'of {timed if report.timed_with else "whole trainings"}'))
    if not report.fidelity:
        pairs.append(('Fidelity', 'not measured'))
    machines = Counter(
        f'{in_words(run["machine"], run["versions"])}; runs side by side: {run["jobs"]}'
        for run in report.runs
    )
    for machine, number in machines.items():
        text = machine if len(machines) == 1 else f'{machine} ({number} runs)'
        pairs.append(('Measured with', text))
    if report.runs:
        ended = sorted(_in_utc(run['finished']) for run in report.runs)
        pairs.append(('Runs ended', f'{ended[0]} to {ended[-1]} UTC'))
        spent = sum(float(run['seconds']) for run in report.runs)
        pairs.append(('Training time', f'{duration(spent)}, of all runs together'))
    return pairs


def _in_utc(moment: str) -> str:
    """A moment in UTC: several machines may have different time zones."""
    read = datetime.strptime(moment, '%Y-%m-%dT%H:%M:%S%z')
    return f'{read.astimezone(timezone.utc):%Y-%m-%d %H:%M}'


def _fewer(report: Report) -> str:
    fewer = [row for row in report.rows if len(row.planned) < len(report.seeds)]
    return f'; fewer for {len(fewer)} of {len(report.rows)} rows' if fewer else ''


def duration(seconds: float) -> str:
    """Hours and minutes.

    Example:
        >>> duration(59), duration(3720.0)
        ('1 min', '1 h 2 min')
    """
    hours, minutes = divmod(max(round(seconds / 60), 1), 60)
    return f'{hours} h {minutes} min' if hours else f'{minutes} min'


def _sentences(report: Report) -> list[str]:
    """A summary of the table, in sentences."""
    methods = [
        row
        for row in report.rows
        if row.name != report.protocol.baseline
        and not report.protocol.recipes[row.name].own_start
    ]
    run = [row for row in methods if row.scores]
    single = [row for row in run if len(row.scores) == 1]
    text = f'{len(run)} of {_count(len(methods), "method")} run'
    if single:
        text += f', {len(single)} of them with one seed only'
    sentences = [text + '.']
    sure = {
        kind: [
            report.protocol.recipes[row.name].title
            for row in run
            if gain_kind(row) == kind
        ]
        for kind in ('up', 'down')
    }
    measured = [row for row in run if row.gain is not None and row.gain.interval]
    if measured:
        text = f'Of the {len(measured)} with an interval it lies above zero for '
        text += _names(sure['up'])
        if sure['down']:
            text += f', and below zero for {_names(sure["down"])}'
        sentences.append(text + '.')
    return sentences


def _names(names: Sequence[str]) -> str:
    if len(names) < 2:
        return ''.join(names) or 'none'
    return f'{len(names)}: {", ".join(names[:-1])} and {names[-1]}'


def _count(number: int, what: str) -> str:
    return f'{number} {what}{"" if number == 1 else "s"}'
