"""Batch norms as part of the convolutions before them."""

import itertools
from collections.abc import Collection, Iterator

from mmcv.cnn import Conv2d as MMConv2d
from mmcv.cnn import ConvModule
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_weights

CONVOLUTIONS = (nn.Conv2d, MMConv2d)
# These very classes: what inherits from them may compute something else.
_NORMS = (nn.BatchNorm2d, nn.SyncBatchNorm)


def fold_batch_norms(
    model: nn.Module, prefix: str = '', kept: Collection[str] = ()
) -> int:
    """Fold frozen batch norms into the convolutions before them, in place.

    Only where it is certain that the norm reads what the convolution gives: in an
    mmcv ConvModule, one after the other in a Sequential, or of names such as conv1 and
    bn1 in one block, as in a ResNet. An ``Identity`` takes the norm's place.

    Args:
        model: in ``eval()``.
        prefix: of the model's own name, for ``kept``.
        kept: dotted names of norms that must stay, and of convolutions whose outputs
            are read.

    Returns: how many were folded.
    """
    number = 0
    for block, name, norm_name in foldable(model, prefix, kept):
        conv, norm = getattr(block, name), getattr(block, norm_name)
        conv.weight, conv.bias = fuse_conv_bn_weights(
            conv.weight,
            conv.bias,
            norm.running_mean,
            norm.running_var,
            norm.eps,
            norm.weight,
            norm.bias,
        )
        conv.requires_grad_(False)
        block._modules[norm_name] = nn.Identity()
        number += 1
    return number


def foldable(
    model: nn.Module, prefix: str = '', kept: Collection[str] = ()
) -> Iterator[tuple[nn.Module, str, str]]:
    """Convolutions that a batch norm reads, and nothing else.

    Args:
        model: any.
        prefix: of the model's own name, for ``kept``.
        kept: dotted names of norms and convolutions that are left out.

    Yields: the block that holds both, the convolution's name in it, and the norm's.
    """
    shared = _used_twice(model)
    for path, block in model.named_modules():
        inner = f'{prefix}.{path}'.strip('.')
        for name, norm_name in list(_followed(block)):
            both = {id(getattr(block, name)), id(getattr(block, norm_name))}
            names = (f'{inner}.{item}'.strip('.') for item in (name, norm_name))
            if not both & shared and not any(item in kept for item in names):
                yield block, name, norm_name


def _followed(block: nn.Module) -> Iterator[tuple[str, str]]:
    """Names of convolutions of a block, and of the norms that read them."""
    children = [
        (name, child)
        for name, child in block.named_children()
        if isinstance(block, nn.Sequential)
        or isinstance(child, (*CONVOLUTIONS, *_NORMS))
    ]
    for (name, conv), (norm_name, norm) in itertools.pairwise(children):
        if (
            type(conv) in CONVOLUTIONS
            and type(norm) in _NORMS
            and norm.num_features == conv.out_channels
            and norm.running_mean is not None
            and not conv._forward_pre_hooks  # as of a spectral norm
            and _belong_together(block, name, norm_name)
        ):
            yield name, norm_name


def _belong_together(block: nn.Module, conv: str, norm: str) -> bool:
    if isinstance(block, ConvModule):
        order: tuple[str, ...] = block.order
        return order.index('norm') == order.index('conv') + 1
    if isinstance(block, nn.Sequential):
        return type(block).forward is nn.Sequential.forward
    number = conv.removeprefix('conv')
    return conv != number and norm == f'bn{number}'


def _used_twice(model: nn.Module) -> set[int]:
    """Modules that stand at several places, such as those shared by an FPN's levels."""
    seen: set[int] = set()
    twice: set[int] = set()
    weights: dict[int, int] = {}
    for _, module in model.named_modules(remove_duplicate=False):
        if id(module) in seen:
            twice.add(id(module))
        elif isinstance(weight := getattr(module, 'weight', None), nn.Parameter):
            first = weights.setdefault(id(weight), id(module))
            if first != id(module):
                twice |= {first, id(module)}
        seen.add(id(module))
    return twice
