"""Gradient shares as a table, with advice."""

import math

from ...tables import table_lines
from .shares import BACKBONE, FAINT, HEADS, WHOLE, GradientShares

_ADVICE = {
    'not finite': 'its gradient holds NaN or infinity.',
    'dominating': "its gradient is {share} times the task's, and larger than those of "
    'all other terms together.{suggestion}',
    'strong': "its gradient is {share} times the task's.{suggestion}",
    'faint': f"its gradient is below {FAINT:.0%} of the task's.{{suggestion}}",
}
_UNREACHED = (
    'no graph leads from it to a trained parameter of the student: it reads what is '
    'frozen or detached, or its loss gives no gradient. Change its layer, view or loss.'
)
_ZERO = (
    'its gradient is 0 at every parameter of the student, in every batch. A loss that '
    'is bounded or masked can be so by chance: look at more batches, by --batches.'
)


def shares_table(shares: GradientShares, share: float) -> str:
    """A row for the task and for every pair, a legend, and advice.

    Args:
        shares: of one batch, or medians of several.
        share: the table suggests a weight for it.
    """
    header = (
        *('term', 'loss', 'weight', 'at', 'gradient', 'share', 'cosine'),
        *('whole gradient', 'whole share', f'weight for {share:g}', 'verdict'),
    )
    norms = shares.task_norms
    task_part = BACKBONE if norms[BACKBONE] else HEADS
    task = (
        'task',
        _number(shares.task_value),
        '',
        task_part,
        _number(norms[task_part]),
    )
    rows = [(*task, '', '', _number(norms[WHOLE]), '', '', '')]
    for name, pair in shares.pairs.items():
        suggestion = shares.suggested_weight(name, share)
        rows.append(
            (
                name,
                _number(pair.weight * pair.value),
                f'{pair.weight:g}',
                shares.part_of(name) if pair.alive else '-',
                _number(shares.gradient(name)),
                _number(shares.share(name)),
                _number(shares.cosine(name), '.2f'),
                _number(shares.gradient(name, WHOLE)),
                _number(shares.share(name, WHOLE)),
                '-' if suggestion is None else _number(suggestion, '.3g'),
                shares.verdict(name),
            )
        )
    lines = table_lines(header, rows)
    lines += ['', *_legend(shares, share), '', *advice(shares, share)]
    return '\n'.join(lines)


def _legend(shares: GradientShares, share: float) -> list[str]:
    batches = f'{shares.batches} batches' if shares.batches > 1 else 'one batch'
    return [
        f'Of {batches}{" (medians)" if shares.batches > 1 else ""}. gradient: L2 norm '
        "over the trained parameters of the student's backbone, which all terms",
        "share; of a pair that does not reach it, over the others ('heads': neck and "
        'heads). whole: over all of them.',
        "share: of the task's gradient at the same parameters. cosine: with the "
        "task's there; below 0 a pair pulls against it.",
        f'weight for {share:g}: at which that would be its share, all else as it is.',
    ]


def advice(shares: GradientShares, share: float) -> list[str]:
    """A sentence for every pair with a problem.

    Args:
        shares: of one batch, or medians of several.
        share: the table suggests a weight for it.
    """
    lines = []
    for name, pair in shares.pairs.items():
        verdict = shares.verdict(name)
        if verdict == 'dead':
            words = _ZERO if pair.reaches else _UNREACHED
        elif verdict in _ADVICE:
            weight = shares.suggested_weight(name, share)
            words = _ADVICE[verdict].format(
                share=f'{shares.share(name):.3g}',
                suggestion=''
                if weight is None
                else f' loss_weight={weight:.3g} would give it a share of {share:g}.',
            )
        else:
            continue
        lines.append(f'{verdict}: {pair.key}: {words}')
    return lines


def _number(value: float, form: str = '.4g') -> str:
    return '-' if math.isnan(value) else f'{value:{form}}'
