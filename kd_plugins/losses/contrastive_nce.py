"""Parts of contrastive distillation of whole images, of Tian et al. 2020.

No registered loss uses them: a bank of all images needs the index of each image in the
data set, which the hosts do not give. A training loop of one's own can use them.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from kd_plugins.checks import check_float, check_int, check_same_shape
from kd_plugins.errors import ShapeError
from kd_plugins.losses._reductions import float32_rows, reduce_loss, unit_vectors


def contrastive_nce(
    similarities: Tensor,
    *,
    num_data: int,
    normalizer: float | Tensor,
    temperature: float = 0.07,
    reduction: str = 'mean',
) -> Tensor:
    r"""Classification of an image against K others of a bank of images: the paper's h.

    .. math:: h_i = -\log \frac{o_{i0}}{o_{i0} + c}
        - \sum_{k=1}^{K} \log \frac{c}{o_{ik} + c}, \qquad
        o = e^{v^\top m / \tau} / Z, \quad c = K / n

    Args:
        similarities: inner products of each image's embedding v with rows m of the
            bank of the other model, shape (B, 1 + K): first the row of the same image,
            then those of other images.
        num_data: n, images in the data set, >= 1.
        normalizer: Z, > 0: :func:`nce_normalizer` of the first batch, then constant.
        temperature: > 0, no unit.
        reduction: 'none', 'mean' or 'sum', over images.

    Returns: nats; a scalar, or shape (B,) for 'none'. The paper adds two of them: the
        student's embeddings with the teacher's bank, and the reverse.
    Raises: ShapeError for another shape; ConfigError for invalid values.
    Source: Tian et al., Contrastive Representation Distillation, ICLR 2020,
        https://arxiv.org/abs/1910.10699. The authors' code adds 1e-7 to c, which log
        space does not need.

    Example:
        >>> import torch
        >>> likeness = torch.tensor([[0.5, 0.1, 0.1]]).log()
        >>> contrastive_nce(likeness, num_data=10, normalizer=1.0, temperature=1.0)
        tensor(1.1474)
    """
    check_int('num_data', num_data)
    check_float('temperature', temperature, strict=True)
    if similarities.dim() != 2 or similarities.shape[1] < 2:
        raise ShapeError(
            f'similarities must be (B, 1 + K), K >= 1, got {tuple(similarities.shape)}.'
        )
    with float32_rows(similarities) as (similarities,):
        chance = (similarities.shape[1] - 1) / num_data
        level = torch.as_tensor(normalizer * chance).to(similarities).log()
        ratio = similarities / temperature - level  # log (o / c)
        each = F.softplus(-ratio[:, 0]) + F.softplus(ratio[:, 1:]).sum(dim=1)
        return reduce_loss(each, reduction)


def nce_normalizer(
    similarities: Tensor, *, num_data: int, temperature: float = 0.07
) -> Tensor:
    r"""Z of :func:`contrastive_nce`: n times the mean of :math:`e^{v^\top m / \tau}`.

    Arguments: as of :func:`contrastive_nce`.
    Returns: scalar; keep it, also in every checkpoint.

    Example:
        >>> import torch
        >>> nce_normalizer(torch.zeros(4, 3), num_data=50)
        tensor(50.)
    """
    with float32_rows(similarities.detach()) as (similarities,):
        return num_data * (similarities / temperature).exp().mean()


def blend_into_bank(rows: Tensor, embeddings: Tensor, momentum: float = 0.5) -> Tensor:
    """New rows of a bank: a blend of old rows and embeddings, at length 1.

    Args:
        rows: of the bank, shape (B, D).
        embeddings: of the same images, same shape; they get no gradient.
        momentum: share of the old row.

    Raises: ShapeError if the shapes differ.

    Example:
        >>> import torch
        >>> blend_into_bank(torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 1.0]]))
        tensor([[0.7071, 0.7071]])
    """
    check_same_shape(rows, embeddings, layout='RC', names=('rows', 'embeddings'))
    return unit_vectors(momentum * rows + (1 - momentum) * embeddings.detach().to(rows))
