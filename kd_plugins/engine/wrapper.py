"""The distiller in several processes."""

from typing import Any

from mmengine.hooks.hook import DATA_BATCH
from mmengine.model import MMDistributedDataParallel
from mmengine.optim import OptimWrapper, OptimWrapperDict
from torch import Tensor, nn

from ..distillers.auxiliary import names_of_auxiliary, student_wrapper
from ..distillers.interface import is_distiller
from ..registry import MODEL_WRAPPERS


@MODEL_WRAPPERS.register_module()
class DistillDistributedDataParallel(MMDistributedDataParallel):
    """The host's wrapper, on CPUs (gloo) as well as GPUs.

    Gradients of student, adapters and losses are averaged over the processes; a teacher
    is no module of the distiller's and so in no bucket, and what a loss trains by
    itself (a critic) is averaged at its own step. Parameters and buffers of all
    processes are those of the first after ``init_weights`` (the host's doing).

    Args:
        module: the model.
        device_ids: as the host passes them; left out for a model on the CPU.
        broadcast_buffers: as in torch; off, as in the host's own default.
        find_unused_parameters: as in torch.
        options: the others of the host's wrapper.
    """

    def __init__(
        self,
        module: nn.Module,
        device_ids: list[int] | None = None,
        broadcast_buffers: bool = False,
        find_unused_parameters: bool = False,
        **options: Any,
    ) -> None:
        if is_distiller(module):
            # A critic has backward passes of its own, between those that DDP waits
            # for: its gradients are averaged where it steps.
            apart = [f'losses.{name}' for name in names_of_auxiliary(module.losses)]
            self._set_params_and_buffers_to_ignore_for_model(module, apart)
        on_cpu = all(
            parameter.device.type == 'cpu' for parameter in module.parameters()
        )
        super().__init__(
            module=module,
            device_ids=None if on_cpu else device_ids,
            broadcast_buffers=broadcast_buffers,
            find_unused_parameters=find_unused_parameters,
            **options,
        )

    def train_step(
        self, data: DATA_BATCH, optim_wrapper: OptimWrapper | OptimWrapperDict
    ) -> dict[str, Tensor]:
        """The student's step as the host does it, then those of its losses' own."""
        student: Any = optim_wrapper
        if is_distiller(self.module):
            student = student_wrapper(self.module.losses, optim_wrapper)
        logs: dict[str, Tensor] = super().train_step(data, student)
        if student is not optim_wrapper:
            logs = {**logs, **self.module.step_auxiliary(optim_wrapper)}
        return logs
