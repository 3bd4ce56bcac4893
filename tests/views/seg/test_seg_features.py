"""Features that a segmentation head classifies, with the labels of their pixels."""

from typing import Any

import pytest
import torch
from mmseg.models.decode_heads import FCNHead
from mmseg.registry import MODELS
from torch import Tensor
from torch.testing import assert_close

from kd_plugins.errors import ConfigError
from tests.distillers.tiny import distiller, teacher_of
from tests.distillers.tiny_seg import cascade, head, losses_of, segmentor
from tests.views.seg.test_seg import matched_of

pytestmark = pytest.mark.host


def build(student: Any = None, teacher: Any = None, **view: Any) -> Any:
    asked = dict(type='seg.features', **view)
    adapter = dict(type='ConvAdapter')
    return distiller(
        dict(feature=dict(view=asked, adapter=adapter, loss=dict(type='HintLoss'))),
        student=student or segmentor(),
        teacher=teacher_of(teacher or segmentor(8)),
    )


def test_what_the_classifier_reads_before_dropout() -> None:
    model = build()
    found, teacher, inputs = matched_of(model)
    seen: list[Tensor] = []
    own = model.student.decode_head
    handle = own.bottleneck.register_forward_hook(lambda *args: seen.append(args[2]))
    losses_of(model.student)
    handle.remove()
    assert torch.equal(found.student, seen[0])
    assert found.student.requires_grad
    with torch.no_grad():
        expected = teacher.decode_head._forward_feature(teacher.extract_feat(inputs))
    assert_close(found.teacher, expected)
    assert 'cls_seg' not in own.__dict__
    assert 'cls_seg' not in teacher.decode_head.__dict__


def test_labels_and_the_ignore_label_as_for_logits() -> None:
    found, _, _ = matched_of(build())
    assert found.target is not None
    assert found.mask is not None
    assert found.target.shape == found.mask.shape == (2, *found.student.shape[2:])
    assert not found.mask[0].all()
    assert found.mask[1].all()


def test_a_teacher_of_other_classes_may_show_its_features() -> None:
    other = segmentor(8)
    other['decode_head'] = other['decode_head'] | dict(num_classes=7)
    assert losses_of(build(teacher=other))['loss_kd_feature'] > 0


def test_another_stride_is_interpolated() -> None:
    coarse = segmentor(8)
    coarse['backbone'] = coarse['backbone'] | dict(strides=(2, 2))
    found, _, _ = matched_of(build(teacher=coarse))
    assert found.teacher.shape[2:] == found.student.shape[2:]


def test_stages_of_a_cascade_and_a_plain_teacher() -> None:
    assert losses_of(build(cascade(), cascade(8), stage=0))['loss_kd_feature'] > 0
    assert losses_of(build(cascade()))['loss_kd_feature'] > 0


@pytest.mark.parametrize('kind', ['FCNHead', 'ASPPHead'])
def test_other_heads(kind: str) -> None:
    decode = head(kind, 8, **(dict(dilations=(1, 2)) if kind == 'ASPPHead' else {}))
    assert losses_of(build(segmentor(decode=decode)))['loss_kd_feature'] > 0


@MODELS.register_module()
class _ByItself(FCNHead):
    """Classifies past ``cls_seg``."""

    def forward(self, inputs: Any) -> Tensor:
        logits: Tensor = self.conv_seg(self._forward_feature(inputs))
        return logits


def test_a_head_that_classifies_by_itself_is_refused() -> None:
    decode = head('FCNHead', 8, num_convs=1) | dict(type='mmseg._ByItself')
    with pytest.raises(ConfigError, match=r"by its 'cls_seg'.*view='seg\.logits'"):
        build(segmentor(decode=decode))
