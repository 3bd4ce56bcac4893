"""What the runner and its hooks need to know of a distiller, and how they reach it."""

from collections.abc import Mapping, Sequence
from typing import Protocol, TypeGuard, cast

from mmengine.model import is_model_wrapper
from mmengine.optim import OptimWrapperDict
from torch import Tensor, nn

from ..host_types import HostModule
from ..random_stream import RandomStream
from ..schedules import Clock


class DistillerLike(Protocol):
    """A model that trains a student with the help of a teacher."""

    student: HostModule
    adapters: nn.Module
    losses: nn.ModuleDict
    random_stream: RandomStream

    def student_state_dict(self, state_dict: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Entries of the student, named as the student alone names them."""

    def set_clock(self, clock: Clock) -> None:
        """Tell it how far the training has come."""

    def set_class_names(self, names: Sequence[str]) -> None:
        """Tell it the names of the classes it is trained for."""

    def step_auxiliary(self, optim_wrapper: OptimWrapperDict) -> dict[str, Tensor]:
        """Step what its losses train by themselves."""

    def summary(self) -> str:
        """What will be compared with what, as a table."""


def is_distiller(model: object) -> TypeGuard[DistillerLike]:
    """Whether a model distills; any other is trained as its host trains it."""
    return hasattr(model, 'student_state_dict') and hasattr(model, 'set_clock')


def unwrap(model: nn.Module) -> nn.Module:
    """The model itself, out of the wrapper that distributes it."""
    return cast(nn.Module, model.module) if is_model_wrapper(model) else model
