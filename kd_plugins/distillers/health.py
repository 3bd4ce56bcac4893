"""Find NaN in what a teacher gives, without waiting for the device at every step."""

from collections import deque
from typing import Any

import torch
from torch import Tensor

from ..errors import DistillationError


class TeacherHealth:
    """Watches the teacher's tensors, pair by pair.

    On the CPU a step is checked at once. On a GPU its verdict is copied in the
    background and read in a later step, when it is there anyway.
    """

    def __init__(self) -> None:
        self._pending: deque[tuple[Tensor, torch.cuda.Event, list[str]]] = deque()

    def __deepcopy__(self, memo: dict[int, Any]) -> 'TeacherHealth':
        return TeacherHealth()  # what the device owes stays with the original

    def check(self, tensors: dict[str, Tensor]) -> None:
        """Check the tensors of a step, by a name that the message may use.

        Raises: DistillationError naming the first one that is not finite.
        """
        if not tensors:
            return
        names = list(tensors)
        # A sum is finite if all its terms are, but for overflow: hence float32.
        finite = torch.stack(
            [tensor.detach().float().sum().isfinite() for tensor in tensors.values()]
        )
        if finite.device.type != 'cuda':
            _refuse(finite, names)
            return
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


def _refuse(finite: Tensor, names: list[str]) -> None:
    if bool(finite.all()):
        return
    bad = [name for name, good in zip(names, finite.tolist(), strict=True) if not good]
    raise DistillationError(
        f"the teacher's tensor for {', '.join(bad)} holds NaN or infinity. Check the "
        "teacher's checkpoint (model.teacher.checkpoint) and, with --amp, its range."
    )
