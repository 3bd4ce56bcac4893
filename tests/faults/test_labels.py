"""Labels that no one would draw: losses of all views stay finite, or say why not.

A class that there is not: the hosts stop, but for GFL, which counts it as background,
with a teacher or without. (Their data sets hand out no such class: what `metainfo` does
not name is left out.)
"""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from mmengine.structures import InstanceData, PixelData

from kd_plugins.errors import LocatedError
from tests.faults.view_models import FEW, REST, built

pytestmark = [
    pytest.mark.host,
    pytest.mark.filterwarnings(
        'ignore:DeprecationWarning. ',  # as mmdet begins its own
        'ignore:Sparse invariant checks are implicitly disabled',
        'ignore:In MMCV v1.4.4, we modified the default value',
        'ignore:This overload of addmm is deprecated',
    ),
]
KINDS = [*FEW, *(pytest.param(name, marks=pytest.mark.slow) for name in REST)]


def no_boxes(sample: Any) -> None:
    sample.gt_instances = sample.gt_instances[:0]


def no_area(sample: Any) -> None:
    boxes = sample.gt_instances.bboxes
    sample.gt_instances.bboxes = torch.cat([boxes[:, :2], boxes[:, :2]], dim=1)


def outside(sample: Any) -> None:
    sample.gt_instances.bboxes = sample.gt_instances.bboxes + 1000


def crowds_only(sample: Any) -> None:
    boxes = sample.gt_instances
    sample.ignored_instances = InstanceData(bboxes=boxes.bboxes, labels=boxes.labels)
    sample.gt_instances = boxes[:0]


def unknown_class(sample: Any) -> None:
    sample.gt_instances.labels = sample.gt_instances.labels + 70


def negative_class(sample: Any) -> None:
    sample.gt_instances.labels = sample.gt_instances.labels - 70


def only_ignored(sample: Any) -> None:
    data = sample.gt_sem_seg.data
    sample.gt_sem_seg = PixelData(data=torch.full_like(data, 255))


def unknown_pixels(sample: Any) -> None:
    data = sample.gt_sem_seg.data
    sample.gt_sem_seg = PixelData(data=torch.full_like(data, 77))


def negative_pixels(sample: Any) -> None:
    data = sample.gt_sem_seg.data
    sample.gt_sem_seg = PixelData(data=torch.full_like(data, -7))


def nothing_measured(sample: Any) -> None:
    data = sample.gt_depth_map.data
    sample.gt_depth_map = PixelData(data=torch.zeros_like(data))


BOXES = (no_boxes, no_area, outside, crowds_only, unknown_class, negative_class)
PIXELS = (only_ignored, unknown_pixels, negative_pixels)


def changes_of(sample: Any) -> tuple[Callable[[Any], None], ...]:
    if 'gt_instances' in sample:
        return BOXES
    return (nothing_measured,) if 'gt_depth_map' in sample else PIXELS


def spoiled(data: dict[str, Any], change: Callable[[Any], None]) -> dict[str, Any]:
    for sample in data['data_samples']:
        change(sample)
    return data


def of_host(model: Any, data: dict[str, Any]) -> str:
    """What the host itself makes of a batch, without teacher."""
    torch.manual_seed(3)
    try:
        losses = model.student(**data, mode='loss')
    except Exception as error:  # its own, whatever it is
        return type(error).__name__
    total, _ = model.student.parse_losses(losses)
    return 'finite' if bool(total.isfinite()) else 'not finite'


@pytest.mark.parametrize('kind', KINDS)
def test_labels_that_no_one_would_draw(kind: str, fault: Callable[..., None]) -> None:
    case = built(kind)
    outcomes = []
    for change in changes_of(case.data()['data_samples'][0]):
        host = of_host(case.model, spoiled(case.data(), change))
        case.model.zero_grad()
        torch.manual_seed(3)
        stopped = None
        try:
            losses = case.model(**spoiled(case.data(), change), mode='loss')
        except LocatedError:
            outcome = 'an error says what is wrong'
        except Exception as error:  # only where the host stops likewise
            stopped = type(error).__name__
            outcome = 'the host stops, as it does without teacher'
        else:
            ours = [value for key, value in losses.items() if 'loss_kd_' in key]
            sum(ours).backward()
            gradients = [
                each.grad for each in case.model.parameters() if each.grad is not None
            ]
            assert all(bool(each.isfinite().all()) for each in gradients)
            outcome = 'losses and gradients of all pairs are finite'
        assert stopped in (None, host), change.__name__
        outcomes.append((change.__name__.replace('_', ' '), outcome))
    for name, outcome in outcomes:
        fault(f'labels: {name}', outcome)
