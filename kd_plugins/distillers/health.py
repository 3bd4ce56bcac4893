"""Find NaN in what pairs compare and give, without waiting for the device."""

from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ..errors import DistillationError
from .pair import NO_TEACHER, Pair
from .step import Matched

_REMEDIES = {
    "the teacher's tensor": "Check the teacher's checkpoint (model.teacher.checkpoint) "
    'and, with --amp, its range.',
    "the student's tensor": 'Its training diverges, or an image holds such values: '
    'lower the learning rate (optim_wrapper.optimizer.lr) or loss_weight of this pair, '
    'or set optim_wrapper.clip_grad.',
    'the loss': 'What it compares is finite: lower its loss_weight, or change its '
    'other options.',
}
TEACHER, STUDENT, LOSS = _REMEDIES


class Checked(NamedTuple):
    """A tensor to be checked.

    Attributes:
        what: TEACHER, STUDENT or LOSS.
        name: of the pair, and of what in it, for the message.
        tensor: of any shape.
    """

    what: str
    name: str
    tensor: Tensor


class Health:
    """Watches what pairs compare, and what they make of it.

    On the CPU a step is checked at once, before anything learns from it. On a GPU its
    verdict is copied in the background and read in a later step, when it is there
    anyway.
    """

    def __init__(self) -> None:
        self._pending: deque[tuple[Tensor, torch.cuda.Event, list[Checked]]] = deque()

    def __deepcopy__(self, memo: dict[int, Any]) -> 'Health':
        return Health()  # what the device owes stays with the original

    def check_matched(self, pairs: Sequence[Pair], matched: Matched) -> None:
        """Check what the pairs of a step compare: of the student where it trains.

        Raises: DistillationError naming what is not finite.
        """
        items = [
            (pair.teacher, f'{pair.key} ({spec.name})', item)
            for pair in pairs
            for spec, item in zip(
                pair.tensors, matched.get(pair.name, ()), strict=False
            )
            if item is not None
        ]
        checked = [
            Checked(TEACHER, name, item.teacher)
            for teacher, name, item in items
            if teacher != NO_TEACHER
        ]
        if torch.is_grad_enabled():
            checked += [
                Checked(STUDENT, name, item.student)
                for _, name, item in items
                if not _step_may_be_skipped(item.student)
            ]
        self.check(checked)

    def check_losses(self, losses: Mapping[str, Mapping[str, Tensor]]) -> None:
        """Check losses by the key of their pair and that of the log.

        Raises: DistillationError naming the pairs whose losses are not finite.
        """
        self.check(
            [
                Checked(LOSS, key, value)
                for key, values in losses.items()
                for value in values.values()
                if not _step_may_be_skipped(value)
            ]
        )

    def check(self, items: Sequence[Checked]) -> None:
        """Check tensors of a step.

        Raises: DistillationError naming those that are not finite.
        """
        if not items:
            return
        # A sum is finite if all its terms are, but for overflow: hence float32.
        finite = torch.stack(
            [item.tensor.detach().float().sum().isfinite() for item in items]
        )
        if finite.device.type != 'cuda':
            _refuse(finite, items)
            return
        names = [item._replace(tensor=finite) for item in items]  # keeps no tensor
        verdict = torch.empty(finite.shape, dtype=torch.bool, pin_memory=True)
        verdict.copy_(finite, non_blocking=True)
        with torch.cuda.device(finite.device):  # the stream that the copy waits in
            event = torch.cuda.Event()
            event.record()
        self._pending.append((verdict, event, names))
        while self._pending and self._done():
            verdict, _, names = self._pending.popleft()
            _refuse(verdict, names)

    def _done(self) -> bool:
        done: bool = self._pending[0][1].query()
        return done


def _step_may_be_skipped(tensor: Tensor) -> bool:
    # In float16 the student may overflow: the scaler then skips the step.
    return (
        tensor.is_cuda
        and torch.is_autocast_enabled()
        and torch.get_autocast_gpu_dtype() == torch.float16
    )


def _refuse(finite: Tensor, items: Sequence[Checked]) -> None:
    if bool(finite.all()):
        return
    bad = [item for item, good in zip(items, finite.tolist(), strict=True) if not good]
    what = next(each for each in _REMEDIES if any(item.what == each for item in bad))
    names = ', '.join(item.name for item in bad if item.what == what)
    raise DistillationError(
        f'{what} for {names} holds NaN or infinity. {_REMEDIES[what]}'
    )
