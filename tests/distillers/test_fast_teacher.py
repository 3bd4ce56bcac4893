"""The fast copy of a teacher: compared at the first batch, then used, or never."""

import copy
import logging
import re
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from kd_plugins.distillers import fast_check
from kd_plugins.evaluation.gradients import gradient_shares
from kd_plugins.recorders import LayerRecorder
from kd_plugins.teachers import fast_teacher as teachers_copy
from kd_plugins.teachers.fast import PLAIN, can_prepack

from . import tiny_seg
from .tiny import (
    all_pairs,
    batch,
    distiller,
    faster_rcnn,
    hint,
    losses_of,
    mask_rcnn,
    raw_batch,
    teacher_of,
    weights_of,
)
from .tiny_dense import gfl, retinanet, rtmdet
from .tiny_transformers import deformable_detr, detr, dino

CPU = torch.device('cpu')
# On any CPU; of random weights some outputs nearly cancel, and differ by more.
FAST = dict(
    fold_bn=True,
    channels_last=True,
    prepack=can_prepack('bfloat16'),
    dtype='bfloat16',
    tolerance=1.0,
)


def fast_teacher(model: Any = None, **options: Any) -> dict[str, Any]:
    return teacher_of(model or faster_rcnn(base=8), **{'fast': FAST, **options})


def fast_distiller(pairs: Any = None, **options: Any) -> Any:
    return distiller(pairs or all_pairs(), teacher=fast_teacher(**options))


def calls_of(module: nn.Module) -> list[int]:
    calls: list[int] = []
    module.register_forward_hook(lambda *_: calls.append(1))
    return calls


def matched(
    model: Any, prepared: Any = None, exact: bool = False, seed: int = 3
) -> dict[str, list[Any]]:
    """What the pairs compare in a step of training."""
    prepared = prepared or batch(model)
    inputs, samples = prepared['inputs'], prepared['data_samples']
    with model.step(inputs, samples, exact=exact) as step:
        torch.manual_seed(seed)
        model.task_losses(step)
        with model.random_stream.active():
            found: dict[str, list[Any]] = model.match(step)
    return found


def tensors(found: dict[str, list[Any]]) -> list[Tensor]:
    return [item.teacher for items in found.values() for item in items if item]


def logged(caplog: pytest.LogCaptureFixture) -> str:
    return '\n'.join(record.getMessage() for record in caplog.records)


@pytest.fixture
def log(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, str]]:
    """What the comparison says, and how loud."""
    lines: list[tuple[int, str]] = []
    monkeypatch.setattr(
        fast_check,
        'print_log',
        lambda text, logger, level=logging.INFO: lines.append((level, text)),
    )
    return lines


# What is decided, and what is told.


def test_the_first_batch_trains_on_the_plain_teacher_and_later_ones_on_the_copy() -> (
    None
):
    model, plain = fast_distiller(), fast_distiller(fast=False)
    first, expected = matched(model), matched(plain)
    for one, other in zip(tensors(first), tensors(expected), strict=True):
        assert torch.equal(one, other)
    assert model.teachers['teacher'].fast.is_used(CPU) is True
    calls = calls_of(model.teachers['teacher'].model.backbone)
    later = matched(model)
    assert not calls
    for one, other in zip(tensors(later), tensors(expected), strict=True):
        assert not torch.equal(one, other)
        assert one.dtype == torch.float32


def test_the_errors_of_every_pair_are_told(log: list[tuple[int, str]]) -> None:
    fast_distiller(roi := all_pairs())
    losses_of(fast_distiller(roi))
    ((level, text),) = log
    header, columns, *rows = text.splitlines()
    assert level == logging.INFO
    assert header.startswith("Teacher 'teacher' runs as a fast copy (bfloat16, batch")
    assert columns.split() == ['pair', 'error', 'of', 'tensors', 'of', 'loss']
    assert [row.split()[0] for row in rows] == list(roi)
    for row in rows:
        assert 0 < float(row.split()[1]) < 0.5 and 0 <= float(row.split()[2]) < 0.5


