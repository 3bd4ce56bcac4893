"""Receptive tokens: learned vectors that mask a feature by how alike its cells are."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from kd_plugins.checkpoints import read_checkpoint, state_dict_of
from kd_plugins.errors import CheckpointError

# In a checkpoint of a mask learner, before <name>.<level>.<parameter>.
_MASKS = 'masks'


class ReceptiveTokens(nn.Module):
    """Masks of a feature (N, C, H, W), and how much each of them counts in an image.

    Args:
        channels: C, >= 1.
        tokens: n, how many masks, >= 1.
        weighted: learn how much each counts; else all count the same.

    Source: Huang et al., Masked Distillation with Receptive Tokens, ICLR 2023,
        https://arxiv.org/abs/2205.14589.
    """

    def __init__(self, channels: int, tokens: int = 6, weighted: bool = True) -> None:
        super().__init__()
        self.tokens = nn.Parameter(0.01 * torch.randn(tokens, channels))
        self.weighting: nn.Module | None = None
        if weighted:
            self.weighting = nn.Sequential(
                nn.Conv2d(channels, channels, kernel_size=3, padding=1),
                nn.AdaptiveAvgPool2d(1),
                nn.Conv2d(channels, tokens, kernel_size=1),
            )

    def masks(self, feature: Tensor) -> Tensor:
        """Between 0 and 1, shape (N, n, H, W); of a feature of zeros 1/2."""
        return torch.einsum('tc,nchw->nthw', self.tokens, feature).sigmoid()

    def weights(self, feature: Tensor) -> Tensor:
        """How much each mask counts in the distance, shape (N, n); 1 in each image."""
        if self.weighting is None:
            count = len(self.tokens)
            return feature.new_full((len(feature), count), 1 / count)
        weights: Tensor = self.weighting(feature).flatten(1).softmax(dim=1)
        return weights

    def forward(self, feature: Tensor) -> tuple[Tensor, Tensor]:
        """The feature, masked by all of them as they count; and the masks.

        Where no weight is learned this is the sum over masks, not their mean: masks
        that share the places out between them leave the whole feature, so that they
        come apart; of their mean only masks that are all 1 would.
        """
        masks = self.masks(feature)
        # One map for all channels: (N, n, C, H, W) is never made.
        if self.weighting is None:
            seen = masks.sum(dim=1)
        else:
            seen = torch.einsum('nt,nthw->nhw', self.weights(feature), masks)
        return feature * seen.unsqueeze(1), masks


def tokens_by_level(path: str, name: str) -> dict[int, ReceptiveTokens]:
    """Tokens that were learned, frozen, by level.

    Args:
        path: checkpoint of a :class:`~kd_plugins.models.MaskLearner`.
        name: under which they were learned there.

    Raises: CheckpointError if there is no such file, or it holds none of this name.
    """
    weights = state_dict_of(read_checkpoint(path), path)
    found: dict[str, dict[int, dict[str, Tensor]]] = {}
    for entry, value in weights.items():
        prefix, owner, level, parameter = [*entry.split('.', 3), '', '', ''][:4]
        if prefix == _MASKS and parameter:
            levels = found.setdefault(owner, {})
            levels.setdefault(int(level), {})[parameter] = value
    if not found:
        shown = ', '.join(f"'{entry}'" for entry in list(weights)[:3])
        raise CheckpointError(
            f"'{path}' holds no masks: expected a checkpoint of a model of type "
            f'kd_plugins.MaskLearner, as configs/maskd has it. It holds {shown}, ...'
        )
    if name not in found:
        names = ', '.join(f"'{known}'" for known in found)
        raise CheckpointError(
            f"'{path}' holds masks of {names}, none of '{name}'. Name the pair "
            f'so, or set learned_as of its loss to one of these.'
        )
    return {level: _built(state) for level, state in sorted(found[name].items())}


def _built(state: Mapping[str, Tensor]) -> ReceptiveTokens:
    count, channels = state['tokens'].shape
    tokens = ReceptiveTokens(channels, count, weighted=len(state) > 1)
    tokens.load_state_dict(state)
    tokens.requires_grad_(False)
    return tokens
