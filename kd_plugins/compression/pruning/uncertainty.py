"""PrUE: a weight counts by how much it holds predictions near those of their class."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from mmengine.dist import all_reduce
from torch import Tensor, nn

from ...errors import ConfigError
from ...host_types import HostModule, Samples
from ...recorders import recording
from ...views import MatchedTensors, ModelRun, Probe
from ...views.binding import bind
from ...views.build import build_view

Rows = tuple[Tensor, Tensor]  # probabilities (M,) of the right class, and classes (M,)


def uncertainty(probs: Tensor, classes: Tensor, means: Tensor) -> Tensor:
    r"""How far predictions are from the mean of their class, summed over samples.

    .. math:: R = \sum_i | \mu_{y_i} - p_{y_i}(x_i) |

    Args:
        probs: of the right class, shape (M,), from 0 to 1.
        classes: shape (M,), numbers of that class.
        means: shape (K,), of ``probs`` over all samples of each class.

    Returns: no unit; a scalar. A sample at the mean has no gradient.
    Source: Wang et al., Efficient Knowledge Distillation via Prediction Uncertainty
        Enlargement, ECML-PKDD 2022, https://arxiv.org/abs/2207.00586, and its code.

    Example:
        >>> probs, classes = torch.tensor([0.4]), torch.tensor([0])
        >>> uncertainty(probs, classes, torch.tensor([0.7]))
        tensor(0.3000)
    """
    return (means[classes] - probs).abs().sum()


def class_means(rows: Iterable[Rows], number: int, device: Any = None) -> Tensor:
    """Mean probability (K,) of each class; 0 for a class that no sample has.

    Args:
        rows: probabilities of the right class, and classes, batch by batch.
        number: of classes.
        device: of the result.
    """
    sums = torch.zeros(2, number, device=device, dtype=torch.float64)
    for probs, classes in rows:
        sums[0].index_add_(0, classes, probs.detach().double())
        sums[1].index_add_(0, classes, torch.ones_like(probs).double())
    all_reduce(sums)
    return (sums[0] / sums[1].clamp(min=1)).float()


def uncertainty_saliency(
    batches: Callable[[], Iterable[Rows]],
    weights: Mapping[str, nn.Parameter],
    number: int,
) -> dict[str, Tensor]:
    r"""How much :func:`uncertainty` depends on each weight.

    .. math:: s = \left| \frac{\partial R}{\partial m} \right|,
        \quad w' = m \cdot w, \quad m = 1

    The derivatives are summed over all batches before the absolute value.

    Args:
        batches: gives the rows of each batch, with their graph; called twice, and must
            give the same.
        weights: by name.
        number: of classes.

    Returns: by name, of the weights' shapes.
    Raises: ConfigError where there is no sample, or where no weight counts, as when
        every probability is the mean of its class.
    Source: as of :func:`uncertainty`.
    """
    parameters = list(weights.values())
    device = parameters[0].device
    with torch.no_grad():
        rows = [(probs.detach(), classes) for probs, classes in batches()]
    if not sum(len(probs) for probs, _ in rows):
        raise ConfigError(
            'there is no sample whose class is known: nothing to measure.'
        )
    means = class_means(rows, number, device)
    totals = [torch.zeros_like(each) for each in parameters]
    with torch.enable_grad():
        for probs, classes in batches():
            if not len(probs) or not probs.requires_grad:
                continue
            value = uncertainty(probs, classes, means.to(probs.dtype))
            gradients = torch.autograd.grad(value, parameters, allow_unused=True)
            for total, gradient in zip(totals, gradients, strict=True):
                if gradient is not None:
                    total += gradient
    for total in totals:
        all_reduce(total)
    saliency = {
        name: (weight.detach() * total).abs()
        for (name, weight), total in zip(weights.items(), totals, strict=True)
    }
    if not any(each.any() for each in saliency.values()):
        raise ConfigError(
            'every probability is the mean of its class, so that no weight makes '
            "predictions more or less certain: nothing to rank. Use method='magnitude'."
        )
    return saliency


class ClassProbs:
    """Probabilities that a model gives to the right classes of a batch.

    Of a RoI head: of the class that each foreground RoI is assigned to; of a one-stage
    head: of the class of each positive anchor or point; of a segmentor: of each class
    of an image, the mean over its pixels.

    Args:
        model: a detector or segmentor, in ``eval()``.

    Attributes:
        number: of classes.

    Raises: ConfigError for a model whose classes no view knows.
    """

    def __init__(self, model: HostModule) -> None:
        self._model = model
        if hasattr(model, 'roi_head'):
            name = 'roi.logits'
        else:
            name = 'seg.logits' if hasattr(model, 'decode_head') else 'head.logits'
        self._view, _ = bind(build_view(name), Probe(model, model))
        self._of_images = name == 'seg.logits'
        # A RoI head has a column for the background, last; one column asks a question
        # of two answers.
        columns = self._view.tensors[0].student[1]
        self.number = max(columns - (name == 'roi.logits'), 1 + self._of_images)

    def __call__(self, inputs: Tensor, samples: Samples) -> Rows:
        """Of a batch that is preprocessed, with the graph of the model."""
        with recording(self._model, self._view.student_recorders) as records:
            self._model(inputs, samples, mode='loss')
        run = ModelRun(self._model, records, len(inputs))
        assert self._view.match_alone is not None
        rows = [
            self._rows(each)
            for each in self._view.match_alone(run, samples)
            if each is not None
        ]
        probs, classes = (torch.cat(each) for each in zip(*rows, strict=True))
        return probs, classes

    def _rows(self, matched: MatchedTensors) -> Rows:
        """Of one level or stage."""
        assert matched.target is not None
        logits, labels = matched.student, matched.target.long()
        if self._of_images and logits.shape[1] == 1:
            logits = torch.cat([-logits, logits], dim=1)  # no, and yes
        images = torch.arange(len(labels), device=labels.device)
        images = images.view(-1, *[1] * (labels.dim() - 1)).expand_as(labels)
        kept = (labels >= 0) & (labels < self.number)
        if matched.mask is not None:
            kept = kept & (matched.mask > 0)
        logits, labels = logits.movedim(1, -1)[kept].float(), labels[kept]  # (M, K)
        probs = (
            logits.sigmoid()
            if matched.context.activation == 'sigmoid'
            else logits.softmax(dim=1)
        )
        probs = probs.gather(1, labels[:, None])[:, 0]
        if self._of_images:
            return _means_of_images(probs, labels, images[kept], self.number)
        return probs, labels


def _means_of_images(
    probs: Tensor, labels: Tensor, images: Tensor, number: int
) -> Rows:
    """The mean over the pixels of each class of each image, and that class."""
    groups, inverse = (images * number + labels).unique(return_inverse=True)
    sums = probs.new_zeros(len(groups)).index_add(0, inverse, probs)
    counts = probs.new_zeros(len(groups)).index_add(0, inverse, torch.ones_like(probs))
    return sums / counts, groups % number