def test_errors_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: dict[str, Any] = {}
    monkeypatch.setattr(
        fast_check, '_table', lambda differences: seen.update(differences) or []
    )
    model = fast_distiller(dict(a=hint(), b=hint(levels=[0])))
    plain = matched(model)
    losses = {name: pair_loss(items) for name, items in plain.items()}
    later = matched(model)
    for name, items in later.items():
        change = sum(
            (one.teacher - other.teacher).square().sum()
            for one, other in zip(items, plain[name], strict=True)
        )
        norm = sum(item.teacher.square().sum() for item in plain[name])
        error = float((change / norm).sqrt())
        assert seen[name].tensors == pytest.approx(error, rel=1e-4)
        error = abs(pair_loss(items) - losses[name]) / losses[name]
        assert seen[name].loss == pytest.approx(error, rel=1e-2, abs=1e-6)


def pair_loss(items: list[Any]) -> float:
    """Of hints: the sum over levels of the mean squares, at weight 1."""
    return sum(
        float((item.student - item.teacher).square().mean().detach()) / 2
        for item in items
    )


def test_past_the_tolerance_the_plain_teacher_goes_on_and_a_line_says_so(
    log: list[tuple[int, str]],
) -> None:
    model = fast_distiller(fast=FAST | dict(tolerance=1e-6))
    plain = fast_distiller(fast=False)
    for _ in range(2):
        for one, other in zip(
            tensors(matched(model)), tensors(matched(plain)), strict=True
        ):
            assert torch.equal(one, other)
    ((level, text),) = log
    assert level == logging.WARNING and '\n' not in text
    assert re.match(
        r"Teacher 'teacher' runs as it is, not as a fast copy: the teacher's tensors "
        r'of model\.pairs\.\w+ differ by 0\.\d+, more than 1e-06 '
        r'\(model\.teacher\.fast\.tolerance\)\. model\.teacher\.fast=False saves',
        text,
    )
    assert model.teachers['teacher'].fast.is_used(CPU) is False


def test_tensors_that_are_not_finite_are_past_every_tolerance(
    log: list[tuple[int, str]],
) -> None:
    model = fast_distiller(fast=FAST | dict(tolerance=1e9, dtype='float16'))
    for conv in model.teachers['teacher'].prepare(CPU).neck.fpn_convs:
        conv.conv.weight.mul_(1e6)  # more than float16 holds
    losses_of(model)
    assert 'differ by inf' in log[0][1]
    assert losses_of(model)['loss_kd_hint'].isfinite()


