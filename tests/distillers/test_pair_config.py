"""Bad pairs are found when the distiller is built, all of them at once."""

from typing import Any

import pytest
from torch import Tensor, nn

from kd_plugins.errors import ConfigError
from kd_plugins.losses import HintLoss
from kd_plugins.registry import LOSSES, MODELS

from .tiny import config, distiller, faster_rcnn, hint, losses_of, teacher_of

KD = dict(type='KDLoss')
LOGITS = dict(view='roi.logits', loss=KD)


@LOSSES.register_module()
class BrokenLoss(HintLoss):
    def forward(self, student: Tensor, teacher: Tensor) -> Tensor:
        raise RuntimeError('Dimension out of range')


def refused(message: str, pairs: Any, **options: Any) -> None:
    with pytest.raises(ConfigError, match=message):
        MODELS.build(config(pairs, **options))


@pytest.mark.parametrize(
    ('pair', 'message'),
    [
        (
            dict(layr='neck', loss=KD),
            r"model.pairs.a: no key 'layr'. Close: 'layer'",
        ),
        (
            dict(loss=KD),
            r"model.pairs.a: needs either layer='neck' or view='roi.logits', got the "
            r"keys \['loss'\]",
        ),
        (dict(layer='neck', view='roi.logits', loss=KD), 'needs either layer='),
        (
            dict(view='roi.logits', levels=[0], loss=KD),
            "model.pairs.a.levels: goes with 'layer' only",
        ),
        (
            dict(view='roi.logits', value='input', loss=KD),
            "model.pairs.a.value: goes with 'layer' on",
        ),
        (
            dict(layer='neck', value='in', loss=KD),
            "model.pairs.a: value must be 'output' or 'input', got 'in'",
        ),
        (
            dict(layer='neck'),
            r"model.pairs.a: needs a loss, such as loss=dict\(type='HintLoss'\)",
        ),
        ('neck', r"model.pairs.a: must be a dict with 'layer' or 'view', and 'loss'"),
        (
            dict(layer='neck', loss='HintLoss'),
            r"model.pairs.a.loss: must be a dict with 'type', got 'HintLoss'",
        ),
        (
            dict(layer='neck', loss=dict(loss_weight=1)),
            r'model.pairs.a.loss: needs a type. There are: .*',
        ),
        (
            dict(layer='neck', loss=dict(type='HintLos')),
            r"model.pairs.a.loss.type: no 'HintLos'. Close: 'HintLoss'",
        ),
        (
            dict(layer='neck', loss=dict(type='HintLoss', nrm='l1')),
            r"model.pairs.a.loss: HintLoss has no argument 'nrm'. Close: 'norm'",
        ),
        (
            dict(layer='neck', loss=dict(type='HintLoss', loss_weight=-1)),
            r'model.pairs.a.loss: loss_weight must be a finite number >= 0, got -1',
        ),
        (
            dict(layer='neck', loss=dict(type='HintLoss', loss_weight=float('nan'))),
            r'model.pairs.a.loss: loss_weight must be a finite number >= 0, got nan',
        ),
        (
            dict(layer='neck', loss=dict(type='HintLoss', reduction='none')),
            r"model.pairs.a.loss.reduction: must be 'mean' or 'sum' in a pair",
        ),
        (
            dict(
                layer='neck',
                loss=dict(type='HintLoss', loss_weight=dict(type='LinerRamp')),
            ),
            r"model.pairs.a.loss.loss_weight.type: .*'LinerRamp'. Close: 'LinearRamp'",
        ),
        (
            dict(layer='neck', loss=dict(type=nn.L1Loss)),
            r'model.pairs.a.loss: L1Loss is no DistillationLoss. (Close|There)',
        ),
        (
            dict(view='roi.logit', loss=KD),
            r"model.pairs.a.view: no view 'roi.logit'. Close: 'roi.logits'",
        ),
        (dict(view='roi', loss=KD), r"no view 'roi'. Close: 'roi"),
        (dict(view='ropi.logits', loss=KD), r"no view 'ropi.logits'. Close: "),
        (
            dict(view=dict(type='roi.logit', stage=1), loss=KD),
            r"model.pairs.a.view: no view 'roi.logit'. Close: 'roi.logits'",
        ),
        (
            dict(view=dict(type='roi.logits', stge=1), loss=KD),
            r"model.pairs.a.view: roi.logits has no argument 'stge'. Close: 'stage'",
        ),
        (
            dict(view=3, loss=KD),
            r"model.pairs.a.view: must be a dict with 'type', got 3",
        ),
        (
            dict(view=dict(type='roi.logits', roi_source='me'), loss=KD),
            r"model.pairs.a.view: roi_source must be 'student', 'teacher' or 'union'",
        ),
        (
            dict(layer='neck', loss=dict(type='TeacherBoundedLoss')),
            r'model.pairs.a.loss: TeacherBoundedLoss needs the targets of the host, '
            r"and this pair has none. Use a view with targets, such as 'roi.deltas'",
        ),
        (
            dict(layer='neck', loss=dict(type='DeltaL2Loss')),
            r'model.pairs.a.loss at neck\[0\]: student must be \(R, D\), got \(1, 8',
        ),
        (
            dict(
                view='roi.logits',
                loss=dict(type='WeightedClassKDLoss', class_weights=[1, 1, 1]),
            ),
            r'model.pairs.a.loss at roi.logits: class_weights must have 4 entries',
        ),
        (
            dict(
                view='rpn.logits',
                loss=dict(type='WeightedClassKDLoss', class_weights=[1, 1, 1]),
            ),
            r'model.pairs.a.loss at rpn.logits: class_weights must have 2 entries',
        ),
        (
            dict(
                view='roi.logits',
                loss=dict(type='WeightedClassKDLoss', class_weights=0),
            ),
            r'model.pairs.a.loss: class_weights must be a list of numbers, got 0',
        ),
        (
            dict(view='rpn.logits', loss=dict(type='TeacherBoundedLoss')),
            r'model.pairs.a.loss at rpn.logits: target must be \(R, D\), got \(2,\)',
        ),
        (
            dict(layer='neck', loss=dict(type='BrokenLoss')),
            r'model.pairs.a.loss at neck\[0\]: a dry run of BrokenLoss on zeros '
            r'\(1, 8, 32, 32\) failed: RuntimeError: Dimension out of range',
        ),
        (
            dict(
                view='roi.features',
                loss=dict(type='HintLoss'),
                adapter=dict(type='ConvAdapter'),
            ),
            r'model.pairs.a.adapter at roi.features: ConvAdapter expects \(N, 16, H, '
            r"W\), got \(2, 16\). For rows use type='LinearAdapter'",
        ),
        (
            hint(levels_reduction='max'),
            r"model.pairs.a: levels_reduction must be 'mean' or 'sum', got 'max'",
        ),
        (
            hint(teacher='techer'),
            r"model.pairs.a.teacher: no teacher 'techer'. Close: 'teacher'",
        ),
    ],
)
def test_bad_pair(pair: Any, message: str) -> None:
    refused(message, dict(a=pair))


