"""Whether a narrower model runs, and gives what the pruned one gave."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from ...errors import ConfigError
from ...host_types import HostModule
from .trace import trace

_ERROR = 1e-4  # of the largest output: sums of fewer channels are added otherwise


def check_same(pruned: HostModule, rebuilt: HostModule, images: Tensor) -> None:
    """Refuse a model that was rebuilt from its config, and gives something else.

    Args:
        pruned: in ``eval()``.
        rebuilt: likewise, with the same weights.
        images: (1, 3, H, W), preprocessed.

    Raises: ConfigError naming the layer that cannot run, or that the two differ.
    """
    with torch.no_grad():
        with naming(pruned):
            expected = trace(pruned, images).outputs
        with naming(rebuilt):
            outputs = trace(rebuilt, images).outputs
            _predict(rebuilt, images)
    same = all(
        one.shape == other.shape
        and (one - other).abs().max() <= _ERROR * one.abs().max()
        for one, other in zip(expected, outputs, strict=True)
    )
    if not same:
        raise ConfigError(
            'the pruned model cannot be written as a config: rebuilt, it gives other '
            'outputs.'
        )


@contextmanager
def naming(model: nn.Module) -> Iterator[None]:
    """Within, what goes wrong in a forward names the layer in which it does.

    Raises: ConfigError.
    """
    entered: list[str] = []
    handles = []
    for name, layer in model.named_modules():

        def enter(_layer: Any, _inputs: Any, name: str = name) -> None:
            entered.append(name)

        handles.append(layer.register_forward_pre_hook(enter))
    try:
        yield
    except (RuntimeError, AssertionError, ValueError, IndexError) as error:
        name = entered[-1] if entered else ''
        kind = type(model.get_submodule(name)).__name__
        raise ConfigError(
            f"'{name}' ({kind}) cannot be pruned, or what comes before it: "
            f"{error}. Keep it as it is: keep '{name.rpartition('.')[0] or name}*'."
        ) from error
    finally:
        for handle in handles:
            handle.remove()


def _predict(model: HostModule, images: Tensor) -> None:
    """A forward as the host predicts, with proposals and RoIs where it has them."""
    if hasattr(model, 'decode_head'):
        model(images, mode='tensor')
        return
    from mmdet.structures import DetDataSample

    height, width = (int(side) for side in images.shape[-2:])
    sample = DetDataSample()
    sample.set_metainfo(
        {
            'img_shape': (height, width),
            'ori_shape': (height, width),
            'pad_shape': (height, width),
            'batch_input_shape': (height, width),
            'scale_factor': (1.0, 1.0),
        }
    )
    model(images, [sample], mode='predict')
