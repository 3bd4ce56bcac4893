"""Any one fault in the keys of a shipped config is refused by name, or means something.

A misspelt key is never accepted: where building cannot know it, the first step does.
``KD_FAULTS=2000`` tries that many of each config.
"""

from collections import Counter
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from mmengine.config import ConfigDict
from mmengine.registry import init_default_scope

from kd_plugins.errors import LocatedError
from kd_plugins.registry import MODELS
from kd_plugins.schedules import Clock
from tests.configs.tree import DISTILLATIONS, MAIN_JOBS, load, name, says
from tests.distillers.tiny import batch
from tests.distillers.tiny_seg import segment_batch
from tests.faults.config_faults import Fault, examples, faults, in_time, is_clear
from tests.faults.every_key import every_key, every_key_of_peers

pytestmark = pytest.mark.host
EMBEDDED = [
    path
    for path in DISTILLATIONS
    if path in MAIN_JOBS
    or (
        path.stem.split('_')[-1].startswith(('digits', 'mos', 'pla'))
        # A student that a stage before writes cannot be built.
        and not says(path, ".config}'")
    )
]


@cache
def model_of(path: Path) -> tuple[dict[str, Any], str]:
    """The model's configuration, plain, and the scope."""
    cfg = load(path)
    return cfg.model.to_dict(), cfg.default_scope


def outcome(model: dict[str, Any], scope: str, fault: Fault) -> str:
    """What becomes of a config with a fault; fails where that is no clear answer."""
    init_default_scope(scope)
    try:
        with in_time():
            built = MODELS.build(ConfigDict(fault.applied(model)))
            if fault.place[0] == 'task_loss_weights':
                _first_step(built)
    except LocatedError as error:
        refusal = error
    else:
        refusal = None
    if refusal is not None:
        assert is_clear(refusal, fault), f'{fault}: {refusal}'
        return 'refused, the message names the key'
    assert fault.kind not in ('misspelt', 'added'), f'{fault} is accepted'
    return 'accepted: it means something'


def _first_step(model: Any) -> None:
    """Only then it is known which losses the student has."""
    model.set_clock(Clock(0, 0, 9, None, False))
    segments = hasattr(model.student, 'decode_head')
    data = segment_batch(model) if segments else batch(model)
    losses = model.student(**data, mode='loss')
    model._task_loss_weights.apply(losses, model.clock)


def _test(
    model: dict[str, Any], scope: str, number: int, fault: Callable[..., None]
) -> None:
    counts: Counter[str] = Counter()
    init_default_scope(scope)
    MODELS.build(ConfigDict(model))  # without a fault

    @settings(max_examples=number, phases=[Phase.generate], database=None)
    @given(data=st.data())
    def check(data: st.DataObject) -> None:
        found = data.draw(faults(model))
        counts[outcome(model, scope, found)] += 1

    check()
    for each, number in counts.items():
        fault('a config with one fault', each, number)


@pytest.mark.slow
@pytest.mark.parametrize('path', MAIN_JOBS, ids=name)
def test_a_fault_in_a_main_job(path: Path, fault: Callable[..., None]) -> None:
    _test(*model_of(path), examples(40), fault)


@pytest.mark.slow
def test_a_fault_in_a_config_with_every_key(
    tmp_path: Path, fault: Callable[..., None]
) -> None:
    _test(every_key(str(tmp_path / 'cache')), 'mmdet', examples(60), fault)


@pytest.mark.slow
def test_a_fault_in_a_config_of_peers(fault: Callable[..., None]) -> None:
    _test(every_key_of_peers(), 'mmdet', examples(40), fault)


@pytest.mark.slow
@pytest.mark.parametrize('path', [p for p in EMBEDDED if p not in MAIN_JOBS], ids=name)
def test_a_fault_in_any_embedded_config(path: Path, fault: Callable[..., None]) -> None:
    _test(*model_of(path), examples(8), fault)
