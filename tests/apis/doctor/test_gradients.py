"""Pairs out of balance are found, by the run's measurements or by some of now."""

import json
from pathlib import Path
from typing import Any

import pytest

from kd_plugins.apis.doctor.checks.gradients import check_gradients
from kd_plugins.apis.doctor.finding import NotCheckedError
from kd_plugins.apis.doctor.trial import Trial
from kd_plugins.evaluation.gradients import (
    PairShare,
    RunVerdict,
    ShareMeasurement,
    run_verdict,
)

from .made import case, results, unchecked


def verdict(**shares: float) -> RunVerdict | None:
    """Of three measurements of the same shares; 0 for a dead pair."""

    def pair(name: str, share: float) -> PairShare:
        key = f'model.pairs.{name}'
        word = 'dead' if share == 0 else 'fair'
        return PairShare(key, 1.0, share, 'backbone', 0.1, 0.5, word)

    pairs = {name: pair(name, share) for name, share in shares.items()}
    return run_verdict(
        [
            ShareMeasurement(0, iteration, 100, 1.0, {}, pairs)
            for iteration in (10, 20, 30)
        ]
    )


def kinds(of: Any) -> dict[str, str]:
    return {item.sentence.split("'")[1]: item.severity for item in results(*of)}


def test_the_balanced_pairs_are_fine() -> None:
    of = case(run_verdict=verdict(hint=0.5, logits=0.2))
    assert {item.severity for item in results(check_gradients, of)} == {'fine'}


def test_an_unbalanced_weight_is_named_with_its_share_and_remedy() -> None:
    of = case(run_verdict=verdict(hint=40.0, logits=0.001, boxes=0.5))
    found = {item.sentence.split("'")[1]: item for item in results(check_gradients, of)}
    assert found['hint'].severity == found['logits'].severity == 'warning'
    assert found['boxes'].severity == 'fine'
    assert "40 of the task's gradient" in found['hint'].sentence
    assert 'model.pairs.hint' in found['hint'].remedy
    assert 'loss_weight' in found['logits'].remedy


def test_where_no_pair_teaches_that_comes_first() -> None:
    first, *others = results(check_gradients, case(run_verdict=verdict(a=0.0, b=0.001)))
    assert first.severity == 'problem'
    assert 'No pair teaches over the run: a dead, b faint' in first.sentence
    assert {item.severity for item in others} == {'problem', 'warning'}


def test_without_measurements_of_the_run_some_are_made_now() -> None:
    trial = Trial(verdict(hint=40.0), 4, None)  # type: ignore[arg-type]
    (finding,) = results(check_gradients, case(run_verdict=None, trial=trial))
    assert 'at this checkpoint (4 batches, measured now)' in finding.sentence
    assert finding.severity == 'warning'


def test_a_run_that_is_not_there_is_named_and_the_trial_goes_on() -> None:
    trial = Trial(verdict(hint=0.5), 4, None)  # type: ignore[arg-type]
    of = case(trial=trial)  # its run folder is None
    (item,) = unchecked(check_gradients, of)
    assert item.reason == 'there is no run folder'
    assert results(check_gradients, of)[0].severity == 'fine'


def test_the_file_of_the_run_is_read(tmp_path: Path) -> None:
    folder = tmp_path / '20300101_000000'
    folder.mkdir()
    pair = dict(key='model.pairs.hint', weight=0.1, share=9.0, part='backbone')
    pair |= dict(cosine=0.0, value=1.0, verdict='dominating', wanted=None)
    line = dict(started=0, iteration=5, max_iterations=9, task_value=1.0)
    line |= dict(task_gradient={}, pairs=dict(hint=pair))
    (folder / 'gradient_shares.jsonl').write_text(json.dumps(line) + '\n')
    of = case()
    of.run = tmp_path
    (finding,) = results(check_gradients, of)
    assert "'hint' is dominating over the run, 9 of the task's" in finding.sentence


def test_what_cannot_be_measured_is_not() -> None:
    with pytest.raises(NotCheckedError, match='no data'):
        list(check_gradients(case(run_verdict=None, trial=NotCheckedError('no data'))))
