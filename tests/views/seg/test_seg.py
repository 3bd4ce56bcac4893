"""Class maps of pixels: what the student's task loss and the teacher in eval see."""

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.testing import assert_close

from kd_plugins.errors import ConfigError
from kd_plugins.losses import pixel_wise_divergence
from kd_plugins.views import MatchedTensors
from tests.distillers.tiny import distiller, faster_rcnn, teacher_of
from tests.distillers.tiny_seg import (
    CLASSES,
    cascade,
    head,
    losses_of,
    segment_batch,
    segmentor,
)

pytestmark = pytest.mark.host


def pixel(view: Any = 'seg.logits', **options: Any) -> dict[str, Any]:
    return dict(pixel=dict(view=view, loss=dict(type='PixelWiseLoss', **options)))


def build(
    view: Any = 'seg.logits', student: Any = None, teacher: Any = None, **options: Any
) -> Any:
    return distiller(
        pixel(view, **options),
        student=student or segmentor(),
        teacher=teacher_of(teacher or segmentor(8)),
    )


def matched_of(model: Any) -> tuple[MatchedTensors, Any, Tensor]:
    """The pair's tensors, the teacher's model, and the preprocessed images."""
    prepared = segment_batch(model)
    inputs, samples = prepared['inputs'], prepared['data_samples']
    with model.step(inputs, samples) as step:
        torch.manual_seed(3)
        model.task_losses(step)
        (run,) = step.teachers.values()
        ((found,),) = model.match(step).values()
    assert found is not None
    return found, run.model, inputs


def test_student_is_what_its_task_loss_reads_and_teacher_that_of_eval() -> None:
    model = build()
    found, teacher, inputs = matched_of(model)
    seen: list[Tensor] = []
    own = model.student.decode_head
    handle = own.conv_seg.register_forward_hook(lambda *args: seen.append(args[2]))
    torch.manual_seed(3)  # the same dropout
    losses_of(model.student)
    handle.remove()
    assert torch.equal(found.student, seen[0])
    assert found.student.requires_grad
    with torch.no_grad():
        expected = teacher.encode_decode(
            inputs, [dict(img_shape=found.student.shape[2:])]
        )
    assert_close(found.teacher, expected)
    assert not teacher.training
    assert not found.teacher.requires_grad


def test_labels_at_the_size_of_the_logits_and_the_ignore_label_as_mask() -> None:
    model = build()
    found, _, _ = matched_of(model)
    assert found.student.shape == (2, CLASSES, 4, 4)
    assert found.target is not None and found.mask is not None
    samples = segment_batch(model)['data_samples']
    for image, sample in enumerate(samples):
        labels = sample.gt_sem_seg.data[0]
        for row in range(4):
            for column in range(4):
                label = int(labels[8 * row + 4, 8 * column + 4])
                kept = label != 255
                assert found.mask[image, row, column] == kept
                assert found.target[image, row, column] == (label if kept else 0)
    assert found.mask.sum() == found.count == 31


def test_loss_is_that_of_the_pixels_that_count() -> None:
    model = build(loss_weight=2.0, temperature=3.0)
    found, _, _ = matched_of(model)
    losses = losses_of(model)
    expected = pixel_wise_divergence(
        found.student, found.teacher, temperature=3.0, mask=found.mask
    )
    assert_close(losses['loss_kd_pixel'], 2 * expected)
    assert 'decode.loss_ce' in losses


def strided(strides: tuple[int, int]) -> dict[str, Any]:
    model = segmentor(8)
    model['backbone']['strides'] = strides
    return model


@pytest.mark.parametrize(('size', 'side'), [('student', 4), ('teacher', 8)])
def test_another_output_stride_is_interpolated(size: str, side: int) -> None:
    view = dict(type='seg.logits', size=size)
    model = build(view, teacher=strided((1, 1)))
    found, _, _ = matched_of(model)
    plain, _, _ = matched_of(build(teacher=strided((1, 1))))
    assert found.student.shape[2:] == found.teacher.shape[2:] == (side, side)
    assert found.mask is not None and found.mask.shape == (2, side, side)
    if size == 'teacher':
        resized = F.interpolate(plain.student, (8, 8), mode='bilinear')
        assert_close(found.student, resized)
        assert_close(
            F.interpolate(found.teacher, (4, 4), mode='bilinear'), plain.teacher
        )
    assert losses_of(model)['loss_kd_pixel'] > 0


