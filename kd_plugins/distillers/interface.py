"""What the runner and its hooks need to know of a distiller, and how they reach it."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol, TypeGuard, cast

from mmengine.model import is_model_wrapper
from mmengine.optim import OptimWrapperDict
from torch import Tensor, nn
from torch.optim import Optimizer

from ..host_types import HostModule
from ..schedules import Clock


class SavedStream(Protocol):
    """Random streams that a resumed run continues."""

    def state_dict(self) -> dict[str, Any]:
        """Their states."""

    def load_state_dict(self, state: Any) -> None:
        """Continue from these states."""


class DistillerLike(Protocol):
    """A model that trains a student with the help of a teacher, or several that learn.

    Attributes:
        student: that is deployed.
        learners: what learns, by name, each with its student, adapters and losses: one
            distiller, or several peers.
        adapters: of its pairs.
        losses: of its pairs.
        random_stream: what it draws from, beside the default generators.
    """

    student: HostModule
    learners: Mapping[str, Any]
    adapters: nn.Module
    losses: nn.ModuleDict
    random_stream: SavedStream

    def student_state_dict(self, state_dict: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Entries of the student, named as the student alone names them."""

    def set_clock(self, clock: Clock) -> None:
        """Tell it how far the training has come."""

    def set_class_names(self, names: Sequence[str]) -> None:
        """Tell it the names of the classes it is trained for."""

    def step_auxiliary(self, optim_wrapper: OptimWrapperDict) -> dict[str, Tensor]:
        """Step what its losses train by themselves."""

    def fast_state_dict(self) -> dict[str, Any]:
        """Which teachers run as a fast copy."""

    def load_fast_state_dict(self, states: Mapping[str, Any]) -> None:
        """Decide as the run that is continued."""

    @property
    def pauses(self) -> bool:
        """Whether one of several learners may not be updated in a step."""

    def steer(self, optimizer: Optimizer) -> None:
        """Let the optimiser leave out what does not learn in a step."""

    def summary(self) -> str:
        """What will be compared with what, as a table."""


def is_distiller(model: object) -> TypeGuard[DistillerLike]:
    """Whether a model distills; any other is trained as its host trains it."""
    return hasattr(model, 'student_state_dict') and hasattr(model, 'set_clock')


def unwrap(model: nn.Module) -> nn.Module:
    """The model itself, out of the wrapper that distributes it."""
    return cast(nn.Module, model.module) if is_model_wrapper(model) else model
