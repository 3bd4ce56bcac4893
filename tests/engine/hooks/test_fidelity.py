"""Fidelity among the metrics of a validation, of a training that does not notice."""

import copy
import json
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import DATASETS, RUNNERS

from kd_plugins.engine.hooks import FidelityHook
from kd_plugins.errors import CheckpointError, ConfigError, DistillationError
from kd_plugins.evaluation.fidelity import linear_cka, predictive_divergence
from tests.distillers.runs import TinyImages, assert_same_weights, run_config, train
from tests.distillers.tiny import all_pairs, config, faster_rcnn, hint, teacher_of
from tests.distillers.tiny_seg import TinySegments, head, segmentor

pytestmark = [
    pytest.mark.host,
    pytest.mark.filterwarnings('ignore:You are using `torch.load`:FutureWarning'),
]
HOOK = dict(type='kd_plugins.FidelityHook', score_thr=0.05)


class _Still:
    """Without the noise: at every validation the same images."""

    def __getitem__(self, index: int) -> dict[str, Any]:
        items: list[dict[str, Any]] = self.items  # type: ignore[attr-defined]
        return copy.deepcopy(items[index])


@DATASETS.register_module()
class StillImages(_Still, TinyImages):
    pass


@DATASETS.register_module()
class StillSegments(_Still, TinySegments):
    pass


@DATASETS.register_module()
class OtherClasses(StillSegments):
    metainfo = dict(classes=tuple('wxyz'))


def loader(dataset: str) -> dict[str, Any]:
    sampler = dict(type='DefaultSampler', shuffle=False)
    return dict(
        batch_size=2, num_workers=0, dataset=dict(type=dataset), sampler=sampler
    )


def detection(hooks: list[Any], **changes: Any) -> tuple[Any, dict[str, Any]]:
    """A distiller of tiny detectors, and the options of its run."""
    pairs = all_pairs()
    options = dict(
        val_dataloader=loader('StillImages'),
        custom_hooks=hooks,
        runner_type='kd_plugins.DistillRunner',
    )
    return config(pairs), options | changes


def segmentation(hooks: list[Any], **changes: Any) -> tuple[Any, dict[str, Any]]:
    """A distiller of tiny segmentors, and the options of its run."""
    pairs = dict(
        pixels=dict(view='seg.logits', loss=dict(type='KDLoss')),
        stage=dict(
            layer='backbone.layer2',
            loss=dict(type='HintLoss'),
            adapter=dict(type='ConvAdapter'),
        ),
    )
    model = config(pairs, segmentor(), teacher_of(segmentor(8)))
    train_loader = loader('TinySegments') | dict(
        sampler=dict(type='InfiniteSampler', shuffle=True)
    )
    options = dict(
        default_scope='mmseg',
        train_dataloader=train_loader,
        val_dataloader=loader('StillSegments'),
        val_evaluator=dict(type='mmseg.IoUMetric'),
        custom_hooks=hooks,
        runner_type='kd_plugins.DistillRunner',
    )
    return model, options | changes


FAMILIES = dict(detection=detection, segmentation=segmentation)
SHARED = {'agreement', 'kl', 'ece_student', 'ece_teacher'}
KEYS = dict(
    detection=SHARED | {'recall', 'precision', 'cka_hint', 'roi_agreement', 'roi_kl'},
    segmentation=SHARED | {'cka_stage'},
)


def made(model: Any, work_dir: Path, **options: Any) -> Any:
    """A runner that only validates: the host's own."""
    del options['runner_type']
    with patch.object(Config, 'pretty_text', 'work_dir = None'):
        runner = RUNNERS.build(run_config(model, work_dir, **options))
    runner.model.init_weights()
    return runner


def built(family: str, work_dir: Path, hook: dict[str, Any] = HOOK, **more: Any) -> Any:
    model, options = FAMILIES[family]([hook], **more)
    return made(model, work_dir, **options)


def the_hook(runner: Any) -> FidelityHook:
    (hook,) = [hook for hook in runner.hooks if isinstance(hook, FidelityHook)]
    return hook


