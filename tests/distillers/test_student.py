"""Everywhere but in its loss a distiller is its student; it starts as one."""

from pathlib import Path
from typing import Any

import pytest
import torch
from mmengine.hooks import Hook
from mmengine.registry import HOOKS
from mmengine.runner import load_checkpoint

from kd_plugins.errors import ConfigError
from kd_plugins.registry import MODELS

from .runs import assert_same_weights, train
from .tiny import (
    all_pairs,
    batch,
    config,
    distiller,
    faster_rcnn,
    hint,
    mask_rcnn,
    raw_batch,
    teacher_of,
    weights_of,
)

HINT = dict(hint=hint(adapter=dict(type='ConvAdapter')))


def test_attributes_not_its_own_are_the_students() -> None:
    model = distiller(HINT, student=mask_rcnn(), teacher=teacher_of(mask_rcnn()))
    assert model.roi_head is model.student.roi_head
    assert model.with_mask is True and model.with_rpn is True
    assert model.data_preprocessor is model.student.data_preprocessor
    model.student.set_epoch = lambda epoch: epoch + 1
    assert model.set_epoch(3) == 4
    assert not hasattr(model, 'bbox_head')
    with pytest.raises(AttributeError, match='nothing_like_it'):
        _ = model.nothing_like_it


def test_predicts_as_the_student_does() -> None:
    model = distiller(all_pairs()).eval()
    plain = MODELS.build(faster_rcnn()).eval()
    plain.load_state_dict(model.student_state_dict(model.state_dict()))
    for one, other in zip(
        model.test_step(raw_batch()), plain.test_step(raw_batch()), strict=True
    ):
        assert len(one.pred_instances) > 0
        assert torch.equal(one.pred_instances.bboxes, other.pred_instances.bboxes)
        assert torch.equal(one.pred_instances.scores, other.pred_instances.scores)
    prepared = batch(model)
    assert torch.equal(model(**prepared)[-1][0], plain(**prepared)[-1][0])


@HOOKS.register_module()
class ModeSwitchHook(Hook):
    """Reaches for the model's attributes, as the host's YOLOXModeSwitchHook does."""

    def before_train_iter(self, runner: Any, *args: Any, **kwargs: Any) -> None:
        if runner.iter == 1:
            runner.model.roi_head.bbox_head.loss_bbox.loss_weight = 0.0
            runner.model.roi_head.bbox_head.use_l1 = True


@pytest.mark.host
def test_hooks_that_reach_for_attributes_work_through_a_runner(tmp_path: Path) -> None:
    runner = train(
        config(HINT),
        tmp_path,
        custom_hooks=[dict(type='ModeSwitchHook')],
        runner_type='kd_plugins.DistillRunner',
    )
    assert runner.model.student.roi_head.bbox_head.use_l1
    scalars = runner.message_hub.get_scalar('train/loss_bbox').data[0]
    assert scalars[0] > 0 and scalars[-1] == 0


# Where it starts from.


def plain_weights() -> dict[str, torch.Tensor]:
    torch.manual_seed(7)
    return weights_of(MODELS.build(faster_rcnn()))


@pytest.mark.parametrize('prefix', ['', 'module.'])
def test_torch_loads_a_plain_student_strictly(prefix: str) -> None:
    weights = plain_weights()
    model = distiller(HINT)
    adapters = weights_of(model.adapters)
    outer = torch.nn.ModuleDict({'module': model}) if prefix else model
    given = {prefix + name: value for name, value in weights.items()}
    result = outer.load_state_dict(given, strict=True)
    assert not result.missing_keys and not result.unexpected_keys
    assert_same_weights(weights, model.student.state_dict())
    assert_same_weights(adapters, model.adapters.state_dict())
    assert set(given) == {prefix + name for name in weights}


def test_its_own_state_loads_strictly_and_what_is_foreign_is_told() -> None:
    model = distiller(HINT)
    state = weights_of(model)
    other = distiller(HINT)
    other.load_state_dict(state, strict=True)
    assert_same_weights(state, other.state_dict())
    foreign = dict(plain_weights(), extra=torch.zeros(1))
    foreign.pop('backbone.conv1.weight')
    with pytest.raises(
        RuntimeError, match=r'student\.backbone\.conv1\.weight'
    ) as caught:
        model.load_state_dict(foreign, strict=True)
    assert 'student.extra' in str(caught.value)
    state.pop('adapters.hint.0.conv.weight')
    with pytest.raises(RuntimeError, match=r'adapters\.hint\.0\.conv\.weight'):
        model.load_state_dict(state, strict=True)


def test_modules_learn_the_version_of_what_they_load() -> None:
    state = MODELS.build(faster_rcnn()).state_dict()
    model = distiller({})
    seen = []
    norm = model.student.backbone.bn1
    load = norm._load_from_state_dict
    norm._load_from_state_dict = lambda state, prefix, local, *rest: (
        seen.append(local.get('version')),
        load(state, prefix, local, *rest),
    )
    model.load_state_dict(state)
    assert seen == [2]


