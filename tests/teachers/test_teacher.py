"""Teachers are built at once and loaded late; models come from dicts and files."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from mmengine.config import Config, ConfigDict

from kd_plugins.config_files import read_config
from kd_plugins.errors import CheckpointError, ConfigError, ShapeError
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
    teacher = Teacher('teacher', cfg)
    assert not teacher.loaded
    loaded = teacher.prepare(CPU).state_dict()
    for name, value in source.state_dict().items():
        assert torch.equal(loaded[name], value), name
    assert not teacher.model.training


def test_random_teacher_draws_from_a_stream_of_its_own() -> None:
    state = torch.get_rng_state()
    teachers = [Teacher('a', teacher_of(faster_rcnn())) for _ in range(2)]
    torch.set_rng_state(state)
    after = torch.rand(1)
    weights = [teacher.prepare(CPU).backbone.conv1.weight for teacher in teachers]
    torch.set_rng_state(state)
    assert torch.equal(torch.rand(1), after)
    assert torch.equal(*weights)


BAD: dict[str, tuple[Any, str]] = {
    'no checkpoint': (
        dict(model=dict(type='X')),
        r"^teacher 'teacher' has no checkpoint.*Set checkpoint='...pth'",
    ),
    'unknown key': (
        dict(model=dict(type='X'), checkpint='a.pth'),
        r"^no argument 'checkpint'. Close: 'checkpoint'.*within model=dict",
    ),
    'both': (
        dict(model=dict(type='X'), cfg='a.py', checkpoint='a.pth'),
        "needs either cfg='<configuration file>' or model=dict",
    ),
    'neither': (dict(checkpoint='a.pth'), 'needs either cfg'),
    'empty': ({}, 'needs either cfg'),
    'scale': (
        dict(model=dict(type='X'), checkpoint='a.pth', input_scale=0),
        '^input_scale must be a finite number > 0, got 0',
    ),
    'too large': (
        dict(model=dict(type='X'), checkpoint='a.pth', input_scale=1e30),
        r'^input_scale must be between 1/16 and 16, got 1e\+30',
    ),
    'not a number': (
        dict(model=dict(type='X'), checkpoint='a.pth', input_scale=float('nan')),
        '^input_scale must be a finite number > 0, got nan',
    ),
    'named': (dict(big='a.pth'), '^big: must be a dict with cfg or model'),
    'text': ('big.py', "^must be a dict with cfg or model, or .* got 'big.py'"),
    'no model': (
        dict(model=dict(backbone=1), checkpoint='a.pth'),
        r"^model: must be a model \(a dict with 'type'\)",
    ),
    'no file': (
        dict(cfg='nowhere.py', checkpoint='a.pth'),
        "^cfg: there is no config 'nowhere.py'",
    ),
    'no path': (
        dict(cfg=3, checkpoint='a.pth'),
        '^cfg: must be the path of a config file, got 3',
    ),
    'no text': (
        dict(model=dict(type='X'), checkpoint=['a.pth']),
        r"^checkpoint: must be a text, or None, got \['a.pth'\]",
    ),
    'no prefix': (
        dict(model=dict(type='X'), checkpoint='a.pth', checkpoint_prefix=''),
        "^checkpoint_prefix: must be a text, or None, got ''",
    ),
    'no flag': (
        dict(model=dict(type='X'), allow_random='no'),
        "^allow_random must be True or False, got 'no'",
    ),
}


@pytest.mark.parametrize(('cfg', 'message'), BAD.values(), ids=BAD)
def test_bad_teacher_names_the_key(cfg: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        build_teachers(cfg, None)


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
    with padded.step(inputs['inputs'], inputs['data_samples']) as step:
        run = step.teachers['teacher']
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


def test_inputs_are_those_of_its_own_preprocessing_by_one_translator() -> None:
    model = distiller(dict(hint=hint()), teacher=teacher_of(padded_rcnn()))
    teacher = model.teachers['teacher']
    inputs, unpadded = teacher.inputs(torch.ones(1, 3, 64, 64), [])
    assert inputs.shape == (1, 3, 96, 96) and unpadded == (64, 64)
    assert (
        Teacher('alone', teacher_of(padded_rcnn()))
        .inputs(torch.ones(1, 3, 96, 96), [])[0]
        .equal(torch.ones(1, 3, 96, 96))
    )


def padded_rcnn() -> ConfigDict:
    return faster_rcnn(data_preprocessor__pad_size_divisor=96)


def test_other_channels_than_the_students_are_found_at_build() -> None:
    teacher = teacher_of(faster_rcnn())
    student = SimpleNamespace(
        _enable_normalize=True, mean=torch.zeros(4, 1, 1), std=torch.ones(4, 1, 1)
    )
    message = (
        r"^big: the student's data_preprocessor normalises 4 channels, the teacher's 3"
    )
    with pytest.raises(ConfigError, match=message):
        build_teachers(dict(big=teacher), student)


def test_images_of_other_channels_than_the_means_name_the_teacher() -> None:
    teacher = build_teachers(dict(big=teacher_of(faster_rcnn())), None)['big']
    message = r'^model\.teacher\.big: the images have 1 channels, and the mean .* has 3'
    with pytest.raises(ShapeError, match=message):
        teacher.inputs(torch.zeros(1, 1, 8, 8), [])


@pytest.fixture
def own_classes(tmp_path: Path) -> dict[str, Any]:
    """A teacher of three classes, by a configuration file of eighty."""
    path = tmp_path / 'detector.py'
    model = faster_rcnn(roi_head__bbox_head=dict(num_classes=80))
    Config(dict(model=model.to_dict(), default_scope='mmdet')).dump(str(path))
    return dict(
        cfg=str(path), roi_head=dict(bbox_head=dict(num_classes=3)), allow_random=True
    )


def test_changes_beside_cfg_are_merged_into_its_model(
    own_classes: dict[str, Any],
) -> None:
    teacher = Teacher('teacher', own_classes)
    assert teacher.model.roi_head.bbox_head.num_classes == 3
    assert teacher.model.roi_head.bbox_head.fc_cls.out_features == 4
    changed = own_classes | dict(train_cfg=None)  # an argument of the class
    assert Teacher('teacher', changed).model.train_cfg is None


@pytest.mark.parametrize(
    ('key', 'near'), [('chekpoint', 'checkpoint'), ('roi_haed', 'roi_head')]
)
def test_a_misspelt_key_beside_cfg_is_refused(
    own_classes: dict[str, Any], key: str, near: str
) -> None:
    message = rf"^the FasterRCNN of 'cfg' has no '{key}'\. Close: '{near}'"
    with pytest.raises(ConfigError, match=message):
        build_teachers(own_classes | {key: 'x'}, None)


def test_one_of_several_models_in_a_file_is_chosen(tmp_path: Path) -> None:
    path = tmp_path / 'soft.pth'
    student, teacher = (MODELS.build(faster_rcnn()).state_dict() for _ in range(2))
    whole = {f'student.{key}': value for key, value in student.items()}
    whole |= {f'teacher.{key}': value for key, value in teacher.items()}
    torch.save(dict(state_dict=whole), path)
    cfg = dict(model=faster_rcnn(), checkpoint=str(path))
    with pytest.raises(
        CheckpointError, match=r"set checkpoint_prefix='student\.' or ch"
    ):
        Teacher('teacher', cfg).prepare(CPU)
    loaded = Teacher('teacher', cfg | dict(checkpoint_prefix='teacher.')).prepare(CPU)
    for name, value in loaded.state_dict().items():
        assert torch.equal(value, teacher[name]), name
    with pytest.raises(
        CheckpointError, match=r"checkpoint_prefix\).*Close: 'teacher.'"
    ):
        Teacher('teacher', cfg | dict(checkpoint_prefix='teachers.')).prepare(CPU)


@pytest.mark.host
def test_a_random_teacher_loads_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """PVT takes the checkpoint of an init_cfg without a type, and loads it."""

    def refuse(*args: Any, **options: Any) -> None:
        raise AssertionError(f'loads {args}')

    monkeypatch.setattr(
        'mmdet.models.backbones.pvt.CheckpointLoader.load_checkpoint', refuse
    )
    cfg = dict(
        cfg='mmdet::pvt/retinanet_pvt-t_fpn_1x_coco.py',
        backbone=dict(embed_dims=8, num_layers=[1, 1, 1, 1]),
        neck=dict(in_channels=[8, 16, 40, 64], out_channels=8),
        bbox_head=dict(in_channels=8, feat_channels=8),
        allow_random=True,
    )
    assert read_config(str(cfg['cfg'])).model.backbone.init_cfg.checkpoint
    Teacher('teacher', cfg).prepare(CPU)
