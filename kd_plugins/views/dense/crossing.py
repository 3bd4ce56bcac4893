"""A frozen head that goes on from the middle of another head's towers."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any, cast

from torch import Tensor, nn

from ...errors import ConfigError
from ...host_types import HostModule
from ..anchors import Maps
from ..base import UnservedError

TOWERS = ('cls_convs', 'reg_convs')
# Added by the released code to a deviation; here its least value, so that a feature
# which is the teacher's but for scale and shift becomes the teacher's.
_STD_EPS = 1e-6


def check_towers(head: HostModule, layer: int) -> None:
    """Refuse a head without towers of convolutions, or of too few of them.

    Args:
        head: of a one-stage detector.
        layer: the convolution after which it is left or entered; 0: before the first.

    Raises: UnservedError for heads of other kinds; ConfigError for a layer there is
        not.
    """
    from mmcv.cnn import ConvModule
    from mmdet.models import dense_heads as heads

    towers = [getattr(head, name, None) for name in TOWERS]
    kinds = (heads.ATSSHead, heads.FCOSHead, heads.GFLHead, heads.RetinaHead)
    # RTMDet's is an ATSSHead that predicts no centerness, whose loss it yet has.
    if (
        not isinstance(head, kinds)
        or isinstance(head, heads.RTMDetHead)
        or not all(
            isinstance(tower, nn.ModuleList)
            and all(isinstance(conv, ConvModule) for conv in tower)
            for tower in towers
        )
    ):
        raise UnservedError(
            'crossed heads need a GFLHead, RetinaHead, FCOSHead or ATSSHead with two '
            f'towers of convolutions; bbox_head is a {type(head).__name__}.'
        )
    number = min(len(tower) for tower in towers if tower is not None)
    if number < max(layer, 1):
        raise ConfigError(
            f'is {layer}, but the towers of bbox_head have {number} convolutions '
            f'(stacked_convs). Choose layer=0 to {number}.',
            key='layer',
        )


def aligned(student: Tensor, teacher: Tensor) -> Tensor:
    r"""The student's feature with mean and deviation of the teacher's, by channel.

    .. math:: \frac{f^S - \mu^S}{\sigma^S} \sigma^T + \mu^T

    over all pixels of the batch of this process, as in the paper: the value depends on
    which images are together. The student's statistics take a gradient.

    Args:
        student: (N, C, H, W), any float dtype.
        teacher: likewise, of as many channels.

    Returns: (N, C, H, W), float32, or float64.
    """
    centred, _, deviation = _centred(student)
    _, teacher_mean, teacher_deviation = _centred(teacher)
    return centred / deviation * teacher_deviation + teacher_mean


def _centred(feature: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """What is left without the mean, the mean, and the deviation."""
    feature = feature if feature.element_size() > 4 else feature.float()
    axes = (0, 2, 3)
    mean = feature.mean(dim=axes, keepdim=True)
    rest = feature - mean
    # Over n, not the paper's n - 1, which is 0 for one pixel: one is divided by the
    # other, and both models have as many.
    variance = rest.square().mean(dim=axes, keepdim=True)
    return rest, mean, variance.clamp(min=_STD_EPS**2).sqrt()


def crossed(head: HostModule, layer: int, features: Sequence[Maps]) -> Any:
    """What a head predicts from features in the middle of its towers.

    Gradients reach the features; the head, frozen, keeps none.

    Args:
        head: whose remaining convolutions and predictions run, in its own ``forward``.
        layer: the convolution of both towers that these come from, before its
            activation; 0: what the towers read.
        features: of the classification and of the regression tower, one a level.

    Returns: what the head gives, level by level.
    """
    with ExitStack() as stack:
        if layer:
            for name, maps in zip(TOWERS, features, strict=True):
                stack.enter_context(_entered(getattr(head, name), layer, maps))
        return head(tuple(features[0]))


@contextmanager
def _entered(tower: nn.ModuleList, layer: int, features: Maps) -> Iterator[None]:
    """The first convolutions of a tower give these features, level by level."""
    levels = iter(features)
    last = cast(HostModule, tower[layer - 1])

    def activated(feature: Tensor) -> Tensor:
        # Not by a call: who records this activation of the head wants its own.
        result: Tensor = last.activate.forward(next(levels))
        return result

    def passed(feature: Tensor) -> Tensor:
        return feature

    with ExitStack() as stack:
        for conv in tower[: layer - 1]:
            stack.enter_context(_replaced(conv, passed))
        stack.enter_context(_replaced(last, activated))
        yield


@contextmanager
def _replaced(module: nn.Module, forward: Callable[[Tensor], Tensor]) -> Iterator[None]:
    """Another ``forward`` for this one instance, within the block."""
    before = module.__dict__.get('forward')
    module.__dict__['forward'] = forward
    try:
        yield
    finally:
        if before is None:
            del module.__dict__['forward']
        else:
            module.__dict__['forward'] = before