@pytest.mark.parametrize('when', ['made', 'run'])
def test_a_copy_that_raises_is_not_used_and_a_line_says_why(
    when: str, log: list[tuple[int, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    model = fast_distiller()
    if when == 'made':

        def fail(*_: Any) -> None:
            raise RuntimeError('no copy\nof this')

        monkeypatch.setattr(teachers_copy, 'make_fast', fail)
    else:
        neck = model.teachers['teacher'].model.neck
        neck.register_forward_pre_hook(needs_full_precision)
    losses = [losses_of(model)['loss_kd_hint'].item() for _ in range(2)]
    assert losses[0] == losses[1]
    ((level, text),) = log
    assert level == logging.WARNING and '\n' not in text
    reason = 'no copy' if when == 'made' else 'no such kernel'
    assert f'not as a fast copy: RuntimeError: {reason}. model.teacher.fast=F' in text


def needs_full_precision(module: nn.Module, args: Any) -> None:
    if torch.is_autocast_enabled('cpu'):
        raise RuntimeError('no such kernel')


@pytest.mark.parametrize('of_others', [(1.0, 0.0), (0.0, 9.0)], ids=['failed', 'far'])
def test_one_rank_decides_for_all(
    of_others: tuple[float, float],
    log: list[tuple[int, str]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    largest = list(of_others)

    def all_reduce(data: Tensor, op: str) -> None:
        assert op == 'max'
        data.clamp_(min=largest.pop(0))

    monkeypatch.setattr(fast_check, 'all_reduce', all_reduce)
    model = fast_distiller()
    losses_of(model)
    assert model.teachers['teacher'].fast.is_used(CPU) is False
    failed = of_others[0] > 0
    assert ('failed on another rank' if failed else 'differ by 9') in log[0][1]


def test_each_of_several_teachers_is_decided_by_itself() -> None:
    teachers = {
        'near': fast_teacher(),
        'far': fast_teacher(fast=FAST | dict(tolerance=1e-9)),
        'off': fast_teacher(fast=False),
        'idle': fast_teacher(),
    }
    pairs = {name: dict(hint(), teacher=name) for name in ('near', 'far', 'off')}
    model = distiller(pairs, teacher=teachers)
    losses_of(model)
    used = {name: each.fast.is_used(CPU) for name, each in model.teachers.items()}
    assert used == {'near': True, 'far': False, 'off': False, 'idle': False}


def test_what_only_measures_decides_nothing() -> None:
    model = fast_distiller()
    prepared = batch(model)
    with (
        torch.no_grad(),
        model.step(prepared['inputs'], prepared['data_samples'], frozen=True) as step,
    ):
        pass
    gradient_shares(model, raw_batch())
    matched(model, exact=True)
    assert model.teachers['teacher'].fast.is_used(CPU) is None
    assert step.teachers['teacher'].model is model.teachers['teacher'].model
    matched(model)
    assert model.teachers['teacher'].fast.is_used(CPU) is True


def test_an_exact_step_runs_the_plain_teacher() -> None:
    model = fast_distiller()
    first = matched(model)
    exact = matched(model, exact=True)
    for one, other in zip(tensors(first), tensors(exact), strict=True):
        assert torch.equal(one, other)


def test_the_summary_says_how_the_teacher_runs() -> None:
    model, plain = fast_distiller(), fast_distiller(fast=False)
    copied = 'rpn_head, roi_head, as a fast copy (bfloat16, batch norms folded, chann'
    assert copied in model.summary()
    assert 'if that is near enough at the first batch; never losses' in model.summary()
    losses_of(model)
    assert copied in model.summary() and 'near enough' not in model.summary()
    assert 'runs its backbone, neck, rpn_head, roi_head; never' in plain.summary()


def test_on_another_device_it_is_decided_anew() -> None:
    model = fast_distiller()
    losses_of(model)
    teacher = model.teachers['teacher']
    teacher.to(torch.device('meta'))
    assert not teacher.fast.prepared
    assert teacher.fast._used is None


# What does not notice.


def test_the_plain_weights_stay_through_training() -> None:
    model = fast_distiller()
    teacher = model.teachers['teacher'].prepare(CPU)
    before = weights_of(teacher)
    for _ in range(3):
        model.parse_losses(losses_of(model))[0].backward()
    after = teacher.state_dict()
    assert all(torch.equal(after[name], before[name]) for name in before)
    assert {item.dtype for item in teacher.parameters()} == {torch.float32}
    names = {name.split('.')[0] for name in model.state_dict()}
    assert names == {'student', 'adapters'}
    held = {id(item) for item in model.modules()}
    copied = model.teachers['teacher'].running()
    assert copied is not teacher
    assert not held & {id(item) for item in copied.modules()}


@pytest.mark.parametrize('loss', ['MGDLoss', 'RKDLoss'])
def test_the_comparison_shifts_no_later_draw_and_teaches_no_loss(loss: str) -> None:
    def build(fast: Any) -> Any:
        pair = dict(layer='neck', levels=[0], loss=dict(type=loss))
        return distiller(dict(a=pair), teacher=fast_teacher(fast=fast))

    fast, plain = build(FAST), build(False)
    fast.losses.load_state_dict(plain.losses.state_dict())
    for model in (fast, plain):
        losses_of(model)
    assert torch.equal(*(state(model)['torch'] for model in (fast, plain)))
    weights = plain.losses.state_dict()
    assert all(
        torch.equal(value, weights[name])
        for name, value in fast.losses.state_dict().items()
    )


def state(model: Any) -> Any:
    return model.random_stream.state_dict()


def test_a_deep_copy_of_the_distiller_shares_copy_and_decision() -> None:
    model = fast_distiller()
    losses_of(model)
    clone = copy.deepcopy(model)
    assert clone.teachers['teacher'].running() is model.teachers['teacher'].running()


def test_a_recorded_norm_is_not_folded() -> None:
    path = 'backbone.layer2.1.bn1'
    model = fast_distiller(
        dict(a=dict(layer=dict(student='backbone.layer2', teacher=path), **adapted()))
    )
    first = matched(model)
    block = model.teachers['teacher'].running().backbone.layer2[1]
    assert isinstance(block.bn1, nn.BatchNorm2d)
    assert isinstance(block.bn2, nn.Identity)
    near(first, matched(model))


def adapted() -> dict[str, Any]:
    return dict(adapter=dict(type='ConvAdapter'), loss=dict(type='HintLoss'))


# Every family of views: what it hands over is near, in float32.


def of_detection(
    view: Any, model: Any, loss: str = 'HintLoss', **pair: Any
) -> Callable[[], Any]:
    def build() -> tuple[Any, Any]:
        options = dict(view=view) if 'layer' not in pair else {}
        pairs = dict(a=dict(loss=dict(type=loss), **options, **pair))
        built = distiller(pairs, student=model(), teacher=fast_teacher(model()))
        return built, batch(built, masks=model is mask_rcnn)

    return build


def of_pixels(view: str, **pair: Any) -> Callable[[], Any]:
    def build() -> tuple[Any, Any]:
        pairs = dict(a=dict(view=view, loss=dict(type='CWDLoss')) | pair)
        model = distiller(
            pairs,
            student=tiny_seg.segmentor(),
            teacher=fast_teacher(tiny_seg.segmentor()),
        )
        return model, tiny_seg.segment_batch(model)

    return build


def kd(view: Any) -> Callable[[], Any]:
    return of_detection(view, faster_rcnn)


FAMILIES: dict[str, Callable[[], Any]] = {
    'layer': of_detection(None, faster_rcnn, layer='neck'),
    'layer of a RoI head': of_detection(
        None, faster_rcnn, layer='roi_head.bbox_head.shared_fcs.0'
    ),
    'input of a layer': of_detection(
        None, faster_rcnn, layer='backbone.layer3.1.relu', value='input', levels=[1]
    ),
    'flow': of_detection(
        dict(type='layer.flow', first='backbone.layer2', last='backbone.layer3'),
        faster_rcnn,
        'FSPLoss',
    ),
    'rpn.logits': kd('rpn.logits'),
    'rpn.deltas': kd('rpn.deltas'),
    'roi.logits': kd('roi.logits'),
    'roi.deltas': kd('roi.deltas'),
    'roi.features': kd('roi.features'),
    'roi.masks': of_detection('roi.masks', mask_rcnn),
    'roi.logits of its proposals': kd(
        dict(type='roi.logits', roi_source='teacher', num_rois=8)
    ),
    'roi.logits of all proposals': kd(
        dict(type='roi.logits', roi_source='union', num_rois=8)
    ),
    'head.logits': of_detection('head.logits', retinanet),
    'head.logits of shared convolutions': of_detection('head.logits', rtmdet),
    'head.deltas': of_detection('head.deltas', retinanet),
    'head.distributions': of_detection('head.distributions', gfl, 'LDLoss'),
    'cross.logits': of_detection(dict(type='cross.logits', layer=1), retinanet),
    'encoder.memory, deformable': of_detection('encoder.memory', deformable_detr),
    'encoder.memory': of_detection('encoder.memory', detr),
    'encoder.memory of DINO': of_detection('encoder.memory', dino),
    'seg.logits': of_pixels('seg.logits'),
    'seg.features': of_pixels('seg.features'),
    'seg.gradient': of_pixels('seg.gradient', loss=dict(type='GradientATLoss')),
}


@pytest.mark.host
@pytest.mark.parametrize('build', FAMILIES.values(), ids=FAMILIES)
def test_what_a_view_reads_of_the_copy_is_near(build: Callable[[], Any]) -> None:
    model, prepared = build()
    first = matched(model, prepared)
    assert model.teachers['teacher'].fast.is_used(CPU) is True
    later = matched(model, prepared)
    if 'roi_source' not in str(model.pairs[0].view.match):  # of other proposals
        near(first, later)


def near(first: dict[str, list[Any]], later: dict[str, list[Any]]) -> None:
    for one, other in zip(tensors(first), tensors(later), strict=True):
        assert one.shape == other.shape
        assert other.dtype == torch.float32
        assert not other.requires_grad
        assert (one - other).norm() <= 0.1 * one.norm() + 1e-6


@pytest.mark.parametrize(
    'options',
    [
        dict(input_scale=1.5),
        dict(class_map=dict(student=list('abc'), teacher=list('cab'))),
    ],
    ids=str,
)
def test_teachers_of_other_inputs_or_classes_have_a_copy_too(
    options: dict[str, Any],
) -> None:
    pairs = dict(
        hint=dict(hint(), adapter=dict(type='ResizeAdapter')),
        cls=dict(view='roi.logits', loss=dict(type='KDLoss')),
    )
    model = distiller(pairs, teacher=fast_teacher(faster_rcnn(), **options))
    first = matched(model)
    assert model.teachers['teacher'].fast.is_used(CPU) is True
    near(first, matched(model))


def test_of_gradients_through_the_teacher_the_plain_one_is_asked() -> None:
    model, prepared = FAMILIES['seg.gradient']()
    first, later = matched(model, prepared), matched(model, prepared)
    for one, other in zip(tensors(first), tensors(later), strict=True):
        assert torch.equal(one, other)


def test_a_layer_records_what_the_copy_gives() -> None:
    model = fast_distiller(dict(a=hint()))
    matched(model)
    (recorder,) = model.pairs[0].view.teacher_recorders
    assert isinstance(recorder, LayerRecorder)
    prepared = batch(model)
    with model.step(prepared['inputs'], prepared['data_samples']) as step:
        (features,) = [run.features for run in step.teachers.values()]
        run = step.teachers['teacher']
        assert features is None  # no head reads them
        assert {each.dtype for each in run.records[recorder].outputs} == {
            torch.bfloat16
        }
        handed = run.recorded(recorder, 'features')
        assert {each.dtype for each in handed} == {torch.float32}


# A resumed run.


def test_the_decision_is_restored_and_not_made_again(
    log: list[tuple[int, str]],
) -> None:
    model, resumed = fast_distiller(), fast_distiller()
    losses_of(model)
    saved = model.fast_state_dict()
    assert saved['teacher']['used'] is True
    resumed.load_fast_state_dict(saved)
    log.clear()
    for one, other in zip(
        tensors(matched(model)), tensors(matched(resumed)), strict=True
    ):
        assert torch.equal(one, other)
    assert not log
    assert resumed.fast_state_dict() == saved


def test_so_is_the_decision_against_it(log: list[tuple[int, str]]) -> None:
    far = FAST | dict(tolerance=1e-9)
    model, resumed = fast_distiller(fast=far), fast_distiller()
    losses_of(model)
    resumed.load_fast_state_dict(model.fast_state_dict())
    log.clear()
    matched(resumed)
    assert not log
    assert resumed.teachers['teacher'].fast.is_used(CPU) is False


def test_on_other_hardware_it_is_decided_anew(log: list[tuple[int, str]]) -> None:
    model = fast_distiller()
    losses_of(model)
    saved = model.fast_state_dict()
    saved['teacher']['switches']['dtype'] = 'float16'
    resumed = fast_distiller()
    resumed.load_fast_state_dict(saved | {'gone': saved['teacher']})
    log.clear()
    losses_of(resumed)
    assert len(log) == 1


def test_nothing_is_saved_before_the_first_batch_nor_of_plain_teachers() -> None:
    assert fast_distiller().fast_state_dict() == {}
    plain = fast_distiller(fast=False)
    losses_of(plain)
    assert plain.fast_state_dict() == {}
    assert plain.teachers['teacher'].fast.switches(CPU) == PLAIN