def test_cascades_at_their_last_stage_or_another() -> None:
    model = build(student=cascade(), teacher=cascade(8))
    last, teacher, inputs = matched_of(model)
    with torch.no_grad():
        expected = teacher._forward(inputs)
    assert_close(last.teacher, expected)
    view = dict(type='seg.logits', stage=0)
    first, teacher, inputs = matched_of(
        build(view, student=cascade(), teacher=cascade(8))
    )
    with torch.no_grad():
        expected = teacher.decode_head[0].forward(teacher.extract_feat(inputs))
    assert_close(first.teacher, expected)
    assert not torch.equal(first.student, last.student)


def test_a_plain_teacher_of_a_cascade() -> None:
    model = build(student=cascade())
    found, teacher, inputs = matched_of(model)
    with torch.no_grad():
        expected = teacher.decode_head.forward(teacher.extract_feat(inputs))
    assert_close(found.teacher, expected)


def test_point_rend_at_its_coarse_map() -> None:
    points = dict(
        type='mmseg.PointHead',
        in_channels=[8],
        in_index=[1],
        channels=8,
        num_fcs=1,
        coarse_pred_each_layer=True,
        dropout_ratio=-1,
        num_classes=CLASSES,
        loss_decode=dict(type='mmseg.CrossEntropyLoss'),
    )
    student = segmentor(
        4,
        [head('FCNHead', 8, num_convs=1), points],
        type='mmseg.CascadeEncoderDecoder',
        num_stages=2,
        train_cfg=dict(num_points=8, oversample_ratio=3, importance_sample_ratio=0.75),
    )
    with pytest.raises(ConfigError, match=r'PointHead scores points .* Set stage=0'):
        build(student=student)
    view = dict(type='seg.logits', stage=0)
    model = build(view, student=student, teacher=student)
    assert losses_of(model)['loss_kd_pixel'] > 0


HEADS = {
    'FCNHead': head('FCNHead', 8, num_convs=1),
    'ASPPHead': head('ASPPHead', 8, dilations=(1, 2)),
    'DepthwiseSeparableASPPHead': head(
        'DepthwiseSeparableASPPHead',
        8,
        dilations=(1, 2),
        c1_in_channels=4,
        c1_channels=4,
    ),
    'UPerHead': head('UPerHead', [4, 8], pool_scales=(1, 2)) | dict(in_index=[0, 1]),
    'SegformerHead': head('SegformerHead', [4, 8]) | dict(in_index=[0, 1]),
    'DAHead': head('DAHead', 8, pam_channels=4),
    'EncHead': head(
        'EncHead',
        8,
        num_codes=4,
        use_se_loss=True,
        loss_se_decode=dict(type='mmseg.CrossEntropyLoss', use_sigmoid=True),
    )
    | dict(in_index=[0, 1], in_channels=[4, 8]),
}


@pytest.mark.parametrize('kind', HEADS)
def test_any_decode_head(kind: str) -> None:
    student = segmentor(decode=HEADS[kind])
    model = build(student=student)
    losses = losses_of(model)
    found, _, _ = matched_of(model)
    assert found.student.shape[1] == CLASSES
    assert losses['loss_kd_pixel'] > 0
    model.parse_losses(losses)[0].backward()
    teaches = build(teacher=student)
    assert losses_of(teaches)['loss_kd_pixel'] > 0


