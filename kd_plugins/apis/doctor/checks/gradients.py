"""How strongly each pair pulled at the student, over the run or now."""

from collections.abc import Iterator

from ....evaluation.gradients import PairVerdict, RunVerdict
from ..case import Case
from ..finding import FINE, NOTE, PROBLEM, WARNING, Finding, NotChecked, NotCheckedError

_SEVERITY = {
    'dead': PROBLEM,
    'not finite': PROBLEM,
    'faint': WARNING,
    'dominating': WARNING,
    'off': NOTE,
}
_MEANING = {
    'dead': 'no gradient reaches the student',
    'not finite': 'its gradient holds NaN or infinity',
    'faint': 'it hardly moves the student',
    'dominating': 'the labels hardly count beside it',
    'off': 'its weight is 0',
    'fair': 'a fair share',
}
_TEACHING = ('fair', 'dominating')


def check_gradients(case: Case) -> Iterator[Finding | NotChecked]:
    """The shares that the run measured; without any, those of some batches now."""
    try:
        verdict, when = case.run_verdict, 'over the run'
    except NotCheckedError as error:
        yield NotChecked('the shares of gradients over the run', str(error))
        verdict = None
    if verdict is None:
        verdict = case.trial.verdict
        when = f'at this checkpoint ({case.trial.batches} batches, measured now)'
    yield from _nothing_teaches(verdict, when)
    for name, pair in verdict.pairs.items():
        yield _of_pair(name, pair, when)


def _nothing_teaches(verdict: RunVerdict, when: str) -> Iterator[Finding]:
    kinds: dict[str, float | str] = {
        name: pair.verdict for name, pair in verdict.pairs.items()
    }
    if any(kind in _TEACHING for kind in kinds.values()):
        return
    listed = ', '.join(f'{name} {kind}' for name, kind in kinds.items())
    yield Finding(
        PROBLEM,
        f'No pair teaches {when}: {listed or "there is none"}. The student learns from '
        'its labels alone.',
        'See the pairs below; a weight that keeps its share by itself is '
        "loss_weight=dict(type='GradientShare', share=0.5).",
        kinds,
    )


def _of_pair(name: str, pair: PairVerdict, when: str) -> Finding:
    figures: dict[str, float | str] = {'weight': pair.weight}
    share = ''
    if pair.share is not None:
        figures['share'] = pair.share
        share = f", {pair.share:.3g} of the task's gradient"
    remedy = pair.advice
    if pair.verdict == 'off':
        remedy = f'If that is not meant, set {pair.key}.loss.loss_weight.'
    return Finding(
        _SEVERITY.get(pair.verdict, FINE),
        f"Pair '{name}' is {pair.verdict} {when}{share} at a weight of "
        f'{pair.weight:.3g}: {_MEANING.get(pair.verdict, "")}.',
        remedy,
        figures,
    )
