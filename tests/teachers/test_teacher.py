"""Teachers are built at once and loaded late; models come from dicts and files."""

from pathlib import Path
from typing import Any

import pytest
import torch
from mmengine.config import ConfigDict

from kd_plugins.errors import CheckpointError, ConfigError
from kd_plugins.registry import MODELS
from kd_plugins.teachers import (
    Teacher,
    build_teachers,
)
from tests.distillers.tiny import (
    all_pairs,
    batch,
    config,
    distiller,
    faster_rcnn,
    hint,
    losses_of,
    raw_batch,
    teacher_of,
)

CPU = torch.device('cpu')


def test_missing_checkpoint_is_found_at_the_first_loss_only(tmp_path: Path) -> None:
    teacher = dict(model=faster_rcnn(), checkpoint=str(tmp_path / 'no.pth'))
    model = distiller(all_pairs(), teacher=teacher)
    assert 'FasterRCNN' in model.summary()
    results = model.eval().test_step(raw_batch())
    assert len(results) == 2
    model.train()
    with pytest.raises(CheckpointError, match=r'model\.teacher\.checkpoint.*no\.pth'):
        losses_of(model)


def test_named_teachers_checkpoint_is_named(tmp_path: Path) -> None:
    missing = dict(model=faster_rcnn(), checkpoint=str(tmp_path / 'no.pth'))
    pairs = dict(hint=hint(teacher='big'))
    model = distiller(pairs, teacher=dict(big=missing, small=teacher_of(faster_rcnn())))
    with pytest.raises(CheckpointError, match=r'model\.teacher\.big\.checkpoint'):
        losses_of(model)


def test_checkpoint_of_another_architecture_names_the_key(tmp_path: Path) -> None:
    path = tmp_path / 'other.pth'
    torch.save(MODELS.build(faster_rcnn(base=8)).state_dict(), path)
    model = distiller(
        all_pairs(), teacher=dict(model=faster_rcnn(), checkpoint=str(path))
    )
    with pytest.raises(CheckpointError, match=r'model\.teacher\.checkpoint'):
        losses_of(model)


def test_loads_the_weights_of_its_checkpoint(tmp_path: Path) -> None:
    path = tmp_path / 'teacher.pth'
    source = MODELS.build(faster_rcnn())
    torch.save(dict(state_dict=source.state_dict()), path)
    cfg = dict(model=faster_rcnn(), checkpoint=str(path))
    teacher = Teacher('teacher', cfg, 'model.teacher')
    assert not teacher.loaded
    loaded = teacher.prepare(CPU).state_dict()
    for name, value in source.state_dict().items():
        assert torch.equal(loaded[name], value), name
    assert not teacher.model.training


def test_random_teacher_draws_from_a_stream_of_its_own() -> None:
    state = torch.get_rng_state()
    teachers = [Teacher('a', teacher_of(faster_rcnn()), 'x') for _ in range(2)]
    torch.set_rng_state(state)
    after = torch.rand(1)
    weights = [teacher.prepare(CPU).backbone.conv1.weight for teacher in teachers]
    torch.set_rng_state(state)
    assert torch.equal(torch.rand(1), after)
    assert torch.equal(*weights)


BAD: dict[str, tuple[Any, str]] = {
    'no checkpoint': (
        dict(model=dict(type='X')),
        r"model.teacher: teacher 'teacher' has no checkpoint.*"
        r"Set model.teacher.checkpoint='...pth'",
    ),
    'unknown key': (
        dict(model=dict(type='X'), checkpint='a.pth'),
        r"model.teacher: no argument 'checkpint'. Close: 'checkpoint'",
    ),
    'both': (
        dict(model=dict(type='X'), cfg='a.py', checkpoint='a.pth'),
        "needs either cfg='<configuration file>' or model=dict",
    ),
    'neither': (dict(checkpoint='a.pth'), 'needs either cfg'),
    'empty': ({}, 'needs either cfg'),
    'scale': (
        dict(model=dict(type='X'), checkpoint='a.pth', input_scale=0),
        'model.teacher.input_scale must be a finite number > 0, got 0',
    ),
    'not a number': (
        dict(model=dict(type='X'), checkpoint='a.pth', input_scale=float('nan')),
        'model.teacher.input_scale must be a finite number > 0, got nan',
    ),
    'named': (dict(big='a.pth'), 'model.teacher.big must be a dict with cfg or model'),
    'no model': (
        dict(model=dict(backbone=1), checkpoint='a.pth'),
        r"model.teacher must be a model \(a dict with 'type'\)",
    ),
    'no file': (
        dict(cfg='nowhere.py', checkpoint='a.pth'),
        "model.teacher.cfg: there is no config 'nowhere.py'",
    ),
}