@pytest.mark.host
@pytest.mark.filterwarnings(
    'ignore:You are using `torch.load`:FutureWarning'
)  # the host's loading
def test_load_from_and_init_cfg_take_a_plain_student(tmp_path: Path) -> None:
    weights, path = plain_weights(), tmp_path / 'plain.pth'
    torch.save(dict(state_dict=weights, meta={}), path)
    loaded = MODELS.build(config(HINT))
    load_checkpoint(loaded, str(path), strict=True)
    assert_same_weights(weights, loaded.student.state_dict())
    init = dict(type='Pretrained', checkpoint=str(path))
    initialised = distiller(HINT, init_cfg=init)
    assert_same_weights(weights, initialised.student.state_dict())


@pytest.mark.parametrize('init', [dict(type='Kaiming'), dict(type='Pretrained')])
def test_other_initialisation_belongs_into_the_student(init: Any) -> None:
    with pytest.raises(ConfigError, match=r"model.init_cfg must be dict\(type='Pretr"):
        MODELS.build(config(HINT, init_cfg=init))


def test_inherits_what_matches_from_the_teacher() -> None:
    teacher = teacher_of(faster_rcnn(fc=24))
    model = distiller(HINT, teacher=teacher, init_from_teacher=['neck', 'roi_head'])
    source = model.teachers['teacher'].model.state_dict()
    own = model.student.state_dict()
    copied = [
        name for name in own if torch.equal(own[name], source.get(name, own[name]))
    ]
    assert all(name in copied for name in own if name.startswith('neck'))
    assert 'roi_head.bbox_head.shared_fcs.0.weight' not in copied  # another width
    assert not torch.equal(
        own['rpn_head.rpn_conv.weight'], source['rpn_head.rpn_conv.weight']
    )


def test_a_single_part_to_inherit_may_be_a_string() -> None:
    model = distiller(HINT, init_from_teacher='neck')
    source = model.teachers['teacher'].model.neck.state_dict()
    assert_same_weights(dict(model.student.neck.state_dict()), dict(source))


def test_none_is_inherited_where_a_child_config_says_so() -> None:
    model = distiller(HINT, init_from_teacher=None)
    own, source = model.student, model.teachers['teacher'].model
    for each in (own.neck.fpn_convs[0], source.neck.fpn_convs[0]):
        assert each.conv.weight.abs().sum() > 0
    assert not torch.equal(
        own.neck.fpn_convs[0].conv.weight, source.neck.fpn_convs[0].conv.weight
    )
    plan = distiller(HINT, init_from_teacher=['neck', 'rpn_head']).summary()
    assert plan.endswith('the student starts from its neck, rpn_head')


def test_inheriting_draws_nothing_from_the_students_stream() -> None:
    torch.manual_seed(0)
    model = MODELS.build(config(HINT, init_from_teacher=['neck']))
    model.init_weights()
    after = torch.rand(1)
    torch.manual_seed(0)
    MODELS.build(faster_rcnn()).init_weights()
    assert torch.equal(torch.rand(1), after)


@pytest.mark.parametrize(
    ('parts', 'options', 'message'),
    [
        (
            ['nek'],
            {},
            r"model.init_from_teacher: the student has no 'nek'. Close: 'neck'",
        ),
        (
            ['roi_head.bbox_head.fc_cls.weight'],
            dict(teacher=teacher_of(faster_rcnn(fc=24))),
            'has the same name and shape in student and teacher. Remove it',
        ),
        (
            ['neck', 3],
            {},
            r"model.init_from_teacher must be a list of parts .* got \['neck', 3\]",
        ),
        (3, {}, 'model.init_from_teacher must be a list of parts .* got 3'),
        (
            None,
            dict(init_cfg='a.pth'),
            r"model.init_cfg must be dict\(type='Pretrained', .*'\), got a.pth",
        ),
        (
            'neck',
            dict(init_cfg=dict(type='Pretrained', checkpoint='a.pth')),
            'model.init_cfg and model.init_from_teacher exclude each other',
        ),
        (
            ['neck'],
            dict(
                teacher=dict(a=teacher_of(faster_rcnn()), b=teacher_of(faster_rcnn()))
            ),
            r"model.init_from_teacher needs a single teacher, got \['a', 'b'\]",
        ),
    ],
)
def test_bad_inheritance(parts: Any, options: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        distiller({}, init_from_teacher=parts, **options)


def test_preprocessor_of_the_whole_config_is_the_students() -> None:
    student = faster_rcnn()
    preprocessor = student.pop('data_preprocessor')
    preprocessor.pad_size_divisor = 16
    model = MODELS.build(config(HINT, student=student, data_preprocessor=preprocessor))
    assert model.student.data_preprocessor.pad_size_divisor == 16
    model = MODELS.build(config(HINT, data_preprocessor=preprocessor))
    assert model.student.data_preprocessor.pad_size_divisor == 32
