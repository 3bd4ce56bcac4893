"""A pair in two processes: what one of them does not compare makes the other not wait.

The layers here exchange numbers as SyncBN does, which runs on GPUs only.
"""

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import Tensor, nn

from kd_plugins.distillers.pair import Pair
from kd_plugins.distillers.step import Step
from kd_plugins.losses import HintLoss
from kd_plugins.views import BoundView, MatchedTensors, TensorSpec

ROUNDS = (  # which stages run on the second process; all do on the first
    (0,),
    (),
    (0, 1),
)


class _Summed(torch.autograd.Function):
    """Mean over all rows of all processes, taken away; backward asks them again."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor) -> Tensor:
        total = torch.cat([rows.sum(0), torch.tensor([float(len(rows))])])
        dist.all_reduce(total)
        ctx.count = total[-1]
        return rows - total[:-1] / ctx.count

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        total = gradient.sum(0)
        dist.all_reduce(total)
        return gradient - total / ctx.count


class SyncAdapter(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(3, 4)

    def forward(self, rows: Tensor, size: object = None) -> Tensor:
        summed: Tensor = _Summed.apply(self.linear(rows))
        return summed


def made_pair(weight: float) -> Pair:
    specs = tuple(
        TensorSpec(f'roi.features[{stage}]', (-1, 3), (-1, 4)) for stage in range(2)
    )
    view = BoundView(specs, match=lambda *_: [], student_recorders=())
    torch.manual_seed(1)
    adapters = nn.ModuleList(SyncAdapter() for _ in specs)
    return Pair('rcn', 'model.pairs.rcn', view, HintLoss(weight), adapters)


def rows(seed: int, count: int, width: int) -> Tensor:
    return torch.randn(count, width, generator=torch.Generator().manual_seed(seed))


def matched(pair: Pair, round_: int, rank: int) -> list[MatchedTensors | None]:
    stages = (0, 1) if rank == 0 else ROUNDS[round_]
    return [
        MatchedTensors(
            rows(10 * round_ + stage, 4, 3).requires_grad_(),
            rows(10 * round_ + stage + 5, 4, 4),
        )
        if stage in stages
        else None
        for stage in range(2)
    ]


def worker(rank: int, folder: str, weight: float) -> None:
    dist.init_process_group(
        'gloo',
        init_method=f'file://{folder}/meet',
        rank=rank,
        world_size=2,
        timeout=timedelta(seconds=15),
    )
    pair = made_pair(weight)
    step = Step(torch.zeros(1, 3, 8, 8), [], None, frozenset(), None, {}, None)  # type: ignore[arg-type]
    values = []
    for round_ in range(len(ROUNDS)):
        if not pair.is_active():
            break
        (value,) = pair.losses(step, matched(pair, round_, rank)).values()
        value.backward()
        values.append(value.detach())
    assert pair.adapters is not None
    gradients = [item.grad for item in pair.adapters.parameters()]
    left = sorted(pair._unchecked)
    torch.save(dict(values=values, gradients=gradients, left=left), f'{folder}/{rank}')
    dist.destroy_process_group()


@pytest.mark.filterwarnings('ignore:.*fork:DeprecationWarning')
@pytest.mark.parametrize('weight', [1.0, 0.0])
def test_a_stage_that_runs_in_one_process_only(tmp_path: Path, weight: float) -> None:
    arguments = (str(tmp_path), weight)
    mp.start_processes(worker, args=arguments, nprocs=2, start_method='fork')
    first, second = (
        torch.load(tmp_path / str(rank), weights_only=True) for rank in range(2)
    )
    # A pair without weight is only tried, once.
    assert len(first['values']) == len(second['values']) == (3 if weight else 1)
    if weight:
        assert all(first['values'])
        assert [bool(value) for value in second['values']] == [True, False, True]
    else:
        assert not any(first['values'] + second['values'])
    for gradients in (first['gradients'], second['gradients']):
        assert all(gradient is not None for gradient in gradients)  # DDP waits for it
    # What did not run was not found to be alive.
    assert first['left'] == []
    assert second['left'] == ([] if weight else [1])
