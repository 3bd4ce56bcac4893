"""Types of a pair's parts: subclasses, classes themselves, names with their scope."""

from dataclasses import replace
from typing import Any

import pytest
from torch import Tensor

from kd_plugins.adapters import ConvAdapter
from kd_plugins.distillers.pair import optional_inputs
from kd_plugins.errors import ConfigError
from kd_plugins.losses import HintLoss
from kd_plugins.registry import ADAPTERS, LOSSES, MODELS, VIEWS
from kd_plugins.views import BoundView, Probe, RoILogitsView

from .tiny import config, distiller, faster_rcnn, hint, losses_of, teacher_of

KD = dict(type='KDLoss')
LOGITS = dict(view='roi.logits', loss=KD)


def refused(message: str, pairs: Any, **options: Any) -> None:
    with pytest.raises(ConfigError, match=message):
        MODELS.build(config(pairs, **options))


def test_a_class_of_ones_own_is_a_type_too() -> None:
    model = distiller(dict(a=dict(layer='neck', loss=dict(type=HintLoss))))
    assert losses_of(model)['loss_kd_a'] > 0


def test_scope_may_be_written_out() -> None:
    pair = dict(
        view=dict(type='kd_plugins.roi.logits', stage=0),
        loss=dict(type='kd_plugins.KDLoss'),
    )
    losses = losses_of(distiller(dict(a=pair, b=LOGITS)))
    assert losses['loss_kd_a'] == losses['loss_kd_b'] > 0
    shorthand = dict(pair, view='kd_plugins.roi.logits')
    assert losses_of(distiller(dict(a=shorthand)))['loss_kd_a'] > 0


@LOSSES.register_module()
class HalvedHintLoss(HintLoss):
    """Passes on what it does not name, as a subclass may."""

    def __init__(self, factor: float = 0.5, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.factor = factor

    def forward(self, *args: Any, **kwargs: Any) -> Tensor:
        return self.factor * super().forward(*args, **kwargs)


@ADAPTERS.register_module()
class ScaledAdapter(ConvAdapter):
    def __init__(self, scale: float = 2.0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.scale = scale


class OwnLogitsView(RoILogitsView):
    def __init__(self, depth: int = 1, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.depth = depth

    def bind(self, probe: Probe) -> BoundView:
        bound = super().bind(probe)
        (spec,) = bound.tensors
        return replace(bound, tensors=(replace(spec, name=f'depth {self.depth}'),))


def test_subclasses_take_the_arguments_of_their_bases(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # For this test alone: others list all views that there are.
    monkeypatch.setitem(VIEWS.module_dict, 'OwnLogitsView', OwnLogitsView)
    pairs = dict(
        hint=dict(
            layer='neck',
            loss=dict(type='HalvedHintLoss', loss_weight=2.0, factor=0.25),
            adapter=dict(type='ScaledAdapter', kernel_size=3, scale=3.0),
        ),
        roi=dict(view=dict(type='OwnLogitsView', stage=0, depth=2), loss=KD),
        plain=LOGITS,
    )
    model = distiller(pairs, teacher=teacher_of(faster_rcnn(width=16)))
    hint_, plain, roi = model.pairs
    assert (hint_.loss.loss_weight, hint_.loss.factor) == (2.0, 0.25)
    assert model.adapters['hint'][0].scale == 3.0
    assert model.adapters['hint'][0].conv.weight.shape == (16, 8, 3, 3)
    names = [[spec.name for spec in pair.tensors] for pair in (roi, plain)]
    assert names == [['depth 2'], ['roi.logits']]
    assert optional_inputs(hint_.loss) == optional_inputs(HintLoss()) != ()
    refused(
        r"HalvedHintLoss has no argument 'nrm'. Close: 'norm'",
        dict(a=dict(layer='neck', loss=dict(type='HalvedHintLoss', nrm='l1'))),
    )


@pytest.mark.parametrize('kind', ['kd_plugins.ConvAdapter', ConvAdapter])
def test_adapters_take_their_channels_however_they_are_named(kind: Any) -> None:
    wide = teacher_of(faster_rcnn(width=16))
    model = distiller(dict(a=hint(adapter=dict(type=kind))), teacher=wide)
    assert losses_of(model)['loss_kd_a'] > 0
    refused(
        r"a.view: RoILogitsView has no argument 'stge'. Close: 'stage'",
        dict(a=dict(view=dict(type=RoILogitsView, stge=1), loss=KD)),
    )
