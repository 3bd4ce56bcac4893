"""Receptive tokens: learned vectors that mask a feature by its pixels' similarity."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from kd_plugins.checkpoints import read_checkpoint, state_dict_of
from kd_plugins.errors import CheckpointError

# In a checkpoint of a mask learner, before <name>.<level>.<parameter>.
_MASKS = 'masks'


class ReceptiveTokens(nn.Module):
    """Masks of a feature (N, C, H, W), and the weight of each mask in an image.

    Args:
        channels: C, >= 1.
        tokens: n, number of masks, >= 1.
        weighted: whether the weights are learned; else all are equal.

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
        """Masks between 0 and 1, shape (N, n, H, W); 1/2 for a feature of zeros."""
        return torch.einsum('tc,nchw->nthw', self.tokens, feature).sigmoid()

    def weights(self, feature: Tensor) -> Tensor:
        """Weights of the masks in the distance, shape (N, n); their sum is 1."""
        if self.weighting is None:
            count = len(self.tokens)
            return feature.new_full((len(feature), count), 1 / count)
        weights: Tensor = self.weighting(feature).flatten(1).softmax(dim=1)
        return weights

    def forward(self, feature: Tensor) -> tuple[Tensor, Tensor]:
        """The feature, multiplied by the weighted sum of the masks; and the masks.

        Without learned weights it is the sum of the masks, not their mean: disjoint
        masks that cover the map then keep the whole feature. With the mean, only masks
        that are 1 everywhere would, and all masks would become equal.
        """
        masks = self.masks(feature)
        # One map for all channels: (N, n, C, H, W) is never made.
        if self.weighting is None:
            visible = masks.sum(dim=1)
        else:
            visible = torch.einsum('nt,nthw->nhw', self.weights(feature), masks)
        return feature * visible.unsqueeze(1), masks


def tokens_by_level(path: str, name: str) -> dict[int, ReceptiveTokens]:
    """The learned tokens of a checkpoint, frozen, by level.

    Args:
        path: checkpoint of a :class:`~kd_plugins.models.MaskLearner`.
        name: of the tokens in the checkpoint.

    Raises: CheckpointError if the file does not exist, or has no tokens of this name.
    """
    weights = state_dict_of(read_checkpoint(path), path)
    states: dict[str, dict[int, dict[str, Tensor]]] = {}
    for entry, value in weights.items():
        prefix, owner, level, parameter = [*entry.split('.', 3), '', '', ''][:4]
        if prefix == _MASKS and parameter:
            levels = states.setdefault(owner, {})
            levels.setdefault(int(level), {})[parameter] = value
    if not states:
        shown = ', '.join(f"'{entry}'" for entry in list(weights)[:3])
        raise CheckpointError(
            f"'{path}' holds no masks: expected a checkpoint of a model of type "
            f'kd_plugins.MaskLearner, as configs/maskd has it. It holds {shown}, ...'
        )
    if name not in states:
        names = ', '.join(f"'{entry}'" for entry in states)
        raise CheckpointError(
            f"'{path}' holds masks of {names}, none of '{name}'. Name the pair "
            f'so, or set learned_as of its loss to one of these.'
        )
    return {level: _built(state) for level, state in sorted(states[name].items())}


def _built(state: Mapping[str, Tensor]) -> ReceptiveTokens:
    count, channels = state['tokens'].shape
    tokens = ReceptiveTokens(channels, count, weighted=len(state) > 1)
    tokens.load_state_dict(state)
    tokens.requires_grad_(False)
    return tokens
