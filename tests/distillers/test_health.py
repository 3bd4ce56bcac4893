"""NaN in a teacher's tensor is named, with the pair."""

import copy

import pytest
import torch

from kd_plugins.distillers.health import TeacherHealth
from kd_plugins.errors import DistillationError

from .tiny import all_pairs, distiller, losses_of

MESSAGE = (
    r"the teacher's tensor for model.pairs.hint \(neck\[0\]\).* holds NaN or infinity. "
    r"Check the teacher's checkpoint"
)


def test_nan_in_the_teacher_is_named_with_the_pairs() -> None:
    model = distiller(all_pairs())
    losses_of(model)
    model.teachers['teacher'].model.neck.fpn_convs[0].conv.weight.fill_(float('nan'))
    with pytest.raises(DistillationError, match=MESSAGE) as caught:
        losses_of(model)
    assert 'model.pairs.rcn_cls (roi.logits)' in str(caught.value)
    assert 'neck[1]' not in str(caught.value)


def test_one_bad_value_among_many_is_seen() -> None:
    good, bad = torch.zeros(3, 4), torch.zeros(5)
    bad[2] = float('inf')
    TeacherHealth().check({'good': good, 'empty': torch.zeros(0, 4)})
    with pytest.raises(DistillationError, match='tensor for second holds'):
        TeacherHealth().check({'first': good, 'second': bad})
    TeacherHealth().check({})


def test_infinities_of_both_signs_do_not_cancel() -> None:
    tensor = torch.tensor([float('inf'), -float('inf')])
    with pytest.raises(DistillationError):
        TeacherHealth().check({'a': tensor})


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason='needs a CUDA device')
def test_on_a_gpu_nobody_waits_for_the_verdict() -> None:
    health = TeacherHealth()
    bad = torch.full((4,), float('nan'), device='cuda')
    torch.cuda.set_sync_debug_mode('error')
    try:
        health.check({'a': bad})
    finally:
        torch.cuda.set_sync_debug_mode('default')
    clone = copy.deepcopy(health)
    torch.cuda.synchronize()
    clone.check({'b': torch.zeros(1, device='cuda')})
    with pytest.raises(DistillationError, match='tensor for a holds'):
        health.check({'a': torch.zeros(1, device='cuda')})
