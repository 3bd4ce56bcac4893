"""What a model is, as far as that decides what of it can be compared."""

from typing import Literal

from torch import nn

from ...views.transformer.queries import is_transformer

Kind = Literal['transformer', 'two-stage', 'one-stage', 'depth', 'segmentor', 'other']


def kind_of(model: nn.Module) -> Kind:
    """The kind of a model of the hosts.

    Args:
        model: the model that is compared, such as the detector inside a tracker.

    Returns: 'transformer' for detectors that answer by queries (DETR and its kin),
        'two-stage' with a RoI head, 'one-stage' with a head of boxes alone, 'depth' and
        'segmentor' by their decode head; 'other' for what is left.
    """
    if is_transformer(model):
        return 'transformer'
    if getattr(model, 'roi_head', None) is not None:
        return 'two-stage'
    if getattr(model, 'bbox_head', None) is not None:
        return 'one-stage'
    if getattr(model, 'decode_head', None) is not None:
        names = [cls.__name__ for cls in type(model).__mro__]
        return 'depth' if 'DepthEstimator' in names else 'segmentor'
    return 'other'