@pytest.mark.filterwarnings('ignore:"dropout" is deprecated:DeprecationWarning')
def test_iterative_heads_by_their_last_map() -> None:
    update = dict(
        type='mmseg.KernelUpdateHead',
        num_classes=CLASSES,
        num_ffn_fcs=2,
        num_heads=2,
        num_mask_fcs=1,
        feedforward_channels=8,
        in_channels=8,
        out_channels=8,
        dropout=0.0,
        conv_kernel_size=1,
        ffn_act_cfg=dict(type='ReLU', inplace=True),
        with_ffn=True,
        feat_transform_cfg=dict(conv_cfg=dict(type='Conv2d'), act_cfg=None),
        kernel_updator_cfg=dict(
            type='mmseg.KernelUpdator',
            in_channels=8,
            feat_channels=8,
            out_channels=8,
            act_cfg=dict(type='ReLU', inplace=True),
            norm_cfg=dict(type='LN'),
        ),
    )
    decode = dict(
        type='mmseg.IterativeDecodeHead',
        num_stages=2,
        kernel_update_head=[update, update],
        kernel_generate_head=head('FCNHead', 8, num_convs=1),
    )
    model = build(student=segmentor(decode=decode), teacher=segmentor(decode=decode))
    found, teacher, inputs = matched_of(model)
    with torch.no_grad():
        expected = teacher.decode_head.forward(teacher.extract_feat(inputs))
    assert_close(found.teacher, expected)
    assert losses_of(model)['loss_kd_pixel'] > 0


def test_binary_heads_by_their_one_sigmoid() -> None:
    decode = head(
        'FCNHead',
        8,
        num_convs=1,
        num_classes=2,
        out_channels=1,
        loss_decode=dict(type='mmseg.CrossEntropyLoss', use_sigmoid=True),
    )
    with pytest.warns(UserWarning, match='threshold'):
        model = build(
            student=segmentor(decode=decode), teacher=segmentor(decode=decode)
        )
    (spec,) = model.pairs[0].tensors
    assert spec.context.activation == 'sigmoid'
    assert spec.student == (1, 1, 16, 16)


def test_other_class_losses_read_it_too() -> None:
    kinds = {
        'kd': dict(type='KDLoss', temperature=2.0),
        'l2': dict(type='LogitL2Loss'),
        'weighted': dict(type='WeightedClassKDLoss', class_weights=[1, 2, 1, 0.5]),
        'labelled': dict(type='PixelWiseLoss', class_weights=[1, 2, 1, 0.5]),
    }
    pairs = {name: dict(view='seg.logits', loss=loss) for name, loss in kinds.items()}
    model = distiller(pairs, student=segmentor(), teacher=teacher_of(segmentor(8)))
    losses = losses_of(model)
    assert all(losses[f'loss_kd_{name}'] > 0 for name in kinds)


def test_gradient_reaches_the_student_alone() -> None:
    model = build()
    losses_of(model)['loss_kd_pixel'].backward()
    assert model.student.backbone.stem[0].weight.grad.abs().sum() > 0
    (teacher,) = model.teachers.values()
    assert all(parameter.grad is None for parameter in teacher.model.parameters())
    assert 'loss_by_feat' not in vars(model.student.decode_head)


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (
            dict(teacher=segmentor(8, head('FCNHead', 16, num_convs=1, num_classes=7))),
            r'the student scores 4 classes, the teacher 7\. Choose a teacher of',
        ),
        (
            dict(view=dict(type='seg.logits', stage=2), student=cascade()),
            r'pixel\.view.*stage.*: got 2; decode_head has 2 stages, counted from 0',
        ),
        (
            dict(view=dict(type='seg.logits', size='teachr')),
            r"pixel\.view: size must be 'student' or 'teacher', got 'teachr'",
        ),
        (dict(view='seg.logit'), r"no view 'seg\.logit'\. Close: 'seg\.logits'"),
        (
            dict(
                student=segmentor(
                    decode=head(
                        'FCNHead',
                        8,
                        num_convs=1,
                        loss_decode=dict(
                            type='mmseg.CrossEntropyLoss', use_sigmoid=True
                        ),
                    )
                )
            ),
            'the student trains its classes by a sigmoid, the teacher by a softmax',
        ),
        (
            dict(teacher=faster_rcnn()),
            r'\(teacher\): FasterRCNN has no decode_head; a view of pixels',
        ),
    ],
)
def test_what_cannot_be_compared_is_refused(options: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        build(**options)


def test_heads_of_masks_are_refused_by_name() -> None:
    from mmseg.models.decode_heads.mask2former_head import Mask2FormerHead

    from kd_plugins.views.seg.heads import seg_head

    model = type('Segmentor', (), {})()
    model.decode_head = Mask2FormerHead.__new__(Mask2FormerHead)
    with pytest.raises(ConfigError, match='Mask2FormerHead scores masks, not pixels'):
        seg_head(model, None)
