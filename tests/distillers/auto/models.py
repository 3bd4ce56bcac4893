"""Tiny students and teachers of every kind, and steps of a distillation of them."""

import copy
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from kd_plugins.registry import MODELS
from kd_plugins.schedules import Clock
from tests.distillers import tiny, tiny_dense, tiny_seg, tiny_transformers

# By kind: the student and its teacher, of twice its width.
MODELS_OF: dict[str, tuple[Callable[[], Any], Callable[[], Any]]] = {
    'faster_rcnn': (tiny.faster_rcnn, lambda: tiny.faster_rcnn(8, 16)),
    'gfl': (tiny_dense.gfl, lambda: tiny_dense.gfl(8)),
    'retinanet': (tiny_dense.retinanet, lambda: tiny_dense.retinanet(8)),
    'pspnet': (tiny_seg.segmentor, lambda: tiny_seg.segmentor(8)),
    'rtmdet': (tiny_transformers.rtmdet, lambda: tiny_transformers.rtmdet(16)),
    'deformable_detr': (
        tiny_transformers.deformable_detr,
        lambda: tiny_transformers.deformable_detr(8, 32),
    ),
}


def auto(
    student: Any, teacher: Any, pairs: Any = 'auto', **options: Any
) -> dict[str, Any]:
    """A distiller's configuration; the teacher a random one."""
    return tiny.config(pairs, student, tiny.teacher_of(teacher), **options)


def built(cfg: dict[str, Any]) -> Any:
    torch.manual_seed(0)
    model = MODELS.build(copy.deepcopy(cfg))
    model.init_weights()
    balance(model)
    return model.train()


def balance(model: Any, ratio: float = 0.5) -> None:
    """Tell the schedules what a runner's hook would: a time, and a measurement."""
    model.set_clock(Clock(0, 0, 10, None, by_epoch=False))
    for pair in model.pairs:
        if hasattr(pair.schedule, 'observe'):
            pair.schedule.observe(ratio)


def batch(model: Any) -> dict[str, Any]:
    if 'mmseg' in type(model.student).__module__:
        return tiny_seg.segment_batch(model)
    return tiny.batch(model)


def train(model: Any, steps: int = 2) -> list[dict[str, Tensor]]:
    """Losses of some steps of plain gradient descent."""
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    torch.manual_seed(3)
    logs = []
    for _ in range(steps):
        losses = model(**batch(model), mode='loss')
        total, log_vars = model.parse_losses(losses)
        optimizer.zero_grad()
        total.backward()
        optimizer.step()
        logs.append({key: value.detach() for key, value in log_vars.items()})
    return logs
