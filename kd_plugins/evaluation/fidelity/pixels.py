"""Class logits of pixels: fidelity and calibration."""

import torch
from torch import Tensor

from .agreement import agreement, predictive_divergence
from .calibration import calibration_bins, calibration_error


def sample_pixels(labels: Tensor, ignore_index: int | None, number: int) -> Tensor:
    """Indices of labelled pixels: all, or a random sample without replacement.

    The sample is the same at each call, and uses no generator of the host.

    Args:
        labels: shape (H, W), or any other.
        ignore_index: label of the pixels that are left out; None: there is none.
        number: the most pixels, >= 1.

    Returns: indices into the flattened labels, ascending.
    """
    flat = labels.flatten()
    valid = torch.ones_like(flat, dtype=torch.bool)
    if ignore_index is not None:
        valid = flat != ignore_index
    indices = valid.nonzero()[:, 0]
    if len(indices) <= number:
        return indices
    generator = torch.Generator().manual_seed(len(indices))
    drawn = torch.randperm(len(indices), generator=generator)[:number].sort().values
    return indices[drawn.to(indices.device)]


class PixelFidelity:
    """Fidelity and calibration of class logits, summed over pixels.

    - ``agreement``: :func:`~kd_plugins.evaluation.fidelity.agreement`,
    - ``kl``: :func:`~kd_plugins.evaluation.fidelity.predictive_divergence`, in nats,
    - ``ece_student``, ``ece_teacher``: expected calibration error of the largest
      softmax probability.

    Without pixels the values are NaN.

    Source: Stanton et al., 2021, https://arxiv.org/abs/2106.05945, with
        pixels as samples.
    """

    def __init__(self) -> None:
        # Number of pixels, pixels of the same class, and divergence.
        self.sums = torch.zeros(3, dtype=torch.float64)
        self.counted = torch.zeros(2, 3, 10, dtype=torch.float64)

    def tensors(self) -> list[Tensor]:
        """The sums, to be added up over processes."""
        return [self.sums, self.counted]

    def add(self, student: Tensor, teacher: Tensor, labels: Tensor) -> None:
        """Add pixels.

        Args:
            student: logits, shape (M, K).
            teacher: same shape.
            labels: shape (M,).
        """
        rows = len(labels)
        if not rows:
            return
        self.sums += torch.tensor(
            [
                rows,
                # The mean is float32, and the number of rows may be large.
                round(float(agreement(student, teacher)) * rows),
                float(predictive_divergence(student, teacher, reduction='sum')),
            ],
            dtype=torch.float64,
        )
        for counted, logits in zip(self.counted, (student, teacher), strict=True):
            confidence, predicted = logits.softmax(dim=1).max(dim=1)
            counted += calibration_bins(confidence, predicted == labels).cpu()

    def values(self) -> dict[str, float]:
        """The values over all pixels, by name."""
        pixels, same, divergence = self.sums
        return {
            'agreement': float(same / pixels),
            'kl': float(divergence / pixels),
            'ece_student': float(calibration_error(self.counted[0])),
            'ece_teacher': float(calibration_error(self.counted[1])),
        }