@pytest.mark.parametrize('name', ['a.b', '', 'keys', 'train'])
def test_names_that_cannot_be(name: str) -> None:
    refused("cannot be a pair's name: it may hold no dots", {name: hint()})


def test_names_whose_log_keys_would_be_equal() -> None:
    refused(
        r"model.pairs: pairs 'neck' and 'neck_0' would both be logged as "
        r"'loss_kd_neck_0'. Rename one",
        dict(neck=hint(per_level=True), neck_0=hint()),
    )


def test_all_faults_of_all_pairs_come_at_once() -> None:
    pairs = dict(
        one=dict(layer='nek', loss=dict(type='HintLos')),
        two=hint(levels=[7]),
        three=dict(view='roi.logit', loss=dict(type='KDLoss', temperature=0)),
        four=hint(teacher='nobody'),
        good=hint(),
    )
    with pytest.raises(ConfigError) as caught:
        MODELS.build(config(pairs))
    for part in (
        "model.pairs.one.layer (student): FasterRCNN has no layer 'nek'",
        "model.pairs.one.loss.type: no 'HintLos'",
        'there is no 7',
        "model.pairs.three.view: no view 'roi.logit'",
        'model.pairs.three.loss: temperature must be a finite number > 0, got 0',
        "model.pairs.four.teacher: no teacher 'nobody'",
    ):
        assert part in str(caught.value)
    assert 'model.pairs.good' not in str(caught.value)


def test_several_teachers_must_be_chosen_from() -> None:
    teachers = dict(big=teacher_of(faster_rcnn()), small=teacher_of(faster_rcnn()))
    refused(
        r"model.pairs.a: needs a teacher: one of 'big', 'small'",
        dict(a=hint()),
        teacher=teachers,
    )


def test_none_removes_an_inherited_pair() -> None:
    model = distiller(dict(a=hint(), b=None))
    assert list(model.losses) == ['a']
    assert 'loss_kd_b' not in losses_of(model)


@pytest.mark.parametrize('pairs', [None, [hint()], 'neck'])
def test_pairs_have_names(pairs: Any) -> None:
    refused(r"model.pairs: must be a dict of pairs by name, or 'auto', got", pairs)


def test_without_pairs_it_is_the_student() -> None:
    model = distiller(dict(a=None))
    assert not any('kd' in key for key in losses_of(model))
    assert 'no pair asks for it' in model.summary()


def test_models_of_images_with_other_channels_are_refused_at_build() -> None:
    grey = faster_rcnn(backbone__in_channels=1)
    grey.data_preprocessor.update(mean=[110.0], std=[50.0], bgr_to_rgb=False)
    plain = faster_rcnn()
    for model in (grey, plain):
        model.data_preprocessor.update(mean=None, std=None, bgr_to_rgb=False)
    with pytest.raises(
        ConfigError,
        match=r'^model\.teacher: the student reads images of 3 channels, the',
    ):
        distiller(dict(a=hint()), plain, teacher_of(grey))


@pytest.mark.parametrize('per_level', ['yes', 2, None])
def test_per_level_is_a_yes_or_no(per_level: Any) -> None:
    message = r'^model\.pairs\.a\.per_level: must be True or False, got '
    with pytest.raises(ConfigError, match=message):
        distiller(dict(a=hint(per_level=per_level)))


def test_a_misspelt_layer_names_the_nearest_and_no_more() -> None:
    with pytest.raises(ConfigError, match=r"no layer 'nek'\. Close: 'neck'") as error:
        distiller(dict(a=hint() | dict(layer='nek')))
    assert 'can be compared' not in str(error.value)
