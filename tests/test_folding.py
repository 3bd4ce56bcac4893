"""Batch norms are folded where it is certain what they read, and nowhere else."""

from collections.abc import Callable

import pytest
import torch
from mmcv.cnn import ConvModule
from mmdet.models.backbones.resnet import BasicBlock, Bottleneck
from torch import Tensor, nn
from torch.testing import assert_close

from kd_plugins.folding import fold_batch_norms


class PreActivated(nn.Module):
    """A norm before its convolution: bn1 reads what comes in."""

    def __init__(self) -> None:
        super().__init__()
        self.bn1, self.conv1 = nn.BatchNorm2d(4), nn.Conv2d(4, 4, 3)
        self.bn2, self.conv2 = nn.BatchNorm2d(4), nn.Conv2d(4, 4, 3)

    def forward(self, feature: Tensor) -> Tensor:
        feature = self.conv1(self.bn1(feature).relu())
        return self.conv2(self.bn2(feature).relu())


class Shared(nn.Module):
    """Levels of one convolution and a norm each, as heads of RTMDet have them."""

    def __init__(self) -> None:
        super().__init__()
        self.levels = nn.ModuleList(
            ConvModule(4, 4, 3, norm_cfg=dict(type='BN')) for _ in range(2)
        )
        self.levels[1].conv = self.levels[0].conv

    def forward(self, feature: Tensor) -> Tensor:
        return self.levels[0](feature) + self.levels[1](feature)


class SharedWeight(Shared):
    def __init__(self) -> None:
        super().__init__()
        own = nn.Conv2d(4, 4, 3, bias=False)
        own.weight = self.levels[0].conv.weight
        self.levels[1].conv = own


def activated_first() -> nn.Module:
    order = ('conv', 'act', 'norm')
    return ConvModule(4, 4, 3, norm_cfg=dict(type='BN'), order=order)


def normed(spectral: bool = False) -> Callable[[], nn.Module]:
    norm = dict(type='BN')
    return lambda: ConvModule(4, 4, 3, norm_cfg=norm, with_spectral_norm=spectral)


def stats(model: nn.Module) -> nn.Module:
    """Random statistics and affine maps: those of a new norm change nothing."""
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            if module.track_running_stats:
                module.running_mean.normal_()
                module.running_var.uniform_(0.5, 2)
            if module.affine:
                nn.init.uniform_(module.weight, 0.5, 2)
                nn.init.normal_(module.bias)
    return model.eval().requires_grad_(False)


def sequential(*between: nn.Module) -> Callable[[], nn.Module]:
    return lambda: nn.Sequential(nn.Conv2d(4, 4, 3), *between, nn.BatchNorm2d(4))


@pytest.mark.parametrize(
    ('build', 'number'),
    [
        (normed(), 1),
        (normed(spectral=True), 0),
        (activated_first, 0),
        (sequential(), 1),
        (sequential(nn.ReLU()), 0),
        (lambda: nn.Sequential(nn.Conv2d(4, 4, 3), nn.BatchNorm2d(4, affine=False)), 1),
        (
            lambda: nn.Sequential(
                nn.Conv2d(4, 4, 3), nn.BatchNorm2d(4, track_running_stats=False)
            ),
            0,
        ),
        (lambda: nn.Sequential(nn.Conv2d(4, 4, 3), nn.SyncBatchNorm(4)), 1),
        (lambda: nn.Sequential(nn.Conv2d(4, 4, 3), nn.GroupNorm(2, 4)), 0),
        (lambda: BasicBlock(4, 4), 2),
        (lambda: Bottleneck(4, 1), 3),
        (PreActivated, 0),
        (Shared, 0),
        (SharedWeight, 0),
    ],
)
def test_the_result_stays_and_so_many_are_folded(
    build: Callable[[], nn.Module], number: int
) -> None:
    model = stats(build())
    feature = torch.randn(2, 4, 9, 9)
    expected = model(feature)
    paths = [name for name, _ in model.named_modules()]
    assert fold_batch_norms(model) == number
    assert_close(model(feature), expected, rtol=1e-4, atol=1e-5)
    assert [name for name, _ in model.named_modules()] == paths
    assert sum(isinstance(item, nn.Identity) for item in model.modules()) == number
    assert not any(item.requires_grad for item in model.parameters())


@pytest.mark.parametrize('kept', ['stage.conv1', 'stage.bn1'])
def test_what_is_recorded_stays(kept: str) -> None:
    block = stats(BasicBlock(4, 4))
    assert fold_batch_norms(block, 'stage', [kept]) == 1
    assert isinstance(block.bn1, nn.BatchNorm2d)
    assert isinstance(block.bn2, nn.Identity)