def validations(folder: Path) -> list[dict[str, Any]]:
    """What the host logged of each."""
    (file,) = folder.rglob('scalars.json')
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    return [line for line in lines if 'lr' not in line]


@pytest.mark.parametrize('family', FAMILIES)
def test_each_validation_has_it_and_the_training_is_the_same(
    family: str, tmp_path: Path
) -> None:
    ends = []
    for name, hooks in (('with', [HOOK]), ('without', [])):
        model, options = FAMILIES[family](hooks)
        runner = train(model, tmp_path / name, **options)
        ends.append((runner.model.state_dict(), runner.model.random_stream))
        if hooks:
            predictions = the_hook(runner)._predictions
            assert predictions is not None
            # Two validations of two batches, and the teacher ran on each batch once.
            assert predictions.runs == 2 and predictions.repeated == 0
            # Nothing is left behind on the models.
            for part in (runner.model.student, predictions.teacher.model):
                assert not any(each._forward_hooks for each in part.modules())
    assert_same_weights(ends[0][0], ends[1][0])
    streams = [stream.state_dict()['torch'] for _, stream in ends]
    assert torch.equal(*streams)
    first, second = (
        {key.removeprefix('fidelity/'): line[key] for key in line if 'fidelity/' in key}
        for line in validations(tmp_path / 'with')
    )
    # Without training few boxes match, or none, and what needs them has no entry.
    optional = {'agreement', 'kl'} if family == 'detection' else set()
    for found in (first, second):
        assert KEYS[family] - optional <= set(found) <= KEYS[family]
    assert first['ece_teacher'] == second['ece_teacher']
    assert first['ece_student'] != second['ece_student']
    assert not any('loss' in key for key in first)
    for line in (first, second):
        shares = [key for key in line if not key.endswith('kl')]
        assert all(0 <= line[key] <= 1 for key in shares)
        assert line.get('kl', 0) >= 0 and line.get('roi_kl', 0) >= 0


@pytest.mark.parametrize('family', FAMILIES)
def test_identical_models_agree(family: str, tmp_path: Path) -> None:
    student = dict(detection=faster_rcnn, segmentation=segmentor)[family]()
    model, options = FAMILIES[family]([HOOK])
    model['teacher'] = teacher_of(student)
    runner = made(model, tmp_path, **options)
    model = runner.model
    teacher = model.teachers['teacher'].prepare(torch.device('cpu'))
    model.student.load_state_dict(teacher.state_dict())
    found = runner.val_loop.run()
    assert found['fidelity/agreement'] == 1
    assert found['fidelity/kl'] == 0
    assert found['fidelity/ece_student'] == found['fidelity/ece_teacher']
    assert found[f'fidelity/cka_{"hint" if family == "detection" else "stage"}'] == (
        pytest.approx(1)
    )
    for metric in ('images', 'mIoU'):
        assert found.get(f'teacher/{metric}') == found.get(metric)
    if family == 'detection':
        assert found['fidelity/recall'] == found['fidelity/precision'] == 1
        assert found['fidelity/roi_agreement'] == 1
        assert found['fidelity/roi_kl'] == pytest.approx(0, abs=1e-6)


def test_pixels_are_those_of_both_predictions(tmp_path: Path) -> None:
    runner = built('segmentation', tmp_path, HOOK | dict(max_batches=1))
    found = runner.val_loop.run()
    student = runner.model.eval().student
    teacher = runner.model.teachers['teacher'].model
    batch = next(iter(runner.val_dataloader))
    rows: dict[str, Any] = dict(student=[], teacher=[])
    with torch.no_grad():
        for name, model in (('student', student), ('teacher', teacher)):
            for sample in model.val_step(copy.deepcopy(batch)):
                valid = sample.gt_sem_seg.data.flatten() != 255
                rows[name].append(sample.seg_logits.data.flatten(1)[:, valid].T)
    both = [torch.cat(rows[name]) for name in ('student', 'teacher')]
    assert len(both[0]) == 2 * 32 * 32 - 8 * 8
    same = (both[0].argmax(1) == both[1].argmax(1)).double().mean()
    assert found['fidelity/agreement'] == pytest.approx(same.item())
    divergence = predictive_divergence(*both).item()
    assert found['fidelity/kl'] == pytest.approx(divergence, rel=1e-5)
    # A score of a part of the images is nobody's.
    assert not any(key.startswith('teacher/') for key in found)
    assert the_hook(runner)._predictions.runs == 1  # type: ignore[union-attr]


