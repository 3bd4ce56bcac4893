"""Maps are those of both models as they predict, and nobody notices."""

import copy
from typing import Any

import pytest
import torch
from mmengine.registry import DATASETS, DefaultScope
from torch.testing import assert_close

from kd_plugins.errors import ConfigError
from kd_plugins.losses import LossContext
from kd_plugins.random_stream import get_random_state
from kd_plugins.registry import MODELS
from kd_plugins.visualization.maps import PairMap, choose_pairs, pair_maps
from kd_plugins.visualization.shots import take_shots
from tests.distillers.tiny import distiller, faster_rcnn, teacher_of
from tests.distillers.tiny_dense import retinanet
from tests.distillers.tiny_seg import cascade, raw_segments

from .made import TASKS

pytestmark = pytest.mark.host


def build(task: str) -> Any:
    """The distiller of a task, its modes those of a training."""
    model, _, scope, _ = TASKS[task]
    DefaultScope.get_instance(f'pictures_{task}', scope_name=scope)
    built = MODELS.build(model())
    built.init_weights()
    return built.train()


def items(task: str, number: int = 2) -> list[dict[str, Any]]:
    dataset = DATASETS.build(dict(type=TASKS[task][1]))
    return [dataset[index] for index in range(number)]


def maps_of(model: Any, batch: dict[str, Any]) -> tuple[dict[str, PairMap], Any]:
    """Maps by level, and the inputs they belong to."""
    data = model.data_preprocessor(batch, False)
    found = pair_maps(model, choose_pairs(model, None), *data.values())
    return {item.level: item for item in found}, data


def batch_of(task: str) -> dict[str, Any]:
    parts = items(task)
    return {key: [part[key] for part in parts] for key in parts[0]}


@torch.no_grad()
def test_of_a_layer_the_teachers_and_the_students_own_forward() -> None:
    model = build('detection')
    found, data = maps_of(model, batch_of('detection'))
    teacher = model.teachers['teacher'].model
    inputs, _ = model.teachers['teacher'].inputs(data['inputs'], data['data_samples'])
    model.eval()
    student_features, teacher_features = (
        each.extract_feat(inputs) for each in (model.student, teacher)
    )
    adapters = model.adapters['hint']
    for level in range(3):
        maps = found[f'neck[{level}]']
        assert torch.equal(maps.teacher, teacher_features[level])
        assert torch.equal(maps.student, student_features[level])
        assert maps.adapted is not None
        assert torch.equal(maps.adapted, adapters[level](student_features[level]))
        assert maps.quantity == 'mean |activation|'
    # Rows of all levels are compared; their maps are shown level by level.
    logits, deltas = teacher.rpn_head(teacher_features)
    for level in range(3):
        maps = found[f'rpn.logits[{level}]']
        assert torch.equal(maps.teacher.flatten(), logits[level].flatten())
        assert maps.quantity == 'highest probability'
        moved = found[f'rpn.deltas[{level}]'].teacher
        assert torch.equal(moved.flatten(), deltas[level].flatten())
    assert not [level for level in found if level.startswith('roi')]


@torch.no_grad()
def test_of_pixels_the_logits_of_eval() -> None:
    model = build('segmentation')
    found, data = maps_of(model, batch_of('segmentation'))
    model.eval()
    for which, one in (
        ('student', model.student),
        ('teacher', model.teachers['teacher'].model),
    ):
        logits = one.decode_head.forward(one.extract_feat(data['inputs']))
        assert torch.equal(getattr(found['seg.logits'], which), logits)


@torch.no_grad()
def test_of_depths_those_in_their_own_unit() -> None:
    model = build('depth')
    found, data = maps_of(model, batch_of('depth'))
    teacher = model.teachers['teacher'].model
    depth = teacher.decode_head.forward(teacher.extract_feat(data['inputs']))
    assert torch.equal(found['depth.map'].teacher, depth)
    assert found['depth.map'].quantity == 'value'
    assert_close(found['depth.map'].heat(depth[:1]), depth[0, 0])


@torch.no_grad()
def test_of_a_cascade_the_stage_that_is_compared() -> None:
    pairs = dict(
        coarse=dict(view=dict(type='seg.logits', stage=0)),
        fine=dict(view='seg.logits'),
        feature=dict(view='seg.features'),
    )
    for pair in pairs.values():
        pair['loss'] = dict(type='HintLoss' if pair is pairs['feature'] else 'KDLoss')
    model = distiller(pairs, cascade(), teacher_of(cascade()))
    data = model.data_preprocessor(raw_segments(), False)
    coarse, feature, fine = pair_maps(model, choose_pairs(model, None), *data.values())
    model.eval()
    features = model.student.extract_feat(data['inputs'])
    first, second = model.student.decode_head
    assert torch.equal(coarse.student, first.forward(features))
    assert torch.equal(fine.student, second.forward(features, coarse.student))
    assert torch.equal(second.cls_seg(feature.student), fine.student)


