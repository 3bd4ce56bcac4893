"""Noise on the teacher's logits, of Sau and Balasubramanian 2016."""

from dataclasses import replace

import torch
from torch import Tensor

from kd_plugins.checks import check_choice, check_float
from kd_plugins.errors import ConfigError, ShapeError
from kd_plugins.losses import LossContext
from kd_plugins.registry import TARGET_TRANSFORMS
from kd_plugins.target_transforms._base import ComparedRows, TargetTransform
from kd_plugins.target_transforms._random import stream_of

GRANULARITIES = ('image', 'level', 'row')


def noisy_logits(logits: Tensor, noise: Tensor) -> Tensor:
    r"""Logits, each enlarged or diminished by a share of itself.

    .. math:: z'_{i,c} = (1 + \xi_{i,c}) \, z_{i,c}

    Args:
        logits: shape (M, K), or maps (N, K, H, W).
        noise: of each number, same shape, or one that is broadcast to it: (N, K, 1, 1)
            is the same noise on all pixels of a map. 0 leaves a number as it is.

    Returns: same shape.
    Raises: ShapeError for noise that does not fit.
    Source: Sau and Balasubramanian, Deep Model Compression: Distilling Knowledge from
        Noisy Teachers, 2016, https://arxiv.org/abs/1610.09650.

    Example:
        >>> noise = torch.tensor([[0.1, -0.2, 0.3]])
        >>> noisy_logits(torch.tensor([[2.0, 1.0, 0.0]]), noise)
        tensor([[2.2000, 0.8000, 0.0000]])
    """
    fits = noise.dim() == logits.dim() and all(
        side in (1, expected)
        for side, expected in zip(noise.shape, logits.shape, strict=True)
    )
    if not fits:
        raise ShapeError(
            f'noise must be {tuple(logits.shape)}, or 1 along some axes, got '
            f'{tuple(noise.shape)}.'
        )
    return logits * (1 + noise)


@TARGET_TRANSFORMS.register_module()
class NoisyTeacherTransform(TargetTransform):
    """Normal noise on some samples of the teacher, drawn anew at each step.

    In expectation it changes no gradient of :class:`~kd_plugins.losses.LogitL2Loss`,
    which the paper takes without the labels' loss: it adds noise to the gradient, as
    large as the logits are. It depends on the offset of the logits, which a softmax
    ignores. The stream is the pair's own, and other on each process.

    Args:
        noise_std: standard deviation of the noise, >= 0, no unit. (The paper varies a
            sigma that its readers take for the variance, or for its root.)
        share: of the samples that have noise, from 0 to 1 (the paper's alpha: 0.15 for
            MNIST and SVHN, 0.5 for CIFAR-10).
        granularity: what a sample is. 'image': all rows of an image have the same
            noise, one number a class, at all levels of the pair; 'level': at each level
            another; 'row': each RoI, pixel or point by itself. Of very many rows the
            noise of each by itself averages out.

    Raises: ConfigError for invalid values.
    """

    def __init__(
        self, noise_std: float = 0.2, share: float = 0.5, granularity: str = 'image'
    ) -> None:
        self.noise_std = check_float('noise_std', noise_std)
        self.share = check_float('share', share)
        if self.share > 1:
            raise ConfigError(f'share must be a number from 0 to 1, got {share!r}.')
        self.granularity = check_choice('granularity', granularity, GRANULARITIES)

    def __call__(self, rows: ComparedRows, context: LossContext) -> ComparedRows:
        """The rows with noise on the teacher's logits.

        Raises: ShapeError for rows of which it is not known which image they are of,
            but for ``granularity='row'``.
        """
        teacher = rows.teacher
        places = () if self.granularity == 'image' else (context.level, context.stage)
        stream = stream_of(context, teacher.device, *places)
        if self.granularity == 'row':
            noise = self._draw(tuple(teacher.shape), stream)
        else:
            images, number = images_of(rows, context)
            noise = self._draw((number, teacher.shape[1]), stream)[images]
            noise = noise.view(*noise.shape, *[1] * (teacher.dim() - 2))
        changed = noisy_logits(teacher.detach(), noise.to(teacher.dtype))
        return replace(rows, teacher=changed)

    def _draw(self, shape: tuple[int, ...], stream: torch.Generator) -> Tensor:
        """Noise (S, K, ...): of a sample that is not chosen 0."""
        device = stream.device
        one = (shape[0], 1, *shape[2:])
        chosen = torch.rand(one, generator=stream, device=device) < self.share
        noise = torch.randn(shape, generator=stream, device=device)
        return noise * chosen * self.noise_std


def images_of(rows: ComparedRows, context: LossContext) -> tuple[Tensor, int]:
    """The number of the image that each entry of dimension 0 is of; how many there are.

    Of maps without a step each is an image; with one, an image has as many maps as
    another (its anchors).

    Raises: ShapeError for rows of unknown images.
    """
    inputs = context.step.inputs
    if rows.images is not None:
        number = len(inputs) if inputs is not None else int(rows.images.max()) + 1
        return rows.images, number
    if rows.teacher.dim() != 4:
        raise ShapeError(
            "it is not known which image a row is of. Set granularity='row' in "
            'target_transform, or use a view that knows it: roi.logits, head.logits or '
            'seg.logits.'
        )
    maps = len(rows.teacher)
    number = maps if inputs is None else max(len(inputs), 1)
    index = torch.arange(maps, device=rows.teacher.device)
    return index // max(maps // number, 1), number
