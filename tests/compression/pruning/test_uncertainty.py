"""PrUE: how predictions depend on weights, by their distance to the mean of a class."""

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.testing import assert_close

from kd_plugins.compression.pruning.uncertainty import (
    ClassProbs,
    Rows,
    class_means,
    uncertainty,
    uncertainty_saliency,
)
from kd_plugins.errors import ConfigError
from kd_plugins.registry import MODELS
from tests.distillers.tiny import batch, faster_rcnn
from tests.distillers.tiny_dense import fcos
from tests.distillers.tiny_seg import segment_batch, segmentor


def test_a_term_by_hand() -> None:
    means = torch.tensor([0.7, 0.2])
    one = uncertainty(torch.tensor([0.4]), torch.tensor([0]), means)
    assert one.item() == pytest.approx(0.3)
    two = uncertainty(torch.tensor([0.4, 0.7]), torch.tensor([0, 1]), means)
    assert two.item() == pytest.approx(0.3 + 0.5)


def test_a_sample_at_the_mean_does_not_vote() -> None:
    probs = torch.tensor([0.7, 0.9], requires_grad=True)
    uncertainty(probs, torch.tensor([0, 0]), torch.tensor([0.7])).backward()
    assert_close(probs.grad, torch.tensor([0.0, 1.0]))


def test_means_of_classes_over_all_batches() -> None:
    rows = [
        (torch.tensor([0.2, 0.9]), torch.tensor([0, 2])),
        (torch.tensor([0.6]), torch.tensor([0])),
    ]
    # No sample of the second class: 0, and not a mean of nothing.
    assert_close(class_means(rows, 3), torch.tensor([0.4, 0.0, 0.9]))


class Classifier(nn.Module):
    """Two layers, whose masks are written out."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(4, 5), nn.Linear(5, 3)

    def forward(self, inputs: Tensor, masks: Any = None) -> Tensor:
        first, second = self.first.weight, self.second.weight
        if masks is not None:
            first, second = first * masks[0], second * masks[1]
        hidden = (inputs @ first.T + self.first.bias).relu()
        return (hidden @ second.T + self.second.bias).softmax(dim=1)


def data() -> list[tuple[Tensor, Tensor]]:
    generator = torch.Generator().manual_seed(3)
    return [
        (
            torch.randn(6, 4, generator=generator),
            torch.randint(0, 3, (6,), generator=generator),
        )
        for _ in range(3)
    ]


def rows_of(model: nn.Module, masks: Any = None) -> Iterator[Rows]:
    for inputs, classes in data():
        probs = model(inputs, masks)
        yield probs[torch.arange(len(classes)), classes], classes


def test_saliency_is_the_derivative_to_a_mask_summed_before_it_is_absolute() -> None:
    model = Classifier()
    weights = {'first': model.first.weight, 'second': model.second.weight}
    saliency = uncertainty_saliency(lambda: rows_of(model), weights, 3)
    # By masks of ones, of which the sum over all samples is derived at once.
    masks = [torch.ones_like(each, requires_grad=True) for each in weights.values()]
    rows = list(rows_of(model, masks))
    probs, classes = (torch.cat(each) for each in zip(*rows, strict=True))
    means = torch.stack([probs[classes == each].mean() for each in range(3)])
    value = (means.detach()[classes] - probs).abs().sum()
    expected = torch.autograd.grad(value, masks)
    assert_close(saliency['first'], expected[0].abs())
    assert_close(saliency['second'], expected[1].abs())


def test_where_all_are_at_the_mean_there_is_nothing_to_rank() -> None:
    weight = nn.Parameter(torch.ones(2))
    rows = [((weight * 0.35).sum()[None], torch.tensor([0]))]
    with pytest.raises(ConfigError, match=r"mean of its class.*method='magnitude'"):
        uncertainty_saliency(lambda: rows, {'weight': weight}, 1)


def test_without_samples_there_is_nothing_to_measure() -> None:
    weight = nn.Parameter(torch.ones(2))
    empty = [(torch.zeros(0), torch.zeros(0).long())]
    with pytest.raises(ConfigError, match='no sample whose class is known'):
        uncertainty_saliency(lambda: empty, {'weight': weight}, 1)


def probs_of(cfg: Any, data: Any = batch) -> tuple[Any, Any, ClassProbs, Rows]:
    model = MODELS.build(cfg).eval()
    read = ClassProbs(model)
    made = data(model)
    torch.manual_seed(1)
    return model, made, read, read(made['inputs'], made['data_samples'])


def test_of_a_roi_head_the_class_of_each_foreground_roi() -> None:
    model, made, read, (probs, classes) = probs_of(faster_rcnn())
    assert read.number == 3 and len(probs) > 0
    assert classes.min() >= 0 and classes.max() < 3
    seen: list[Any] = []
    head = model.roi_head.bbox_head
    handle = head.loss_cls.register_forward_pre_hook(
        lambda _module, args: seen.append(args[:2])
    )
    torch.manual_seed(1)
    model(**made, mode='loss')
    handle.remove()
    logits, labels = seen[0]
    foreground = labels < 3
    expected = logits.softmax(dim=1)[foreground, labels[foreground]]
    assert_close(probs.sort()[0], expected.sort()[0])
    assert probs.requires_grad


def test_of_a_one_stage_head_the_class_of_each_positive_point() -> None:
    model, made, read, (probs, classes) = probs_of(fcos())
    assert read.number == 3
    seen: list[Any] = []
    handle = model.bbox_head.loss_cls.register_forward_pre_hook(
        lambda _module, args: seen.append(args[:2])
    )
    model(**made, mode='loss')
    handle.remove()
    logits, labels = seen[0]
    positive = labels < 3
    expected = logits.sigmoid()[positive, labels[positive]]
    assert len(probs) == len(classes) > 0
    assert_close(probs.sort()[0], expected.sort()[0])


def test_of_a_segmentor_the_mean_of_each_class_in_each_image() -> None:
    model, made, read, (probs, classes) = probs_of(segmentor(), segment_batch)
    assert read.number == 4
    logits = model.decode_head(model.extract_feat(made['inputs']))
    expected = []
    for image, sample in zip(logits.softmax(dim=1), made['data_samples'], strict=True):
        labels = sample.gt_sem_seg.data.float()[None]
        labels = nn.functional.interpolate(
            labels, image.shape[1:], mode='nearest-exact'
        )
        for label in range(4):
            of_class = labels[0, 0] == label
            if of_class.any():
                expected.append(image[label][of_class].mean())
    assert_close(probs.sort()[0], torch.stack(expected).sort()[0])
    assert len(classes) == len(expected)
