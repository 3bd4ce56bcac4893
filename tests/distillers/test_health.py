"""NaN in what is compared, or in the loss, is named, with the pair."""

import copy

import pytest
import torch
from torch import Tensor

from kd_plugins.distillers.health import LOSS, STUDENT, TEACHER, Checked, Health
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
    Health().check(teacher(good=good, empty=torch.zeros(0, 4)))
    with pytest.raises(DistillationError, match='tensor for second holds'):
        Health().check(teacher(first=good, second=bad))
    Health().check([])


def teacher(**tensors: Tensor) -> list[Checked]:
    return [Checked(TEACHER, name, tensor) for name, tensor in tensors.items()]


def test_infinities_of_both_signs_do_not_cancel() -> None:
    tensor = torch.tensor([float('inf'), -float('inf')])
    with pytest.raises(DistillationError):
        Health().check(teacher(a=tensor))


def test_the_first_cause_is_named() -> None:
    bad = torch.tensor(float('nan'))
    items = [Checked(LOSS, 'c', bad), Checked(STUDENT, 'b', bad)]
    message = "^the student's tensor for b holds NaN or infinity. Its training diverges"
    with pytest.raises(DistillationError, match=message):
        Health().check(items)
    with pytest.raises(DistillationError, match=r"^the teacher's tensor for a holds"):
        Health().check([*items, *teacher(a=bad)])


def test_a_student_that_diverges_is_told_before_it_learns_from_nan() -> None:
    model = distiller(all_pairs())
    losses_of(model)
    model.student.neck.fpn_convs[0].conv.bias.data[0] = float('nan')
    message = r"the student's tensor for model.pairs.hint \(neck\[0\]\).* optim_wrapper"
    with pytest.raises(DistillationError, match=message):
        losses_of(model)


def test_a_loss_that_overflows_of_finite_tensors_is_named() -> None:
    pairs = all_pairs()
    pairs['hint']['loss']['loss_weight'] = 1e38
    model = distiller(pairs)
    model.teachers['teacher'].prepare(torch.device('cpu'))
    model.teachers['teacher'].model.neck.fpn_convs[0].conv.bias.fill_(1e10)
    with pytest.raises(
        DistillationError, match=r'^the loss for model.pairs.hint holds'
    ):
        losses_of(model)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason='needs a CUDA device')
def test_on_a_gpu_nobody_waits_for_the_verdict() -> None:
    health = Health()
    bad = torch.full((4,), float('nan'), device='cuda')
    torch.cuda.set_sync_debug_mode('error')
    try:
        health.check(teacher(a=bad))
    finally:
        torch.cuda.set_sync_debug_mode('default')
    clone = copy.deepcopy(health)
    torch.cuda.synchronize()
    clone.check(teacher(b=torch.zeros(1, device='cuda')))
    with pytest.raises(DistillationError, match='tensor for a holds'):
        health.check(teacher(a=torch.zeros(1, device='cuda')))
