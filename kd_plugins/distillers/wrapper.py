"""The distiller in several processes."""

from typing import Any

from mmengine.model import MMDistributedDataParallel
from torch import nn

from ..registry import MODEL_WRAPPERS


@MODEL_WRAPPERS.register_module()
class DistillDistributedDataParallel(MMDistributedDataParallel):
    """The host's wrapper, on CPUs (gloo) as well as GPUs.

    Gradients of student, adapters and losses are averaged over the processes; a teacher
    is no module of the distiller's and so in no bucket. Parameters and buffers of all
    processes are those of the first when the model is wrapped, and again after
    ``init_weights`` (the host's doing).

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