def test_features_are_what_the_pair_compares(tmp_path: Path) -> None:
    runner = built('segmentation', tmp_path)
    found = runner.val_loop.run()
    student, teacher = runner.model.student, runner.model.teachers['teacher'].model
    rows: list[list[Any]] = [[], []]
    with torch.no_grad():
        for batch in runner.val_dataloader:
            for own, model in zip(rows, (student, teacher), strict=True):
                data = model.data_preprocessor(copy.deepcopy(batch), False)
                feature = model.backbone(data['inputs'])[1]
                cells = torch.nn.functional.adaptive_avg_pool2d(feature, 4)
                own.append(cells.permute(0, 2, 3, 1).flatten(0, 2))
    expected = linear_cka(*(torch.cat(own) for own in rows)).item()
    assert 0 < expected < 1
    assert found['fidelity/cka_stage'] == pytest.approx(expected, rel=1e-5)


def test_images_that_change_are_seen_anew(tmp_path: Path) -> None:
    changes = dict(val_dataloader=loader('TinySegments'))
    runner = built('segmentation', tmp_path, **changes)
    with patch.object(runner.logger, 'warning') as warned:
        runner.val_loop.run()
        assert not warned.called
        for _ in range(2):
            runner.val_loop.run()
    predictions = the_hook(runner)._predictions
    assert predictions is not None
    assert predictions.runs == 6 and predictions.repeated == 4
    (call,) = warned.call_args_list  # once
    assert 'the validation images change' in call.args[0]


@pytest.mark.parametrize('family', FAMILIES)
def test_a_teacher_of_another_size_predicts_at_the_students(
    family: str, tmp_path: Path
) -> None:
    model, options = FAMILIES[family]([HOOK])
    model['teacher']['input_scale'] = 2.0
    model['pairs'].pop('rpn_cls', None)
    model['pairs'].pop('rpn_reg', None)
    runner = made(model, tmp_path, **options)
    seen = []
    teacher = runner.model.teachers['teacher'].model
    teacher.backbone.register_forward_hook(
        lambda _module, args, _output: seen.append(args[0].shape)
    )
    found = runner.val_loop.run()
    assert 0 <= found['fidelity/ece_teacher'] <= 1
    assert found['teacher/images' if family == 'detection' else 'teacher/mIoU'] >= 0
    batch = next(iter(runner.val_dataloader))
    predictions = the_hook(runner)._predictions
    assert predictions is not None
    for sample in predictions.predict(batch, torch.device('cpu')):
        if family == 'segmentation':
            assert sample.seg_logits.shape == (32, 32)
            continue
        edges = sample.pred_instances.bboxes.max()
        assert 32 < edges <= 64
    side = 128 if family == 'detection' else 64
    assert len(seen) == 3 and seen[0] == (2, 3, side, side)


def test_who_cannot_be_compared_is_told(tmp_path: Path) -> None:
    plain, options = detection([HOOK])
    with pytest.raises(ConfigError, match='needs a model of type kd_plugins'):
        train(faster_rcnn(), tmp_path / 'plain', **options)
    without = dict.fromkeys(('val_dataloader', 'val_cfg', 'val_evaluator'))
    with pytest.raises(ConfigError, match='measures at validations, and this run has'):
        train(plain, tmp_path / 'without', **(options | without))
    hook = HOOK | dict(teacher='techer')
    with pytest.raises(ConfigError, match="there is no 'techer'"):
        train(*detection([hook])[:1], tmp_path / 'name', **detection([hook])[1])


