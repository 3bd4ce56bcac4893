"""The mean of a loss over ranks is that of all rows, however they are split."""

from pathlib import Path

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from kd_plugins.distillers.step import average_counts
from kd_plugins.losses import HintLoss, KDLoss
from kd_plugins.views import MatchedTensors

CPU = torch.device('cpu')
SPLIT = (5, 0)  # the second rank has no rows at all


def rows(seed: int) -> torch.Tensor:
    return torch.randn(5, 4, generator=torch.Generator().manual_seed(seed))


def worker(rank: int, folder: str) -> None:
    dist.init_process_group(
        'gloo', init_method=f'file://{folder}/meet', rank=rank, world_size=2
    )
    start = sum(SPLIT[:rank])
    own = slice(start, start + SPLIT[rank])
    student = rows(1)[own].requires_grad_()
    mask = torch.tensor([1.0, 0.0, 1.0, 1.0, 1.0])[own]
    logits = MatchedTensors(student, rows(2)[own], mask=mask, count=mask.sum())
    fixed = MatchedTensors(student, rows(2)[own], count=float(len(student)))
    early = MatchedTensors(student, rows(2)[own], count=5.0)
    matched: dict[str, list[MatchedTensors | None]] = {
        'logits': [logits],
        'early': [None if rank else early],
        'fixed': [fixed],
    }
    average_counts(matched, dict(logits=1, off=2, early=1, fixed=1), CPU)
    kd = KDLoss()(student, rows(2)[own], mask=mask, avg_factor=logits.count)
    hint = HintLoss()(student, rows(2)[own], avg_factor=fixed.count)
    (gradient,) = torch.autograd.grad(kd + hint, student)
    counts = {name: items[0].count for name, items in matched.items() if items[0]}
    torch.save(
        dict(counts=counts, loss=kd + hint, gradient=gradient), f'{folder}/{rank}'
    )
    dist.destroy_process_group()


@pytest.mark.filterwarnings('ignore:.*fork:DeprecationWarning')
def test_uneven_split_over_two_processes(tmp_path: Path) -> None:
    # Forked: importing everything anew would take most of the time.
    mp.start_processes(worker, args=(str(tmp_path),), nprocs=2, start_method='fork')
    found = [torch.load(tmp_path / str(rank), weights_only=True) for rank in range(2)]
    assert found[0]['counts'] == dict(logits=2.0, early=2.5, fixed=2.5)
    assert found[1]['counts'] == dict(logits=2.0, fixed=2.5)
    student, mask = rows(1).requires_grad_(), torch.tensor([1.0, 0.0, 1.0, 1.0, 1.0])
    whole = KDLoss()(student, rows(2), mask=mask) + HintLoss()(student, rows(2))
    (gradient,) = torch.autograd.grad(whole, student)
    mean = sum(item['loss'] for item in found) / 2
    torch.testing.assert_close(mean, whole)
    # The wrapper averages gradients over ranks as well.
    split = torch.cat([item['gradient'] for item in found]) / 2
    torch.testing.assert_close(split, gradient)


def test_one_process_keeps_its_counts() -> None:
    count = torch.tensor(3.0)
    item, other = (MatchedTensors(rows(1), rows(2), count=each) for each in (count, 5))
    matched: dict[str, list[MatchedTensors | None]] = {'a': [item, None], 'b': [other]}
    # A device that is not there: nothing may be copied to it.
    average_counts(matched, dict(a=2, b=1, off=1), torch.device('cuda:99'))
    assert item.count is count and other.count == 5
    assert matched == {'a': [item, None], 'b': [other]}