@pytest.mark.parametrize(('cfg', 'message'), BAD.values(), ids=BAD)
def test_bad_teacher_names_the_key(cfg: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        build_teachers(cfg, 'model.teacher')


def test_building_leaves_the_configuration_as_it_was() -> None:
    cfg = config(all_pairs())
    before = ConfigDict(cfg).to_dict()
    MODELS.build(cfg)
    assert ConfigDict(cfg).to_dict() == before


def test_several_teachers_by_name() -> None:
    pairs = dict(
        one=hint(teacher='big', adapter=dict(type='ConvAdapter')),
        two=hint(teacher='small'),
    )
    teachers = dict(
        big=teacher_of(faster_rcnn(width=16)),
        small=teacher_of(faster_rcnn()),
        idle=teacher_of(faster_rcnn()),
    )
    model = distiller(pairs, teacher=teachers)
    losses = losses_of(model)
    assert losses['loss_kd_one'] > 0 and losses['loss_kd_two'] > 0
    assert not model.teachers['idle'].loaded
    assert "teacher 'idle': FasterRCNN" in model.summary()
    assert 'no pair asks for it' in model.summary()


def test_maps_of_a_larger_padded_teacher_are_cropped() -> None:
    plain = distiller(dict(hint=hint()))
    padded = distiller(
        dict(hint=hint()),
        teacher=teacher_of(faster_rcnn(data_preprocessor__pad_size_divisor=96)),
    )
    padded.student.load_state_dict(plain.student.state_dict())
    inputs = batch(padded)
    with padded._guidance.runs(
        inputs['inputs'], inputs['data_samples'], padded.data_preprocessor
    ) as runs:
        run = runs['teacher']
        assert run.crop(torch.zeros(1, 1, 24, 24)).shape[-2:] == (16, 16)
        assert run.crop(torch.zeros(1, 1, 3, 3)).shape[-2:] == (2, 2)
        assert run.crop(torch.zeros(5, 7)).shape == (5, 7)
    assert losses_of(padded)['loss_kd_hint'] > 0


def test_larger_input_needs_an_adapter_that_resizes_and_moves_the_rois_along() -> None:
    teacher = teacher_of(faster_rcnn(), input_scale=2.0)
    message = r"differ in size at neck\[0\].*adapter=dict\(type='ResizeAdapter'\)"
    with pytest.raises(ConfigError, match=message):
        distiller(dict(hint=hint()), teacher=teacher)
    pairs = dict(
        hint=hint(adapter=dict(type='ResizeAdapter')),
        roi=dict(view='roi.logits', loss=dict(type='KDLoss')),
    )
    model = distiller(pairs, teacher=teacher)
    seen = []
    extractor = model.teachers['teacher'].model.roi_head.bbox_roi_extractor
    extractor.register_forward_pre_hook(lambda module, args: seen.append(args[1]))
    own = []
    model.student.roi_head.bbox_roi_extractor.register_forward_pre_hook(
        lambda module, args: own.append(args[1])
    )
    losses = losses_of(model)
    assert losses['loss_kd_hint'] > 0 and losses['loss_kd_roi'] > 0
    torch.testing.assert_close(seen[0][:, 1:], 2 * own[0][:, 1:])
    with pytest.raises(ConfigError, match=r'Remove input_scale, or distil roi'):
        distiller(all_pairs(), teacher=teacher)


def test_moves_with_the_student_once_it_is_loaded() -> None:
    model = distiller(dict(hint=hint()))
    teacher = model.teachers['teacher']
    model.to('meta')
    assert next(teacher.model.parameters()).device == CPU
    model = distiller(dict(hint=hint()))
    model.teachers['teacher'].prepare(CPU)
    model.to('meta')
    moved = model.teachers['teacher'].model
    assert next(moved.parameters()).device == torch.device('meta')