def test_other_classes_are_refused(tmp_path: Path) -> None:
    decode = head('FCNHead', 16, num_convs=1, num_classes=5)
    model, options = segmentation([HOOK])
    model['teacher'] = teacher_of(segmentor(8, decode=decode))
    del model['pairs']['pixels']
    runner = made(model, tmp_path, **options)
    with pytest.raises(ConfigError, match='student scores 4 classes, the teacher 5'):
        runner.val_loop.run()
    runner = built(
        'segmentation', tmp_path / 'names', val_dataloader=loader('OtherClasses')
    )
    runner.model.teachers['teacher']._classes = tuple('abcd')
    with pytest.raises(CheckpointError, match='classes'):
        runner.val_loop.run()


def reordered(family: str) -> tuple[Any, dict[str, Any]]:
    """A teacher of classes in another order, of which one is its own: 'x'.

    The student's 'b' is no class of it.
    """
    model, options = FAMILIES[family]([HOOK | dict(rois=8)])
    if family == 'detection':
        names = dict(student=list('abc'), teacher=list('cxa'))
        model['pairs'] = dict(hint=hint())
        teacher = teacher_of(faster_rcnn())
    else:
        names = dict(student=list('abcd'), teacher=list('dxcax'))
        names['teacher'][-1] = 'y'
        decode = head('PSPHead', 8, pool_scales=(1, 2), num_classes=5)
        teacher = teacher_of(segmentor(decode=decode))
    model['teacher'] = teacher | dict(class_map=names)
    return model, options


@pytest.mark.parametrize('family', FAMILIES)
def test_other_classes_are_compared_where_they_are_shared(
    family: str, tmp_path: Path
) -> None:
    model, options = reordered(family)
    runner = made(model, tmp_path, **options)
    student = runner.model.student
    teacher: Any = runner.model.teachers['teacher'].prepare(torch.device('cpu'))
    columns, last = ([2, 0, 0], 'roi_head.bbox_head.fc_')
    if family == 'segmentation':
        columns, last = ([3, 0, 2, 0, 0], 'decode_head.conv_seg')
    weights = {
        name: value
        for name, value in student.state_dict().items()
        if last not in name and 'auxiliary' not in name
    }
    teacher.load_state_dict(weights, strict=False)
    # The same model, but for the order of its last layer's columns.
    with torch.no_grad():
        if family == 'detection':
            own, other = student.roi_head.bbox_head, teacher.roi_head.bbox_head
            own.fc_cls.bias[1] = other.fc_cls.bias[1] = -50  # 'b' and 'x': never seen
            kept = torch.tensor([0, 2, 3])
            order = torch.tensor([*columns, 3])[kept]
            for part in ('weight', 'bias'):
                value = getattr(own.fc_cls, part)[order]
                getattr(other.fc_cls, part)[kept] = value
                boxes = getattr(own.fc_reg, part).unflatten(0, (3, 4))[columns]
                getattr(other.fc_reg, part).copy_(boxes.flatten(0, 1))
        else:
            own, other = student.decode_head.conv_seg, teacher.decode_head.conv_seg
            for part in ('weight', 'bias'):
                getattr(other, part).copy_(getattr(own, part)[columns])
            other.bias[[1, 4]] = 50  # 'x' and 'y': everywhere, were they compared
            own.bias[1] = 50  # 'b' likewise
    found = runner.val_loop.run()
    # A score by metrics of the student's classes would be nobody's.
    assert not any(key.startswith('teacher/') for key in found)
    keys = ['agreement'] if family == 'segmentation' else ['agreement', 'roi_agreement']
    for key in keys:
        assert found[f'fidelity/{key}'] == 1
        kl = found[f'fidelity/{key.replace("agreement", "kl")}']
        assert kl == pytest.approx(0, abs=1e-6)
    assert found['fidelity/ece_student'] == pytest.approx(
        found['fidelity/ece_teacher'], abs=1e-6
    )
    if family == 'detection':
        assert found['fidelity/recall'] == found['fidelity/precision'] == 1


