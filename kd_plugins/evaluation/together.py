"""Segmentors that are scored as one."""

import copy
from collections.abc import Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn

from ..errors import ConfigError
from ..host_types import HostModule


class MeanSegmentor(nn.Module):
    """Predicts by the mean of the class probabilities of several segmentors.

    Args:
        members: segmentors of one configuration, each with weights of its own.

    Source: Furlanello et al., Born-Again Neural Networks, ICML 2018, section 3.2: the
        ensemble of generations, https://arxiv.org/abs/1805.04770. The mean is that of
        the probabilities, as a member gives them at the size of the image.
    """

    def __init__(self, members: Sequence[HostModule]) -> None:
        super().__init__()
        self.members = nn.ModuleList(members)

    @property
    def _each(self) -> list[HostModule]:
        return cast(list[HostModule], list(self.members))

    def test_step(self, data: dict[str, Any]) -> list[Any]:
        """The data samples of a batch, with a label map in ``pred_sem_seg``.

        Their ``seg_logits`` are the logarithms of the mean probabilities; of one class
        the mean probability itself, as the host keeps there what it has judged.

        Raises: ConfigError for members that predict no class of a pixel.
        """
        predicted = []
        for member in self._each:  # which write what they predict into the samples
            predicted.append(member.test_step(copy.deepcopy(data)))
        return [self._merged(samples) for samples in zip(*predicted, strict=True)]

    def _merged(self, samples: Sequence[Any]) -> Any:
        first = samples[0]
        if 'seg_logits' not in first:
            raise ConfigError(
                'several are scored as one by the mean of what they say of each pixel: '
                'expected a segmentor, got a model that predicts '
                f'{sorted(first.keys())}. Give one checkpoint.',
                'checkpoint',
            )
        logits = mean_logits([sample.seg_logits.data for sample in samples])
        # The host decides by its own rule which class, or whether the one.
        (decided,) = self._each[0].postprocess_result(logits[None])
        first.set_data(dict(decided.items()))
        return first


def mean_logits(logits: Sequence[Tensor]) -> Tensor:
    """Logits whose probabilities are the mean of those of several members.

    Args:
        logits: as the host keeps them, each (K, H, W): of K classes their logits; of
            one class, K = 1, its probability.

    Returns: (K, H, W): log probabilities, or log odds.
    """
    stacked = torch.stack(list(logits))
    if stacked.shape[1] == 1:
        return stacked.mean(dim=0).logit()
    return stacked.softmax(dim=1).mean(dim=0).log()