@torch.no_grad()
def test_of_one_stage_heads_with_classes_of_both() -> None:
    retina = dict(view='head.logits', loss=dict(type='BDKDLoss'))
    model = distiller(dict(a=retina), retinanet(), teacher_of(retinanet()))
    data = model.data_preprocessor(batch_of('detection'), False)
    found = pair_maps(model, choose_pairs(model, None), *data.values())
    teacher = model.teachers['teacher'].model
    logits, _ = teacher.bbox_head(teacher.extract_feat(data['inputs']))
    assert len(found) == len(logits)
    for item, level in zip(found, logits, strict=True):
        assert torch.equal(item.teacher.flatten(), level.flatten())
        heat = item.heat(item.teacher[: len(item.teacher) // 2])  # of the first image
        assert_close(heat, level[0].sigmoid().amax(dim=0))


def test_heat_by_hand() -> None:
    logits = torch.tensor([3.0, 1.0, 12.0]).log().view(1, 3, 1, 1)

    def heat(value: torch.Tensor, **context: Any) -> float:
        maps = PairMap('a', 'b', LossContext(**context), value, value, None)
        return maps.heat(value).item()

    assert heat(logits, activation='softmax') == pytest.approx(12 / 16)
    with_background = heat(logits, activation='softmax', background=2)
    assert with_background == pytest.approx(3 / 16)
    assert heat(logits, activation='sigmoid') == pytest.approx(12 / 13)
    assert heat(torch.tensor([-3.0, 1.0]).view(1, 2, 1, 1)) == 2.0
    assert heat(torch.tensor([-3.0]).view(1, 1, 1, 1)) == -3.0  # a depth, say


@pytest.mark.parametrize('task', TASKS)
def test_shots_leave_no_trace(task: str) -> None:
    model, shown = build(task), items(task)
    before = copy.deepcopy(model.state_dict())
    modes = [module.training for module in model.modules()]
    kept = copy.deepcopy(shown)
    drawn, stream = get_random_state(), model.random_stream.state_dict()
    shots = take_shots(model, shown, choose_pairs(model, None))
    assert [module.training for module in model.modules()] == modes
    after = model.state_dict()
    assert all(torch.equal(after[key], value) for key, value in before.items())
    assert torch.equal(get_random_state()['torch'], drawn['torch'])
    assert get_random_state()['python'] == drawn['python']
    assert torch.equal(model.random_stream.state_dict()['torch'], stream['torch'])
    assert all(parameter.grad is None for parameter in model.parameters())
    for item, original in zip(shown, kept, strict=True):
        assert torch.equal(item['inputs'], original['inputs'])
        assert set(item['data_samples'].keys()) == set(original['data_samples'].keys())
    levels = TASKS[task][3]
    for shot in shots:
        assert 'seg_logits' not in shot.student
        pairs = [heat.pair for heat in shot.heats]
        assert {name: pairs.count(name) for name in levels} == levels
        assert set(pairs) == set(levels)


def test_padding_is_cut_off() -> None:
    """An image of 56x60, padded to 64x64: its cells lie where its pixels do."""
    model = build('detection')
    item = items('detection')[1]
    (shot,) = take_shots(model, [item], choose_pairs(model, ['hint']))
    assert tuple(item['inputs'].shape[1:]) == (56, 60)
    model.eval()
    data = model.data_preprocessor(
        dict(inputs=[item['inputs']], data_samples=[item['data_samples']]), False
    )
    with torch.no_grad():
        feature = model.student.extract_feat(data['inputs'])[0]  # (1, 8, 16, 16)
    heat = feature.abs().mean(dim=(0, 1))
    drawn = shot.heats[0].student
    assert drawn.shape == (224, 240)  # four times the image, so a cell is 16 pixels
    assert torch.equal(drawn[8::16, 8::16], heat[:14, :15])


def test_a_pair_that_is_not_there() -> None:
    model = distiller(
        dict(hint=TASKS['detection'][0]()['pairs']['hint']),
        teacher=teacher_of(faster_rcnn(width=16)),
    )
    with pytest.raises(
        ConfigError, match=r"pairs: there is no 'hnt'\. Close: 'hint'\."
    ):
        choose_pairs(model, ['hnt'])
