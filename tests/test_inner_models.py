"""Models around a model: the one inside is compared, or the student refused."""

import re
from pathlib import Path
from typing import Any

import pytest
import torch
from mmengine.optim import OptimWrapper
from torch import nn

from kd_plugins.engine.hooks.fidelity import _check_predicts_on_images
from kd_plugins.errors import ConfigError
from kd_plugins.inner_models import inner_path
from kd_plugins.registry import MODELS
from kd_plugins.teachers import model_config
from tests.distillers.tiny import (
    IMAGE_MEANS,
    config,
    distiller,
    faster_rcnn,
    hint,
    losses_of,
    observed,
    raw_batch,
    teacher_of,
)

pytestmark = pytest.mark.host
NECK = 'lateral_convs.0.conv.weight'


def detector(**changes: Any) -> Any:
    """As configs of trackers write it: the images are prepared outside."""
    model = faster_rcnn(**changes)
    del model.data_preprocessor
    return model


def tracker(kind: str = 'ByteTrack', **changes: Any) -> dict[str, Any]:
    return (
        dict(
            type=f'mmdet.{kind}',
            data_preprocessor=dict(
                type='mmdet.TrackDataPreprocessor',
                use_det_processor=True,
                bgr_to_rgb=True,
                pad_size_divisor=32,
                **IMAGE_MEANS,
            ),
            detector=detector(),
        )
        | changes
    )


def semi_supervised(kind: str = 'SoftTeacher', **test_cfg: Any) -> dict[str, Any]:
    plain = faster_rcnn(base=8)
    return dict(
        type=f'mmdet.{kind}',
        detector=plain,
        data_preprocessor=dict(
            type='mmdet.MultiBranchDataPreprocessor',
            data_preprocessor=plain.data_preprocessor,
        ),
        semi_train_cfg=dict(freeze_teacher=True),
        semi_test_cfg=test_cfg,
    )


def logits(**options: Any) -> dict[str, Any]:
    return dict(view='roi.logits', loss=dict(type='KDLoss')) | options


# As a student


@pytest.mark.parametrize('kind', ['ByteTrack', 'OCSORT'])
@pytest.mark.parametrize(
    'layer',
    ['detector.neck', 'neck', dict(student='detector.neck', teacher='neck')],
    ids=['whole', 'inner', 'both'],
)
def test_a_tracker_trains_its_detector_under_a_plain_teacher(
    kind: str, layer: Any
) -> None:
    pairs = dict(neck=hint() | dict(layer=layer), logits=logits())
    model = distiller(pairs, tracker(kind), teacher_of(faster_rcnn(base=8)))
    before = model.student.detector.neck.lateral_convs[0].conv.weight.clone()
    wrapper = OptimWrapper(torch.optim.SGD(model.student.parameters(), lr=0.01))
    for _ in range(2):
        logs = model.train_step(raw_batch(), wrapper)
        assert logs['loss_kd_neck'] > 0 and logs['loss_kd_logits'] > 0
    after = model.student.detector.neck.lateral_convs[0].conv.weight
    assert not torch.equal(before, after)
    # Its checkpoint is that of the tracker.
    kept = model.student_state_dict(model.state_dict())
    MODELS.build(tracker(kind)).load_state_dict(kept)


def test_its_losses_are_those_of_the_detector_alone() -> None:
    pairs = dict(neck=hint(), logits=logits())
    plain = losses_of(distiller(pairs))
    inside = losses_of(distiller(pairs, tracker()))
    assert plain.keys() == inside.keys()
    for name in ('loss_kd_neck', 'loss_kd_logits', 'loss_cls'):
        assert torch.equal(plain[name], inside[name]), name


def test_the_frozen_step_runs_the_detector_too() -> None:
    model = distiller(dict(neck=hint()), tracker())
    with model.step(torch.rand(2, 3, 64, 64), (), frozen=True) as step:
        (matched,) = model.match(step)['neck'][:1]
    assert matched.student.shape == matched.teacher.shape
    assert step.student.model is model.student.detector


def test_it_inherits_from_a_plain_teacher() -> None:
    model = distiller({}, tracker(), init_from_teacher=['neck'])
    own = model.student.detector.neck.state_dict()
    for name, value in model.teachers['teacher'].model.neck.state_dict().items():
        assert torch.equal(value, own[name])


def test_other_layers_are_looked_up_in_the_detector() -> None:
    message = "neck.layer (student): FasterRCNN has no layer 'nek'. Close: 'neck'"
    pairs = dict(neck=hint() | dict(layer='detector.nek'))
    with pytest.raises(ConfigError, match=re.escape(message)):
        MODELS.build(config(pairs, tracker()))


_ALONE = 'Distil its detector alone, on images: student={{_base_.model.detector}}, with'
_FROM = "then start from that: detector.init_cfg=dict(type='Pretrained', checkpoint="


def _of(name: str) -> Any:
    model = model_config(dict(cfg=f'mmdet::{name}'))
    model.pop('init_cfg', None)
    if 'detector' in model:
        model.detector.init_cfg = model.detector.backbone.init_cfg = None
    return model


QDTRACK = 'qdtrack/qdtrack_faster-rcnn_r50_fpn_4e_base.py'
MASKTRACK = 'masktrack_rcnn/masktrack-rcnn_mask-rcnn_r50_fpn_8xb1-12e_youtubevis2019.py'
VIDEO = 'mask2former_vis/mask2former_r50_8xb2-8e_youtubevis2019.py'


