"""A distiller of each kind of head, with a pair for each view that serves it."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from mmengine.logging import MessageHub
from mmengine.registry import init_default_scope

from kd_plugins.registry import MODELS
from tests.distillers.tiny import batch as boxes
from tests.distillers.tiny import config, faster_rcnn, hint, teacher_of
from tests.views.depth.test_depth import depth_batch, depth_estimator
from tests.views.kinds import MAIN, MORE, batch, config_of
from tests.views.test_refusals import pair

FLOW = {
    'view': {
        'type': 'layer.flow',
        'first': 'backbone.layer1',
        'last': 'backbone.layer2',
    },
    'loss': {'type': 'FSPLoss'},
}
# These have every view between them.
FEW = ('mask', 'gfl', 'fcos', 'detr', 'pixels', 'depth', 'layers')
_KINDS = {**MAIN, **MORE}
REST = tuple(
    name
    for name, kind in _KINDS.items()
    if name not in FEW and kind.serves and kind.trains
)


@dataclass(frozen=True)
class Built:
    """A distiller that trains, its teacher's weights there.

    Attributes:
        model: the distiller.
        data: makes a batch for it.
        views: names of those that its pairs read.
    """

    model: Any
    data: Callable[[], dict[str, Any]]
    views: tuple[str, ...]

    def losses(self) -> dict[str, Any]:
        """Of one step, which draws from the same stream each time."""
        torch.manual_seed(3)
        found: dict[str, Any] = self.model(**self.data(), mode='loss')
        return found


@cache
def built(name: str) -> Built:
    """The distiller of a kind; built once, put back by whoever changes it."""
    init_default_scope('mmdet')
    torch.manual_seed(0)
    if name == 'depth':
        student = depth_estimator()
        views = ['depth.map']
    elif name == 'layers':
        student = faster_rcnn()
        views = ['layer', 'layer.flow']
    else:
        student = config_of(_KINDS[name])
        views = _KINDS[name].serves.split()
    pairs = {re.sub(r'\W', '_', view): _pair(view) for view in views}
    model = MODELS.build(config(pairs, student, teacher_of(student)))
    model.init_weights()
    model.train()
    hub = MessageHub.get_current_instance()
    for key, value in {'epoch': 0, 'max_epochs': 2, 'iter': 0, 'max_iters': 2}.items():
        hub.update_info(key, value)  # as the runner does
    for teacher in model.teachers.values():
        teacher.prepare(torch.device('cpu'))
    make = {'depth': depth_batch, 'layers': boxes}.get(name)
    data = (
        (lambda: batch(model, _KINDS[name])) if make is None else (lambda: make(model))
    )
    return Built(model, data, tuple(views))


def _pair(view: str) -> dict[str, Any]:
    return {'layer': hint(), 'layer.flow': FLOW}.get(view) or pair('view', view)
