"""A decode head that learns from two label maps of each image."""

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.testing import assert_close

from kd_plugins.engine.mixed_labels import decode_heads, mixed_labels, second_map
from kd_plugins.engine.mixup import Mix
from kd_plugins.errors import ConfigError
from kd_plugins.registry import MODELS
from tests.distillers.tiny_seg import CLASSES, head, segment_batch, segmentor


def built(**changes: Any) -> Any:
    torch.manual_seed(0)
    model = MODELS.build(segmentor(**changes))
    model.init_weights()
    return model.train()


@pytest.fixture(scope='module')
def model() -> Any:
    return built()


LOGITS = torch.randn(2, CLASSES, 32, 32, generator=torch.Generator().manual_seed(1))


def cross_entropy(labels: Tensor) -> Tensor:
    """Of each pixel; 0 of those that are ignored."""
    return F.cross_entropy(
        LOGITS, labels.squeeze(1), ignore_index=255, reduction='none'
    )


def test_both_maps_by_hand(model: Any) -> None:
    samples = segment_batch(model)['data_samples']
    maps = [sample.gt_sem_seg.data for sample in samples]  # 64 of the first ignored
    mixes = [Mix(1, 0.25), Mix(0, 0.6)]
    seconds = [second_map(mix, at, maps) for at, mix in enumerate(mixes)]
    with mixed_labels([model.decode_head], seconds):
        losses = model.decode_head.loss_by_feat(LOGITS, samples)
    first, second = (cross_entropy(torch.stack(each)) for each in (maps, maps[::-1]))
    weights = torch.tensor([0.25, 0.6])[:, None, None]
    expected = (weights * first + (1 - weights) * second).mean()
    assert_close(losses['loss_ce'], expected)
    plain = model.decode_head.loss_by_feat(LOGITS, samples)
    assert_close(plain['loss_ce'], first.mean())
    assert_close(losses['acc_seg'], plain['acc_seg'], rtol=0, atol=0)


def test_what_is_not_mixed_is_learned_as_ever(model: Any) -> None:
    samples = segment_batch(model)['data_samples']
    maps = [sample.gt_sem_seg.data for sample in samples]
    seconds = [second_map(Mix(at, 1.0), at, maps) for at in range(2)]
    with mixed_labels([model.decode_head], seconds):
        losses = model.decode_head.loss_by_feat(LOGITS, samples)
    plain = model.decode_head.loss_by_feat(LOGITS, samples)
    assert_close(losses['loss_ce'], plain['loss_ce'], rtol=0, atol=0)


def test_a_smaller_second_map_leaves_the_rest_to_the_first(model: Any) -> None:
    samples = segment_batch(model)['data_samples']
    maps = [samples[0].gt_sem_seg.data[:, :24], samples[1].gt_sem_seg.data[..., :16]]
    # Both padded to 32 pixels a side, as the preprocessor does it.
    for sample, labels in zip(samples, maps, strict=True):
        edges = (0, 32 - labels.shape[2], 0, 32 - labels.shape[1])
        sample.gt_sem_seg.data = F.pad(labels, edges, value=255)
    seconds = [second_map(Mix(1, 0.25), 0, maps), second_map(Mix(1, 1.0), 1, maps)]
    with mixed_labels([model.decode_head], seconds):
        losses = model.decode_head.loss_by_feat(LOGITS, samples)
    one, two = (sample.gt_sem_seg.data for sample in samples)
    shared = torch.zeros(32, 32)
    shared[:24, :16] = 1
    first, second = (cross_entropy(torch.stack([each, two])) for each in (one, two))
    of_first = first[0] * (1 - 0.75 * shared) + second[0] * 0.75 * shared
    assert_close(losses['loss_ce'], torch.stack([of_first, first[1]]).mean())


def test_a_sampler_of_the_heads_own_counts_as_well() -> None:
    hard = dict(type='mmseg.OHEMPixelSampler', thresh=0.7, min_kept=100)
    decode = head('FCNHead', 8, num_convs=1, sampler=hard)
    model = built(decode=decode)
    samples = segment_batch(model)['data_samples']
    maps = [sample.gt_sem_seg.data for sample in samples]
    seconds = [second_map(Mix(1 - at, 0.5), at, maps) for at in range(2)]
    own = model.decode_head.sampler
    with mixed_labels([model.decode_head], seconds):
        losses = model.decode_head.loss_by_feat(LOGITS, samples)
    assert model.decode_head.sampler is own
    expected = torch.zeros(())
    for each in (torch.stack(maps), torch.stack(maps[::-1])):
        kept = own.sample(LOGITS, each)
        expected = expected + (0.5 * kept * cross_entropy(each)).mean()
    assert_close(losses['loss_ce'], expected)


def test_all_heads_and_no_other_loss() -> None:
    assert len(decode_heads(built())) == 2
    dice = head('FCNHead', 8, num_convs=1, loss_decode=dict(type='mmseg.DiceLoss'))
    with pytest.raises(
        ConfigError, match=r'CrossEntropyLoss, .*; FCNHead has DiceLoss'
    ):
        decode_heads(built(decode=dice))
