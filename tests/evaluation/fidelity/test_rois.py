"""What two RoI heads say of the same RoIs, summed over a data set."""

import math
from typing import Any

import pytest
import torch

from kd_plugins.errors import ConfigError
from kd_plugins.evaluation.fidelity import agreement, predictive_divergence
from kd_plugins.evaluation.fidelity.rois import KeptRoIs, RoIFidelity, roi_fidelity
from kd_plugins.recorders import Records, recording
from kd_plugins.registry import MODELS
from kd_plugins.teachers.class_map import ClassMap, read_class_map
from kd_plugins.views.roi.outputs import RoIOutputs, RoIRecorder
from tests.distillers.tiny import cascade_rcnn, faster_rcnn
from tests.distillers.tiny_seg import segmentor

MAP: dict[str, Any] = dict(student=['a', 'b', 'c'], teacher=['c', 'x', 'a'])


def class_map() -> ClassMap:
    return read_class_map(MAP)


def built(cfg: Any) -> Any:
    model = MODELS.build(cfg)
    model.init_weights()
    return model.eval()


def rois_of(*images: int) -> torch.Tensor:
    """As many RoIs of each image, (R, 5)."""
    rows = []
    for image, number in enumerate(images):
        corners = torch.rand(number, 2) * 30
        sides = 5 + torch.rand(number, 2) * 25
        index = torch.full((number, 1), float(image))
        rows.append(torch.cat([index, corners, corners + sides], dim=1))
    return torch.cat(rows)


def recorded(model: Any, inputs: torch.Tensor, rois: torch.Tensor) -> Records:
    """What a model's RoI head is recorded to do with RoIs."""
    with torch.no_grad(), recording(model, [RoIRecorder()]) as records:
        features = model.extract_feat(inputs)
        cascade = [0] if 'Cascade' in type(model).__name__ else []
        model.roi_head._bbox_forward(*cascade, features, rois)
    return records


def records_of(stages: dict[int, RoIOutputs]) -> Records:
    records = Records()
    records.add(RoIRecorder(), stages)
    return records


def logits_of(model: Any, inputs: torch.Tensor, rois: torch.Tensor) -> torch.Tensor:
    """By the layers themselves."""
    head, extractor = model.roi_head.bbox_head, model.roi_head.bbox_roi_extractor
    with torch.no_grad():
        features = model.extract_feat(inputs)
        pooled = extractor(features[: extractor.num_inputs], rois)
        found: torch.Tensor = head(pooled)[0]
    return found


@pytest.mark.parametrize('scale', [1.0, 2.0])
@pytest.mark.parametrize('mapped', [False, True])
def test_both_heads_score_the_teachers_best_rois(scale: float, mapped: bool) -> None:
    student, teacher = built(faster_rcnn()), built(faster_rcnn(8))
    classes = class_map() if mapped else None
    fidelity = roi_fidelity(student, teacher, classes, 3, scale)
    assert fidelity is not None
    rows: list[list[torch.Tensor]] = [[], []]
    for images in ((5, 2), (3, 4)):
        inputs, rois = torch.randn(2, 3, 64, 64), rois_of(*images)
        large = torch.nn.functional.interpolate(inputs, scale_factor=scale)
        kept = fidelity.read(recorded(teacher, large, rois * scale_of(scale)))
        fidelity.add(student, recorded(student, inputs, rois_of(4, 4)), kept)
        best = torch.cat([rois[:3], rois[images[0] : images[0] + 3]])
        rows[0].append(logits_of(student, inputs, best))
        rows[1].append(logits_of(teacher, large, best * scale_of(scale)))
    student_rows, teacher_rows = (torch.cat(parts) for parts in rows)
    if mapped:
        student_rows, teacher_rows = (
            student_rows[:, [0, 2, 3]],
            teacher_rows[:, [2, 0, 3]],
        )
    found = fidelity.values()
    expected = agreement(student_rows, teacher_rows).item()
    assert found['roi_agreement'] == pytest.approx(expected)
    expected = predictive_divergence(student_rows, teacher_rows).item()
    assert expected > 0
    assert found['roi_kl'] == pytest.approx(expected, rel=1e-3)


def scale_of(scale: float) -> torch.Tensor:
    """Factors of a RoI's columns."""
    return torch.tensor([1.0, scale, scale, scale, scale])


def test_a_model_agrees_with_itself_and_is_left_as_it_was() -> None:
    student = built(cascade_rcnn()).train()
    fidelity = roi_fidelity(student, student, None, 64, 1.0)
    assert fidelity is not None
    before = {name: value.clone() for name, value in student.state_dict().items()}
    student.eval()
    records = recorded(student, torch.randn(2, 3, 64, 64), rois_of(6, 6))
    student.train()
    fidelity.add(student, records, fidelity.read(records))
    assert fidelity.values() == dict(
        roi_agreement=1.0, roi_kl=pytest.approx(0, abs=1e-7)
    )
    assert student.training
    for name, value in student.state_dict().items():
        assert torch.equal(value, before[name])


def test_without_rois_nothing_has_a_value() -> None:
    fidelity = RoIFidelity(3)
    student = built(faster_rcnn())
    nothing = records_of({})
    assert fidelity.read(nothing) is None
    some = records_of({0: RoIOutputs(rois=torch.zeros(0, 5))})
    fidelity.add(student, some, None)
    fidelity.add(student, nothing, KeptRoIs(rois_of(2), torch.zeros(2, 4)))
    assert all(math.isnan(value) for value in fidelity.values().values())


def test_models_without_such_heads_are_left_out() -> None:
    detector = built(faster_rcnn())
    assert roi_fidelity(detector, built(segmentor()), None, 3, 1.0) is None
    loss = dict(type='mmdet.CrossEntropyLoss', use_sigmoid=True)
    sigmoid = built(faster_rcnn(roi_head__bbox_head=dict(loss_cls=loss)))
    assert roi_fidelity(detector, sigmoid, None, 3, 1.0) is None
    sigmoid.roi_head = None
    assert roi_fidelity(detector, sigmoid, None, 3, 1.0) is None


def test_other_numbers_of_classes_are_refused() -> None:
    detector = built(faster_rcnn())
    other = built(faster_rcnn(roi_head__bbox_head=dict(num_classes=5)))
    with pytest.raises(ConfigError, match=r'3 classes, the teacher 5.*class_map'):
        roi_fidelity(detector, other, None, 3, 1.0)
    with pytest.raises(ConfigError, match='head of the teacher knows 5 classes'):
        roi_fidelity(detector, other, class_map(), 3, 1.0)
