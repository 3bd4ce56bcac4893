"""A NaN at any view is named with its pair, before the student learns from it."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import nn

from kd_plugins.errors import DistillationError
from kd_plugins.registry import VIEWS
from tests.faults.view_models import FEW, REST, Built, built

pytestmark = [
    pytest.mark.host,
    pytest.mark.filterwarnings(
        'ignore:DeprecationWarning. ',  # as mmdet begins its own
        'ignore:Sparse invariant checks are implicitly disabled',
        'ignore:In MMCV v1.4.4, we modified the default value',
        'ignore:This overload of addmm is deprecated',
    ),
]
KINDS = [*FEW, *(pytest.param(name, marks=pytest.mark.slow) for name in REST)]
NAMED = 'an error names the pair and its tensor'


@contextmanager
def spoiled_pairs(model: Any, side: str) -> Iterator[None]:
    """One NaN in what each pair reads of a side."""
    views = {pair.name: pair.view for pair in model.pairs}

    def with_nan(item: Any) -> Any:
        if item is None or not getattr(item, side).numel():
            return item
        tensor = getattr(item, side).clone(memory_format=torch.contiguous_format)
        tensor.view(-1)[tensor.numel() // 2] = float('nan')
        return replace(item, **{side: tensor})

    for pair in model.pairs:
        match = pair.view.match

        def spoiled(*args: Any, match: Any = match) -> list[Any]:
            return [with_nan(item) for item in match(*args)]

        pair.view = replace(pair.view, match=spoiled)
    try:
        yield
    finally:
        for pair in model.pairs:
            pair.view = views[pair.name]


@contextmanager
def spoiled_weights(module: nn.Module) -> Iterator[None]:
    """NaN in the first weight of a model: all that it computes is NaN."""
    weight = next(iter(module.parameters())).data
    kept = weight.clone()
    weight.view(-1)[0] = float('nan')
    try:
        yield
    finally:
        weight.copy_(kept)


def compared(case: Built) -> list[str]:
    """Keys of pairs that compared something in a step without fault."""
    losses = case.losses()
    assert all(
        value.isfinite() for key, value in losses.items() if key.startswith('loss_kd')
    )
    return [pair.key for pair in case.model.pairs]


def test_every_view_is_among_the_few() -> None:
    views = {view for name in FEW for view in built(name).views}
    assert views == VIEWS.module_dict.keys()


@pytest.mark.parametrize('side', ['teacher', 'student'])
@pytest.mark.parametrize('kind', KINDS)
def test_a_nan_in_a_tensor_is_named(
    kind: str, side: str, fault: Callable[..., None]
) -> None:
    case = built(kind)
    keys = compared(case)
    with (
        spoiled_pairs(case.model, side),
        pytest.raises(DistillationError, match=f"^the {side}'s tensor for ") as caught,
    ):
        case.losses()
    for key in keys:
        assert f'{key} (' in str(caught.value)
    fault(f"NaN in a {side}'s tensor, of each view", NAMED, len(keys))


@pytest.mark.parametrize('kind', KINDS)
def test_a_teacher_whose_weights_are_nan_is_named(
    kind: str, fault: Callable[..., None]
) -> None:
    case = built(kind)
    keys = compared(case)
    with (
        spoiled_weights(case.model.teachers['teacher'].model),
        pytest.raises(DistillationError, match=r"^the teacher's tensor for ") as caught,
    ):
        case.losses()
    for key in keys:
        assert f'{key} (' in str(caught.value)
    fault("NaN in a teacher's weights, of each view", NAMED, len(keys))


@pytest.mark.parametrize('kind', KINDS)
def test_a_student_whose_weights_are_nan_is_named_or_stopped_by_the_host(
    kind: str, fault: Callable[..., None]
) -> None:
    case = built(kind)
    keys = compared(case)
    with spoiled_weights(case.model.student):
        try:
            torch.manual_seed(3)
            case.model.student(**case.data(), mode='loss')
        except Exception as error:  # the host's own, whatever it is
            host: type[Exception] | None = type(error)
        else:
            host = None
        with pytest.raises(host or DistillationError) as caught:
            case.losses()
    if host is None:
        assert str(caught.value).startswith("the student's tensor for ")
    outcome = NAMED if host is None else 'the host stops, as it does without teacher'
    fault("NaN in a student's weights, of each view", outcome, len(keys))
