"""``mmcv._ext`` backed by torchvision, where mmcv was installed without compiling.

mmcv is released as source; without a compiler it installs in seconds but without
``mmcv._ext``, and ``import mmcv.ops`` then fails. torchvision has, for CPU and CUDA,
the operators that the detectors and segmentors here need: NMS and RoIAlign. Every
other operator raises a clear error when it is called, not when it is imported.
"""

import importlib.machinery
import importlib.util
import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any, NoReturn

import torch
import torchvision
from torch import Tensor

from ..errors import HostError

_NAME = 'mmcv._ext'
_COMPILE = 'Compile mmcv with its operators (MMCV_WITH_OPS=1) to use it.'


def nms(boxes: Tensor, scores: Tensor, iou_threshold: float, offset: int) -> Tensor:
    """Indices of the kept boxes, best score first, as ``mmcv._ext.nms`` gives them."""
    if offset != 0:
        raise HostError(
            f'nms with offset={offset} needs the compiled operators of mmcv '
            f'(torchvision knows offset=0 only). {_COMPILE}'
        )
    return torchvision.ops.nms(boxes, scores, iou_threshold)


def roi_align_forward(
    input: Tensor,
    rois: Tensor,
    output: Tensor,
    argmax_y: Tensor,
    argmax_x: Tensor,
    aligned_height: int,
    aligned_width: int,
    spatial_scale: float,
    sampling_ratio: int,
    pool_mode: int,
    aligned: bool,
) -> None:
    """Average-pooled RoIAlign, written into ``output`` (R, C, height, width)."""
    del argmax_y, argmax_x  # of max pooling only
    _check_average(pool_mode)
    pooled = torchvision.ops.roi_align(
        input,
        rois,
        (aligned_height, aligned_width),
        spatial_scale,
        sampling_ratio,
        aligned,
    )
    output.copy_(pooled)


def roi_align_backward(
    grad_output: Tensor,
    rois: Tensor,
    argmax_y: Tensor,
    argmax_x: Tensor,
    grad_input: Tensor,
    aligned_height: int,
    aligned_width: int,
    spatial_scale: float,
    sampling_ratio: int,
    pool_mode: int,
    aligned: bool,
) -> None:
    """Gradient of :func:`roi_align_forward`, written into ``grad_input``."""
    del argmax_y, argmax_x
    _check_average(pool_mode)
    gradient = torch.ops.torchvision._roi_align_backward(
        grad_output,
        rois,
        spatial_scale,
        aligned_height,
        aligned_width,
        *grad_input.shape,
        sampling_ratio,
        aligned,
    )
    grad_input.copy_(gradient)


def _check_average(pool_mode: int) -> None:
    if pool_mode != 1:
        raise HostError(
            "RoIAlign with pool_mode='max' needs the compiled operators of mmcv. "
            f"Use pool_mode='avg'. {_COMPILE}"
        )


def _missing(operator: str) -> Callable[..., NoReturn]:
    def call(*args: Any, **kwargs: Any) -> NoReturn:
        raise HostError(
            f"mmcv was installed without its compiled operators, and '{operator}' is "
            f'not among those that torchvision replaces (nms, roi_align). {_COMPILE}'
        )

    call.__name__ = operator
    return call


class _TorchvisionOperators(ModuleType):
    """Module in place of ``mmcv._ext``; unknown operators fail when called."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith('__'):
            raise AttributeError(name)
        return _missing(name)


def compiled_operators() -> bool:
    """Whether the mmcv at hand has its own compiled ``_ext``."""
    if isinstance(sys.modules.get(_NAME), _TorchvisionOperators):
        return False
    return importlib.util.find_spec(_NAME) is not None


def install_operators() -> bool:
    """Register the torchvision-backed ``mmcv._ext`` where there is no compiled one.

    Returns: whether the replacement is in place after the call.
    """
    if isinstance(sys.modules.get(_NAME), _TorchvisionOperators):
        return True
    if compiled_operators():
        return False
    module = _TorchvisionOperators(_NAME)
    # pkgutil.find_loader and importlib.util.find_spec read it: mmdet and mmcv ask
    # them whether the operators exist.
    module.__spec__ = importlib.machinery.ModuleSpec(
        _NAME, loader=None, origin='torchvision'
    )
    for operator in (nms, roi_align_forward, roi_align_backward):
        setattr(module, operator.__name__, operator)
    sys.modules[_NAME] = module
    return True