@pytest.mark.parametrize(
    ('student', 'parts'),
    [
        (
            semi_supervised,
            (
                'model.student: SoftTeacher is trained on several batches by name, ',
                'Distil its detector alone, on labelled images: student={{_base_.model',
                "then start from that: load_from='student_*.pth'.",
                'As the teacher of a plain detector it does serve.',
            ),
        ),
        (
            lambda: _of(QDTRACK),
            ('model.student: QDTrack is trained on clips', _ALONE, _FROM),
        ),
        (
            lambda: _of(MASKTRACK),
            ('model.student: MaskTrackRCNN is trained on clips', _ALONE, _FROM),
        ),
        (
            lambda: _of(VIDEO),
            (
                'model.student: Mask2FormerVideo is trained on clips',
                "Distil a Mask2Former on images; start from it: load_from='student_*",
            ),
        ),
        (
            lambda: tracker('DeepSORT'),
            ('model.student: DeepSORT has no losses', _ALONE, _FROM),
        ),
        (
            lambda: tracker(data_preprocessor=dict(type='mmdet.TrackDataPreprocessor')),
            (
                'model.student: ByteTrack is given clips',
                'Set data_preprocessor.use_det_processor=True',
            ),
        ),
    ],
    ids=['soft', 'qdtrack', 'masktrack', 'video', 'deepsort', 'clips'],
)
def test_students_of_more_than_images_are_refused_by_name(
    student: Any, parts: tuple[str, ...]
) -> None:
    with pytest.raises(ConfigError) as caught:
        MODELS.build(config(dict(neck=hint()), student()))
    for part in parts:
        assert part in str(caught.value)


# What the messages say instead


def test_a_semi_supervised_detector_starts_from_its_distilled_detector() -> None:
    kept = MODELS.build(faster_rcnn(base=8)).state_dict()
    whole = MODELS.build(semi_supervised())
    whole.load_state_dict(dict(kept))
    for part in (whole.student, whole.teacher):
        assert torch.equal(part.neck.state_dict()[NECK], kept[f'neck.{NECK}'])


def test_a_tracker_starts_from_its_distilled_detector(tmp_path: Path) -> None:
    kept = MODELS.build(faster_rcnn()).state_dict()
    torch.save(dict(state_dict=kept), tmp_path / 'student.pth')
    cfg = tracker()
    cfg['detector']['init_cfg'] = dict(
        type='Pretrained', checkpoint=str(tmp_path / 'student.pth')
    )
    whole = MODELS.build(cfg)
    whole.init_weights()
    assert torch.equal(whole.detector.neck.state_dict()[NECK], kept[f'neck.{NECK}'])


# As a teacher


def _weights(built: nn.Module, path: Path) -> str:
    for parameter in built.parameters():
        nn.init.normal_(parameter, std=0.05)
    torch.save(dict(state_dict=built.state_dict()), path)
    return str(path)


@pytest.mark.parametrize(
    ('model', 'inside'),
    [
        (tracker, 'detector'),
        (lambda: tracker('DeepSORT'), 'detector'),
        (semi_supervised, 'teacher'),
        (lambda: semi_supervised(predict_on='student'), 'student'),
    ],
    ids=['tracker', 'deepsort', 'soft', 'its student'],
)
def test_the_detector_inside_teaches(model: Any, inside: str, tmp_path: Path) -> None:
    built = MODELS.build(model())
    path = _weights(built, tmp_path / 'whole.pth')
    pairs = dict(
        neck=hint() | dict(layer=dict(student='neck', teacher=f'{inside}.neck')),
        logits=logits(),
    )
    distilled = distiller(pairs, teacher=dict(model=model(), checkpoint=path))
    detector = built.get_submodule(inside).eval()
    # The same statistics as the student's: nothing to translate.
    with observed(distilled) as seen, torch.no_grad():
        assert torch.equal(seen.inputs, seen.step.inputs)
        levels = detector.extract_feat(seen.inputs)
        for item, level in zip(seen.matched['neck'], levels, strict=True):
            assert item is not None
            torch.testing.assert_close(item.teacher, level)
    assert distilled.teacher_parts('teacher') == ['backbone', 'neck', 'roi_head']
    whole = type(built).__name__
    assert f"FasterRCNN ('{inside}' of {whole})" in distilled.summary()


def test_a_teacher_of_clips_is_refused_by_name() -> None:
    message = r'\(teacher\): Mask2FormerVideo computes no features of single images'
    with pytest.raises(ConfigError, match=message):
        MODELS.build(
            config(
                dict(a=hint() | dict(layer='backbone')), teacher=teacher_of(_of(VIDEO))
            )
        )


def test_of_two_with_a_backbone_the_detector_is_meant() -> None:
    whole: Any = nn.Module()
    whole.reid, whole.detector = (MODELS.build(faster_rcnn()) for _ in range(2))
    assert inner_path(whole) == 'detector'
    assert inner_path(whole.detector) == ''
    del whole.detector
    whole.other = MODELS.build(faster_rcnn())
    assert inner_path(whole) == ''


@pytest.mark.parametrize('of_student', [True, False])
def test_fidelity_of_trackers_is_refused(of_student: bool) -> None:
    student, teacher = faster_rcnn(), teacher_of(tracker())
    if of_student:
        student, teacher = tracker(), teacher_of(faster_rcnn())
    model = distiller({}, student, teacher)
    with pytest.raises(ConfigError, match='a tracker predicts on clips'):
        _check_predicts_on_images(model, model.teachers['teacher'])