def test_a_class_map_is_that_of_the_data_and_of_the_heads(tmp_path: Path) -> None:
    model, options = reordered('segmentation')
    options['val_dataloader'] = loader('OtherClasses')
    runner = made(model, tmp_path / 'data', **options)
    with pytest.raises(ConfigError, match=r'class_map.student: must be the classes of'):
        runner.val_loop.run()
    model, options = reordered('segmentation')
    model['teacher']['class_map']['teacher'] = list('dxca')
    del model['pairs']['pixels']
    runner = made(model, tmp_path / 'head', **options)
    with pytest.raises(ConfigError, match='head of the teacher knows 5 classes'):
        runner.val_loop.run()
    model['teacher']['class_map']['teacher'] = list('dvxyz')
    runner = made(model, tmp_path / 'one', **options)
    with pytest.raises(ConfigError, match=r"only 'd' is shared.*class_map.rename"):
        runner.val_loop.run()


def test_sigmoid_classes_are_refused(tmp_path: Path) -> None:
    loss = dict(type='mmseg.CrossEntropyLoss', use_sigmoid=True)
    decode = head('FCNHead', 8, num_convs=1, loss_decode=loss)
    model, options = segmentation([HOOK])
    model['student'] = segmentor(decode=decode)
    del model['pairs']['pixels']
    runner = made(model, tmp_path, **options)
    message = 'FCNHead of the student scores each class by a sigmoid'
    with pytest.raises(ConfigError, match=message):
        runner.val_loop.run()


def test_labels_of_another_size_are_refused(tmp_path: Path) -> None:
    runner = built('segmentation', tmp_path, val_evaluator=dict(type='CountBoxes'))
    for item in runner.val_dataloader.dataset.items:
        item['data_samples'].set_metainfo(dict(ori_shape=(16, 16)))
    with pytest.raises(DistillationError, match=r'\(32, 32\), the predictions \(16'):
        runner.val_loop.run()


@pytest.mark.parametrize(
    ('option', 'message'),
    [
        (dict(max_batches=0), 'max_batches must be a whole number >= 1'),
        (dict(pixels=None), 'pixels must be a whole number >= 1, got None'),
        (dict(rois=None), 'rois must be a whole number >= 1, got None'),
        (dict(score_thr=-1), 'score_thr must be a finite number >= 0'),
    ],
)
def test_arguments_are_checked(option: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        FidelityHook(**option)


def test_a_layer_that_predicts_otherwise_is_left_out_aloud(tmp_path: Path) -> None:
    test_cfg = dict(mode='slide', crop_size=(16, 16), stride=(16, 16))
    model, options = segmentation([HOOK])
    model['student'] = segmentor(test_cfg=test_cfg)
    runner = made(model, tmp_path, **options)
    with patch.object(runner.logger, 'warning') as warned:
        found = runner.val_loop.run()
    (call,) = warned.call_args_list
    assert "the layer 'backbone.layer2' of the student does not" in call.args[0]
    assert 'fidelity/cka_stage' not in found and 'fidelity/kl' in found


def test_a_pair_of_levels_has_their_mean(tmp_path: Path) -> None:
    model, options = detection([HOOK])
    model['pairs'] = dict(one=hint(levels=[1]), all=hint())
    runner = made(model, tmp_path, **options)
    found = runner.val_loop.run()
    features = the_hook(runner)._features
    assert features is not None
    moments = features.moments
    values = [float(level.linear_cka()) for level in moments['all']]
    assert len(values) == 3
    assert found['fidelity/cka_one'] == pytest.approx(values[1])
    assert found['fidelity/cka_all'] == pytest.approx(sum(values) / 3)


def test_no_key_of_a_measure_contains_loss(tmp_path: Path) -> None:
    model, options = segmentation([HOOK])
    model['pairs'] = dict(stage_loss=model['pairs']['stage'])
    found = made(model, tmp_path, **options).val_loop.run()
    assert 0 <= found['fidelity/cka_stage_term'] <= 1
    assert not any('loss' in key for key in found)
