"""Every view over one head of each kind: it serves, or its refusal says what does."""

import re
from typing import Any
from unittest import mock

import pytest
from mmengine.logging import MessageHub
from mmengine.registry import init_default_scope

from kd_plugins.distillers.pair_config import build_pairs
from kd_plugins.errors import ConfigError
from kd_plugins.registry import MODELS
from kd_plugins.views import binding
from tests.distillers import tiny_seg
from tests.distillers.tiny import config, teacher_of
from tests.views.kinds import MAIN, MORE, Kind, batch, config_of

# Of each view a loss that can compare what it gives.
HINT = dict(type='HintLoss')
VIEWS: dict[str, dict[str, Any]] = {
    'roi.logits': HINT,
    'roi.deltas': HINT,
    'roi.features': HINT,
    'roi.masks': HINT,
    'rpn.logits': HINT,
    'rpn.deltas': HINT,
    'head.logits': HINT,
    'head.deltas': HINT,
    'head.distributions': dict(type='LDLoss'),
    'cross.logits': HINT,
    'cross.boxes': dict(type='BoxIoULoss'),
    'cross.distributions': dict(type='LDLoss'),
    'cross.centerness': HINT,
    'encoder.memory': HINT,
    'seg.logits': HINT,
    'seg.features': HINT,
    'seg.gradient': dict(type='GradientATLoss'),
    'depth.map': HINT,
}
# What an error of the code's own, quoted or not, would look like.
INNER = re.compile(r'[A-Z]\w+Error|has no attribute|out of range|NoneType|Traceback')
PROPOSED = re.compile(r"(view|layer)='([\w.]+)'")
LIST = 'Of these two models can be compared: '


def pair(key: str, name: str) -> dict[str, Any]:
    return {key: name, 'loss': VIEWS.get(name, HINT)}


class Refusals:
    """Which views serve two models of one kind, and what the others answer."""

    def __init__(self, kind: Kind) -> None:
        init_default_scope('mmdet')
        self.kind = kind
        self.model = self.distiller({})
        self.served: dict[str, dict[str, Any]] = {}
        self.messages: dict[str, str] = {}
        probes: list[list[str]] = []
        comparable = binding.comparable

        def once(probe: Any) -> list[str]:
            if not probes:
                probes.append(comparable(probe))
            return probes[0]

        with mock.patch.object(binding, 'comparable', once):
            for view in VIEWS:
                self.attempt('view', view)
        (self.proposed,) = probes

    def distiller(self, pairs: Any) -> Any:
        student, teacher = config_of(self.kind), config_of(self.kind)
        return MODELS.build(
            dict(
                type='kd_plugins.Distiller',
                student=student,
                teacher=teacher_of(teacher),
                pairs=pairs,
            )
        )

    def attempt(self, key: str, name: str) -> None:
        """Build the pair; a refusal is kept, any other error goes on."""
        pairs = {re.sub(r'\W', '_', name): pair(key, name)}
        try:
            build_pairs(pairs, self.model.student, self.model.teachers)
            self.served |= pairs
        except ConfigError as error:
            self.messages[name] = str(error)

    def train(self) -> dict[str, Any]:
        """Losses of all pairs that were built, in one step."""
        model = self.distiller(self.served)
        model.init_weights()
        hub = MessageHub.get_current_instance()
        for key, value in dict(epoch=0, max_epochs=2, iter=0, max_iters=2).items():
            hub.update_info(key, value)  # as the runner does
        losses = model.train()(**batch(model, self.kind), mode='loss')
        return {key: value for key, value in losses.items() if 'loss_kd_' in key}


KINDS = [
    *(
        pytest.param(kind, id=name, marks=pytest.mark.host)
        for name, kind in MAIN.items()
    ),
    *(
        pytest.param(kind, id=name, marks=pytest.mark.slow)
        for name, kind in MORE.items()
    ),
]


@pytest.mark.filterwarnings(
    'ignore:DeprecationWarning. ',  # as mmdet begins its own
    'ignore:Sparse invariant checks are implicitly disabled',
    'ignore:In MMCV v1.4.4, we modified the default value',
    'ignore:This overload of addmm is deprecated',
)
@pytest.mark.parametrize('kind', KINDS)
def test_every_view_serves_or_says_what_does(kind: Kind) -> None:
    found = Refusals(kind)
    assert set(VIEWS) - set(found.messages) == set(kind.serves.split())
    # What is proposed is what was just seen to work, and layers, which are tried too.
    proposed = PROPOSED.findall(', '.join(found.proposed))
    assert {name for key, name in proposed if key == 'view'} == set(kind.serves.split())
    layers = [name for key, name in proposed if key == 'layer']
    assert layers
    for view, message in found.messages.items():
        name = view.replace('.', '_')
        assert message.startswith(f'model.pairs.{name}.view'), message
        assert not INNER.search(message), message
        assert message.endswith(f'{LIST}{", ".join(found.proposed)}.'), message
    for layer in layers:
        found.attempt('layer', layer)
        assert layer not in found.messages
    if kind.trains:
        losses = found.train()
        assert len(losses) == len(found.served)
        assert all(loss.isfinite() and loss.requires_grad for loss in losses.values())


