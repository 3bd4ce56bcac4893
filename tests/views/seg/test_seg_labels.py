"""Labels of pixels: those of no class are named, ignored ones harm nothing."""

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from kd_plugins.errors import DistillationError
from kd_plugins.views.seg import labels
from kd_plugins.views.seg.labels import check_labels, labels_at
from tests.distillers.split import SEGMENT_PAIRS
from tests.distillers.tiny import distiller, teacher_of
from tests.distillers.tiny_seg import segment_batch, segmentor

pytestmark = pytest.mark.host


def build() -> Any:
    return distiller(
        SEGMENT_PAIRS, student=segmentor(), teacher=teacher_of(segmentor())
    )


def samples(*maps: Any) -> list[Any]:
    """What the host hands out, of these labels (H, W)."""
    return [
        SimpleNamespace(
            gt_sem_seg=SimpleNamespace(data=torch.as_tensor(item)[None]), metainfo={}
        )
        for item in maps
    ]


def head(classes: int = 4, **options: Any) -> Any:
    known = dict(num_classes=classes, out_channels=classes, ignore_index=255)
    return SimpleNamespace(**(known | options))


@pytest.mark.parametrize('label', [4, 254, -1])
def test_a_label_of_no_class_is_named_before_the_host_s_loss_fails(label: int) -> None:
    model = build()
    batch = segment_batch(model)
    sample = batch['data_samples'][1]
    sample.gt_sem_seg.data[0, 3, 5] = label
    sample.set_metainfo(dict(seg_map_path='labels/7.png'))
    message = (
        rf'labels/7\.png: a pixel has the label {label}, and decode_head knows 0 to 3 '
        r'\(num_classes\) and 255 \(ignore_index\)\. Correct the annotation'
    )
    with pytest.raises(DistillationError, match=message):
        model(**batch, mode='loss')
    assert not model.student._forward_pre_hooks


def test_every_label_of_the_head_passes() -> None:
    check_labels(samples([[0, 3, 255]]), head())
    check_labels(samples([[0, 1, 255]]), head(1))  # one column: no and yes
    check_labels(samples([[0, 1]]), head(2, ignore_index=None, out_channels=1))
    with pytest.raises(DistillationError, match='an image: a pixel has the label 255'):
        check_labels(samples([[0, 1]], [[0, 255]]), head(ignore_index=None))


def test_on_a_gpu_labels_are_looked_at_in_the_first_step_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    untouchable = SimpleNamespace(is_cuda=True)
    there = [SimpleNamespace(gt_sem_seg=SimpleNamespace(data=untouchable))]
    check_labels(there, head(), on_gpu=False)
    model = build()
    asked: list[bool] = []
    monkeypatch.setattr(
        labels, 'check_labels', lambda samples, head, on_gpu: asked.append(on_gpu)
    )
    batch = segment_batch(model)
    with model.step(batch['inputs'], batch['data_samples'], frozen=True):
        pass  # predicts: nobody reads its labels
    for _ in range(2):
        model(**segment_batch(model), mode='loss')
    assert asked == [True, False]  # once a step, though two pairs ask


def test_a_batch_without_any_label_trains_on() -> None:
    model = build()
    batch = segment_batch(model)
    for sample in batch['data_samples']:
        sample.gt_sem_seg.data.fill_(255)
    losses = model(**batch, mode='loss')
    assert losses['loss_kd_pixel'].item() == 0
    assert losses['loss_kd_pair'] > 0 and losses['loss_kd_holistic'].isfinite()
    total, _ = model.parse_losses(losses)
    total.backward()
    gradients = [parameter.grad for parameter in model.student.parameters()]
    assert all(each is None or each.isfinite().all() for each in gradients)


def test_masked_labels_are_0_and_the_nearest_pixel_is_taken() -> None:
    pixels = [[1, 1, 255, 255], [2, 3, 255, 255]]
    target, mask = labels_at(torch.Size([1, 2]), samples(pixels), 255)
    assert target.tolist() == [[[3, 0]]] and mask.tolist() == [[[1.0, 0.0]]]
    target, mask = labels_at(torch.Size([2, 4]), samples(pixels), None)
    assert target.tolist() == [pixels] and mask.all()
