"""A teacher that learns too: a peer of the student's."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from ..host_types import HostModule
from ..inner_models import inner_model, inner_path
from ..schedules import Clock
from .fast_teacher import FastTeacher
from .teacher import Teacher


class PeerTeacher(Teacher):
    """A model that is trained beside the student, as the student's teacher.

    Nothing of it is frozen, loaded or moved: whoever trains it does that. It is no
    module of the student's, as any teacher; its weights change with every step, so that
    no fast copy of it can run, and no cache hold what it gives.

    Args:
        name: of the peer.
        model: the peer.
    """

    def __init__(self, name: str, model: HostModule) -> None:
        self.name = name
        self.key = f'model.peers.{name}'
        self.checkpoint = None
        self.scale = 1.0
        self.class_map = None
        self.cache = None
        self.fast = FastTeacher(None)
        self._built = model
        self.inner_path = inner_path(model)
        self.model: HostModule = inner_model(model)
        self.loaded = True

    def prepare(self, device: torch.device) -> HostModule:
        """The model, where it is: it moves with the training."""
        return self.model

    def to(self, device: torch.device) -> None:
        """Nothing: it moves with the training."""

    def set_clock(self, clock: Clock | None) -> None:
        """Nothing: its own training sets its clock."""

    def set_class_names(self, names: Sequence[str]) -> None:
        """Nothing: it is trained on the same data."""

    def identity(self) -> dict[str, Any]:
        """Nothing that lasts.

        Raises: NotImplementedError.
        """
        raise NotImplementedError('its weights change with every step')

    def inputs(
        self, inputs: Tensor, data_samples: Sequence[Any]
    ) -> tuple[Tensor, tuple[int, int]]:
        """The batch, of whose size its own is, and that size: it runs by itself.

        Args:
            inputs: (N, C, H, W), preprocessed for the student.
            data_samples: of the batch.
        """
        height, width = inputs.shape[-2:]
        return inputs, (int(height), int(width))

    def runs(self, parts: Sequence[str], device: torch.device) -> str:
        """Its features are those of its own step; of its heads, what runs again."""
        again = [part for part in parts if part not in ('backbone', 'neck')]
        heads = f', and runs its {", ".join(again)} again' if again else ''
        return f'gives the features of its own step{heads}; without gradient'

    @property
    def source(self) -> str:
        """Where the weights come from, for the summary."""
        return 'a peer'