@pytest.mark.host
@pytest.mark.parametrize(
    ('kind', 'view', 'message'),
    [
        ('grid', 'roi.deltas', r'Shared2FCBBoxHead predicts no box deltas \(with_reg='),
        (
            'seesaw',
            'roi.logits',
            r'SeesawLoss of .* \(custom_cls_channels\).* Set loss_c',
        ),
        (
            'double',
            'roi.features',
            'DoubleHeadRoIHead of FasterRCNN runs its box head in',
        ),
        ('solo', 'roi.masks', 'SOLO draws masks of whole images, by a SOLOHead'),
        ('solov2', 'roi.masks', 'SOLOv2 draws masks of whole images, by a SOLOV2Head'),
        ('yolact', 'roi.masks', 'YOLACT draws masks of whole images, by a YOLACTProto'),
        (
            'yolov3',
            'head.logits',
            'YOLOV3Head gives one map of boxes, objectness and cl',
        ),
        (
            'ssd',
            'head.logits',
            'SSDHead trains its classes by a softmax over them and t',
        ),
        (
            'tood',
            'head.logits',
            'TOODHead gives probabilities, and head.logits reads the',
        ),
        ('tood', 'head.deltas', 'bbox_head is a TOODHead with a DeltaXYWHBBoxCoder'),
        ('segmenter', 'seg.features', "does not classify pixels by its 'cls_seg'"),
        (
            'mask2former',
            'head.logits',
            'Mask2Former has no bbox_head; views of one-stag',
        ),
    ],
)
def test_what_is_wrong_is_said(kind: str, view: str, message: str) -> None:
    init_default_scope('mmdet')
    model = config_of(MAIN[kind])
    pairs = dict(a=pair('view', view))
    with pytest.raises(ConfigError, match=rf'^model\.pairs\.a\.view.*: .*{message}'):
        MODELS.build(config(pairs, model, teacher_of(model)))


@pytest.mark.host
def test_pisa_is_served_without_labels() -> None:
    init_default_scope('mmdet')
    model = config_of(MAIN['pisa'])
    pairs = dict(a=pair('view', 'roi.logits'))
    proposed = dict(type='roi.logits', roi_source='teacher')
    message = (
        r'\(student\): PISARoIHead assigns and weighs its targets .* compared: view='
        r"dict\(type='roi\.logits', roi_source='teacher'\)"
    )
    with pytest.raises(ConfigError, match=message):
        MODELS.build(config(pairs, model, teacher_of(model)))
    pairs['a']['view'] = proposed
    built = MODELS.build(config(pairs, model, teacher_of(model)))
    assert not built.pairs[0].view.has_target
    features = dict(a=pair('view', 'roi.features'))
    built = MODELS.build(config(features, model, teacher_of(model)))
    assert not built.pairs[0].view.has_target


def test_a_part_that_a_model_lacks_names_those_it_has() -> None:
    model = tiny_seg.segmentor()
    message = (
        r"EncoderDecoder has no layer 'neck'.* be compared: view='seg\.logits', .*l"
    )
    with pytest.raises(ConfigError, match=message):
        MODELS.build(config(dict(a=pair('layer', 'neck')), model, teacher_of(model)))


def test_points_of_pixels_have_a_coarse_map() -> None:
    points = tiny_seg.head('PointHead', 4, in_index=[0], in_channels=[4], num_fcs=1)
    coarse = tiny_seg.head('FCNHead', 8, num_convs=1)
    model = tiny_seg.segmentor(
        decode=[coarse, points], type='mmseg.CascadeEncoderDecoder', num_stages=2
    )
    pairs = dict(a=pair('view', 'seg.logits'))
    with pytest.raises(ConfigError, match=r'PointHead scores points .* Set stage=0'):
        MODELS.build(config(pairs, model, teacher_of(model)))
    pairs['a']['view'] = dict(type='seg.logits', stage=0)
    assert len(MODELS.build(config(pairs, model, teacher_of(model))).pairs) == 1


def test_two_faults_are_listed_with_one_proposal() -> None:
    model = tiny_seg.segmentor()
    pairs = dict(a=pair('layer', 'neck'))
    with pytest.raises(ConfigError) as caught:
        MODELS.build(config(pairs, model, teacher_of(model)))
    lines = str(caught.value).splitlines()
    assert [line.count(LIST) for line in lines] == [0, 1]
