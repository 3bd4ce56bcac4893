"""Several teachers as one: what pairs make of the same rows, and what they refuse."""

from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.testing import assert_close

from kd_plugins.combinations import confidence_weights, entropy_weights
from kd_plugins.errors import ConfigError, DistillationError
from kd_plugins.losses import softened_divergence
from kd_plugins.registry import MODELS
from kd_plugins.visualization.maps import pair_maps
from tests.teachers.cache.marks import exact, marked

from . import tiny_seg
from .tiny import (
    all_pairs,
    batch,
    cascade_rcnn,
    config,
    distiller,
    faster_rcnn,
    hint,
    losses_of,
    teacher_of,
)
from .tiny_dense import retinanet
from .tiny_teachers import ensemble, vary

KD = dict(view='roi.logits', loss=dict(type='KDLoss', temperature=2.0))
FEATURES = dict(
    view='roi.features',
    adapter=dict(type='LinearAdapter'),
    loss=dict(type='HintLoss', loss_weight=50.0),
)
SOLE = ('teacher.0', 'teacher.1', 'teacher.2')


def kd(kind: str | dict[str, Any], **changes: Any) -> Any:
    """A distiller of one pair of RoI logits, under three different teachers."""
    combine = dict(type=kind) if isinstance(kind, str) else kind
    teacher = ensemble(number=3, combine=combine)
    return vary(distiller(dict(kd=KD | changes), teacher=teacher))


def logits_of(model: Any, seed: int = 3) -> tuple[Tensor, Tensor, Tensor]:
    """Logits of the student and of each teacher on its RoIs, and their labels."""
    prepared = batch(model)
    inputs, samples = prepared['inputs'], prepared['data_samples']
    with model.step(inputs, samples) as step:
        torch.manual_seed(seed)
        model.task_losses(step)
        (pair,) = model.pairs
        found = [
            view.match(step.student, step.teachers[name], samples)[0]
            for name, view in pair.views.items()
        ]
    teachers = torch.stack([item.teacher for item in found])
    return found[0].student, teachers, found[0].target


def kl(student: Tensor, teacher: Tensor) -> Tensor:
    """Row by row, at the temperature of ``KD``."""
    return softened_divergence(student, teacher, temperature=2.0, reduction='none')


@pytest.mark.parametrize(
    'combine', ['MeanLosses', 'MeanLogits', 'ConfidenceWeights', 'EntropyWeights']
)
def test_a_single_member_is_the_plain_teacher(combine: str) -> None:
    alone = distiller(dict(kd=KD, rpn=all_pairs()['rpn_cls']))
    one = distiller(
        dict(kd=KD, rpn=all_pairs()['rpn_cls']),
        teacher=ensemble(number=1, combine=dict(type=combine)),
    )
    plain, combined = losses_of(alone), losses_of(one)
    assert torch.equal(combined['loss_kd_kd'], plain['loss_kd_kd'])
    assert torch.equal(combined['loss_kd_rpn'], plain['loss_kd_rpn'])


def test_losses_are_averaged_whatever_is_compared() -> None:
    """Each pair's loss is the mean of those that its members give one by one."""
    whole = vary(distiller(all_pairs(), teacher=ensemble(number=3)))
    combined = losses_of(whole)
    adapters = whole.adapters['hint']
    assert len(adapters) == 9  # three levels, of each teacher its own
    each = []
    for number, name in enumerate(SOLE):
        pairs = {key: pair | dict(teacher=name) for key, pair in all_pairs().items()}
        model = vary(distiller(pairs, teacher=ensemble(number=3)))
        model.student.load_state_dict(whole.student.state_dict())
        for level, adapter in enumerate(model.adapters['hint']):
            adapter.load_state_dict(adapters[3 * number + level].state_dict())
        each.append(losses_of(model))
    for key in ('hint', 'rcn_cls', 'rcn_reg', 'rpn_cls', 'rpn_reg'):
        values = [losses[f'loss_kd_{key}'] for losses in each]
        assert key.endswith('reg') or len({value.item() for value in values}) == 3
        assert_close(combined[f'loss_kd_{key}'], torch.stack(values).mean())


@pytest.mark.parametrize('combine', ['MeanProbs', 'MeanLogits'])
def test_means_of_teachers_are_one_target(combine: str) -> None:
    model = kd(combine)
    student, teachers, _ = logits_of(model)
    if combine == 'MeanProbs':
        target = teachers.softmax(dim=2).mean(dim=0).log()
    else:
        target = teachers.mean(dim=0)
    assert_close(losses_of(model)['loss_kd_kd'], kl(student, target).mean())


def test_probabilities_may_be_averaged_at_the_temperature_of_the_loss() -> None:
    model = kd(dict(type='MeanProbs', temperature=2.0))
    student, teachers, _ = logits_of(model)
    probs = (teachers / 2).softmax(dim=2).mean(dim=0)
    log_student = (student / 2).log_softmax(dim=1)
    expected = 4 * (probs * (probs.log() - log_student)).sum(1).mean()
    assert_close(losses_of(model)['loss_kd_kd'], expected)


@pytest.mark.parametrize('divided', [False, True])
def test_confidence_weighs_each_roi_by_its_label(divided: bool) -> None:
    model = kd(dict(type='ConfidenceWeights', divide_by_number=divided))
    student, teachers, labels = logits_of(model)
    expected = 0.0
    for row, label in enumerate(labels):
        error = [-each[row].log_softmax(0)[label].exp().log() for each in teachers]
        shares = torch.stack(error).exp() / sum(one.exp() for one in error)
        for teacher, share in zip(teachers, shares, strict=True):
            weight = (1 - share) / (6 if divided else 2)
            expected += weight * kl(student, teacher)[row] / len(labels)
    assert_close(losses_of(model)['loss_kd_kd'], expected)


def test_entropy_weighs_each_roi_without_its_label() -> None:
    model = kd('EntropyWeights')
    student, teachers, _ = logits_of(model)
    probs = teachers.softmax(dim=2)
    weights = entropy_weights(-(probs * probs.log()).sum(2))
    values = torch.stack([kl(student, teacher) for teacher in teachers])
    assert_close(losses_of(model)['loss_kd_kd'], (weights * values).sum(0).mean())


def test_a_pair_may_combine_in_its_own_way() -> None:
    model = kd('ConfidenceWeights', combine=dict(type='MeanLogits'))
    student, teachers, _ = logits_of(model)
    expected = kl(student, teachers.mean(dim=0)).mean()
    assert_close(losses_of(model)['loss_kd_kd'], expected)


def test_a_target_transform_is_of_the_target_that_the_loss_reads() -> None:
    """Of the merged teachers, or of each; the weights are of what the teachers say."""
    transform = dict(type='StdScalingTransform')
    merged = kd('MeanLogits', target_transform=transform)
    text = 'KDLoss behind StdScalingTransform, MeanLogits of 3'
    assert text in merged.summary()
    student, teachers, labels = logits_of(merged)

    def scaled(logits: Tensor) -> Tensor:
        return logits / logits.std(dim=1, keepdim=True)

    expected = kl(scaled(student), scaled(teachers.mean(dim=0))).mean()
    assert_close(losses_of(merged)['loss_kd_kd'], expected, rtol=1e-4, atol=1e-6)
    weighed = kd('ConfidenceWeights', target_transform=transform)
    errors = [F.cross_entropy(each, labels, reduction='none') for each in teachers]
    values = [kl(scaled(student), scaled(each)) for each in teachers]
    weights = confidence_weights(torch.stack(errors))
    expected = (weights * torch.stack(values)).sum(0).mean()
    assert_close(losses_of(weighed)['loss_kd_kd'], expected, rtol=1e-4, atol=1e-6)


def features(detach: bool, number: int = 2) -> Any:
    models = [faster_rcnn(fc=width) for width in (24, 32)][:number]
    combine = dict(type='ConfidenceWeights', detach_weights=detach)
    teacher = ensemble(*models, combine=combine)
    return vary(distiller(dict(features=FEATURES), teacher=teacher))


def test_features_are_weighed_by_the_teachers_own_classifiers() -> None:
    """CA-MKD: which teacher's classifier knows the label in the student's feature?"""
    model = features(detach=True)
    prepared = batch(model)
    inputs, samples = prepared['inputs'], prepared['data_samples']
    with model.step(inputs, samples) as step:
        torch.manual_seed(3)
        model.task_losses(step)
        (pair,) = model.pairs
        matched = pair.match(step)
    errors, distances = [], []
    for item, adapter, teacher in zip(
        matched, model.adapters['features'], model.teachers.values(), strict=True
    ):
        adapted = adapter(item.student)
        logits = teacher.model.roi_head.bbox_head.fc_cls(adapted)
        errors.append(F.cross_entropy(logits, item.target, reduction='none'))
        distances.append((adapted - item.teacher).square().mean(1))
    weights = confidence_weights(torch.stack(errors)).detach()
    expected = 50 * (weights * torch.stack(distances)).sum(0).mean()
    found = losses_of(model)['loss_kd_features']
    assert_close(found, expected)
    (gradient,) = torch.autograd.grad(
        found, model.adapters['features'][0].linear.weight
    )
    (wanted,) = torch.autograd.grad(
        expected, model.adapters['features'][0].linear.weight
    )
    assert_close(gradient, wanted)


def test_as_released_a_gradient_flows_through_the_weights_of_features() -> None:
    gradients = []
    for detach in (True, False):
        model = features(detach)
        value = losses_of(model)['loss_kd_features']
        weight = model.adapters['features'][0].linear.weight
        gradients.append(torch.autograd.grad(value, weight)[0])
        assert all(p.grad is None for p in model.teachers[SOLE[0]].model.parameters())
    assert not torch.allclose(*gradients)


@pytest.mark.parametrize(
    ('view', 'combine'),
    [
        ('seg.logits', 'ConfidenceWeights'),
        ('seg.logits', 'EntropyWeights'),
        ('seg.features', 'ConfidenceWeights'),
    ],
)
def test_pixels_are_weighed_but_for_those_ignored(view: str, combine: str) -> None:
    loss = dict(type='KDLoss' if view == 'seg.logits' else 'HintLoss')
    teachers = ensemble(*[tiny_seg.segmentor(8)] * 2, combine=dict(type=combine))
    pairs = dict(pixel=dict(view=view, loss=loss))
    model = MODELS.build(config(pairs, tiny_seg.segmentor(), teachers))
    vary(model).train()
    prepared = tiny_seg.segment_batch(model)
    inputs, samples = prepared['inputs'], prepared['data_samples']
    with model.step(inputs, samples) as step:
        torch.manual_seed(3)
        model.task_losses(step)
        one, other = model.pairs[0].match(step)
    assert one.mask.min() == 0  # a corner is ignored
    if view == 'seg.logits':
        judged = [one.teacher, other.teacher]
    else:
        heads = [each.model.decode_head for each in model.teachers.values()]
        judged = [head.conv_seg(one.student) for head in heads]
    logits = torch.stack(judged)
    if combine == 'ConfidenceWeights':
        labels = one.target.expand(2, *one.target.shape)[:, :, None]
        chosen = logits.softmax(dim=2).gather(2, labels)
        weights = confidence_weights(-chosen[:, :, 0].log())
    else:
        probs = logits.softmax(dim=2)
        weights = entropy_weights(-(probs * probs.log()).sum(2))
    expected = 0.0
    for item, weight in zip((one, other), weights, strict=True):
        if view == 'seg.logits':
            log_student = item.student.log_softmax(1)
            log_teacher = item.teacher.log_softmax(1)
            each = (log_teacher.exp() * (log_teacher - log_student)).sum(1)
        else:
            each = (item.student - item.teacher).square().mean(1)
        expected += (weight * one.mask * each).sum() / one.mask.sum()
    assert_close(tiny_seg.losses_of(model)['loss_kd_pixel'], expected)


def test_answers_of_an_rpn_and_of_a_dense_head_are_weighed() -> None:
    """Sigmoid logits: of anchors a yes or no, of points one for each class."""
    for pair, models in (
        (all_pairs()['rpn_cls'], [faster_rcnn()] * 2),
        (dict(view='head.logits', loss=dict(type='KDLoss')), [retinanet()] * 2),
    ):
        for combine in ('MeanProbs', 'ConfidenceWeights', 'EntropyWeights'):
            teacher = ensemble(*models, combine=dict(type=combine))
            model = vary(distiller(dict(pair=pair), models[0], teacher))
            value = losses_of(model)['loss_kd_pair']
            assert value > 0 and value.requires_grad


def test_models_of_several_kinds_teach_as_one() -> None:
    models = faster_rcnn(base=8, width=16), cascade_rcnn()
    teacher = ensemble(*models, combine=dict(type='MeanProbs'))
    model = vary(distiller(dict(kd=KD), teacher=teacher))
    assert losses_of(model)['loss_kd_kd'] > 0
    text = model.summary()
    assert 'KDLoss, MeanProbs of 2' in text
    assert "teacher 'teacher.0': FasterRCNN" in text
    assert "teacher 'teacher.1': CascadeRCNN" in text


def count_runs(model: Any) -> dict[str, int]:
    runs = dict.fromkeys(model.teachers, 0)
    for name, teacher in model.teachers.items():

        def ran(*args: Any, name: str = name) -> None:
            runs[name] += 1

        teacher.model.backbone.register_forward_hook(ran)
    return runs


def test_each_member_runs_once_a_step_and_not_without_a_weight() -> None:
    pairs = all_pairs() | dict(kd=KD, alone=KD | dict(teacher='teacher.1'))
    model = vary(distiller(pairs, teacher=ensemble(number=3)))
    runs = count_runs(model)
    losses_of(model)
    assert set(runs.values()) == {1}
    for pair in model.pairs:
        pair.loss.loss_weight = float(pair.name == 'alone')
    losses_of(model)
    assert runs == {'teacher.0': 1, 'teacher.1': 2, 'teacher.2': 1}
    model.pairs[0].loss.loss_weight = 0.0
    losses = losses_of(model)
    assert sum(runs.values()) == 4
    assert all(losses[f'loss_kd_{name}'] == 0 for name in pairs)


def test_levels_are_logged_by_themselves_and_teachers_together() -> None:
    pair = hint(adapter=dict(type='ConvAdapter'), per_level=True)
    model = vary(distiller(dict(hint=pair), teacher=ensemble(number=2)))
    losses = losses_of(model)
    keys = [key for key in losses if key.startswith('loss_kd')]
    assert keys == ['loss_kd_hint_0', 'loss_kd_hint_1', 'loss_kd_hint_2']
    whole = hint(adapter=dict(type='ConvAdapter'))
    together = vary(distiller(dict(hint=whole), teacher=ensemble(number=2)))
    together.load_state_dict(model.state_dict())
    total = losses_of(together)['loss_kd_hint']
    assert_close(sum(losses[key] for key in keys), total)


def test_adapters_are_in_the_graph_at_weight_zero() -> None:
    pairs = dict(hint=hint(adapter=dict(type='ConvAdapter')), features=FEATURES)
    for pair in pairs.values():
        pair['loss'] = pair['loss'] | dict(loss_weight=0.0)
    combine = dict(type='MeanLosses')
    model = distiller(pairs, teacher=ensemble(number=2, combine=combine))
    for _ in range(2):  # the first iteration also tries the pairs
        model.zero_grad()
        model.parse_losses(losses_of(model))[0].backward()
        for parameter in model.adapters.parameters():
            assert parameter.grad is not None and not parameter.grad.any()


# What is refused.

CLASSES = faster_rcnn(roi_head__bbox_head=dict(num_classes=4))
BAD: dict[str, tuple[dict[str, Any], dict[str, Any], str]] = {
    'other classes': (
        dict(kd=KD),
        ensemble(faster_rcnn(), CLASSES),
        r"^model\.pairs\.kd\.view: the members of the ensemble disagree: 'teacher\.0' "
        r"can be compared, and 'teacher\.1' cannot\. student has 3 classes, teach.* 4",
    ),
    'unknown': (
        dict(kd=KD),
        ensemble(combine=dict(type='MeanLoses')),
        r"^model\.teacher\.combine\.type: no 'MeanLoses'\. Close: 'MeanLosses'",
    ),
    'unknown argument': (
        dict(kd=KD),
        ensemble(combine=dict(type='MeanProbs', temprature=2)),
        r"model\.teacher\.combine: MeanProbs has no argument 'temprature'. Close",
    ),
    'no combination': (
        dict(kd=KD),
        ensemble(combine='MeanProbs'),
        r"model\.teacher\.combine: must be a dict with 'type', got 'MeanProbs'",
    ),
    'no members': (
        dict(kd=KD),
        dict(type='Ensemble', members=[]),
        r'^model\.teacher: needs members=\[dict\(cfg=..., checkpoint=...\), ...\]',
    ),
    'no key': (
        dict(kd=KD),
        ensemble() | dict(combination=dict(type='MeanProbs')),
        r"^model\.teacher: no key 'combination'\. Close: 'combine'",
    ),
    'no member': (
        dict(kd=KD),
        dict(type='Ensemble', members=['a.pth']),
        r"^model\.teacher\.members\.0: must be a dict with cfg or model, got 'a.pth'",
    ),
    'nested': (
        dict(kd=KD),
        dict(type='Ensemble', members=[ensemble()]),
        r'^model\.teacher\.members\.0: an ensemble within an ensemble is not known',
    ),
    'a member without weights': (
        dict(kd=KD),
        dict(type='Ensemble', members=[dict(model=faster_rcnn())]),
        r"^model\.teacher\.members\.0: teacher 'teacher\.0' has no checkpoint",
    ),
    'unknown kind': (
        dict(kd=KD),
        ensemble() | dict(type='Ensemple'),
        r"^model\.teacher\.type: .* expected type='kd_plugins\.Ensemble', got 'Ensemp",
    ),
    'no kind': (
        dict(kd=KD),
        dict(members=[teacher_of(faster_rcnn())]),
        r"^model\.teacher\.type: 'members' is of another kind of teacher: expected "
        r"type='kd_plugins\.Ensemble'\.",
    ),
    'no such kind': (
        dict(kd=KD),
        dict(type='Rute', model=faster_rcnn()),
        r"^model\.teacher\.type: no kind of teacher 'Rute'\. Close: 'Route'\. A model",
    ),
    'of one model': (
        dict(kd=KD | dict(combine=dict(type='MeanProbs'))),
        teacher_of(faster_rcnn()),
        r"^model\.pairs\.kd\.combine: goes with an Ensemble, and teacher 'teacher' is",
    ),
    'no such teacher': (
        dict(kd=KD | dict(teacher='teacher.3')),
        ensemble(),
        r"^model\.pairs\.kd\.teacher: no teacher 'teacher\.3'\. Close: 'teacher",
    ),
    'features by means': (
        dict(hint=hint()),
        ensemble(combine=dict(type='MeanProbs')),
        r'^model\.pairs\.hint: MeanProbs is defined on class logits, and this pair '
        r"reads neck\[0\]\. Set combine=dict\(type='MeanLosses'\) in this pair",
    ),
    'features by entropy': (
        dict(features=FEATURES),
        ensemble(combine=dict(type='EntropyWeights')),
        r'EntropyWeights is defined on class logits, and this pair reads roi\.features',
    ),
    'features of a neck': (
        dict(hint=hint()),
        ensemble(combine=dict(type='ConfidenceWeights')),
        r"ConfidenceWeights is defined on class logits, or of views 'roi\.features' "
        r"and 'seg\.features' of the same classes, and this pair reads neck\[0\]",
    ),
    'boxes': (
        dict(reg=all_pairs()['rcn_reg']),
        ensemble(combine=dict(type='ConfidenceWeights')),
        r'model\.pairs\.reg: ConfidenceWeights is defined on .* reads roi\.deltas',
    ),
    'no labels': (
        dict(kd=dict(KD, view=dict(type='roi.logits', roi_source='union'))),
        ensemble(combine=dict(type='ConfidenceWeights')),
        r'ConfidenceWeights weighs by labels, and roi\.logits has none here\. Set '
        r"combine=dict\(type='EntropyWeights'\)",
    ),
    'relations of rows': (
        dict(kd=dict(view='roi.logits', loss=dict(type='DISTLoss'))),
        ensemble(combine=dict(type='EntropyWeights')),
        r'EntropyWeights weighs each row by itself, and DISTLoss is no sum over rows',
    ),
    'no mask': (
        dict(kd=dict(view='roi.logits', loss=dict(type='RKDLoss'))),
        ensemble(combine=dict(type='EntropyWeights')),
        r'EntropyWeights weighs each row by itself, and RKDLoss is no sum over rows',
    ),
    'raw logits': (
        dict(kd=dict(view='roi.logits', loss=dict(type='LogitL2Loss'))),
        ensemble(combine=dict(type='MeanProbs')),
        r'LogitL2Loss reads more of the logits than probabilities, and MeanProbs makes '
        r".*Set combine=dict\(type='MeanLogits'\)",
    ),
    'a loss that learns': (
        dict(hint=dict(layer='neck', loss=dict(type='MGDLoss'))),
        ensemble(number=3),
        r"MGDLoss learns from what it compares.*teacher='teacher\.0'.*teacher='teacher"
        r"\.2'",
    ),
    'auto': (
        'auto',  # type: ignore[dict-item]
        ensemble(),
        r"^model\.pairs: 'auto' chooses for single models, and a teacher is an Ens",
    ),
    'inheritance': (
        dict(kd=KD),
        ensemble(),
        r"init_from_teacher needs a single teacher, got \['teacher\.0', 'teacher\.1'\]",
    ),
}


@pytest.mark.parametrize(('pairs', 'teacher', 'message'), BAD.values(), ids=BAD)
def test_bad_ensembles(pairs: Any, teacher: Any, message: str) -> None:
    options = dict(init_from_teacher='neck') if 'init_from' in message else {}
    with pytest.raises(ConfigError, match=message):
        distiller(pairs, teacher=teacher, **options)


def test_rows_of_each_teachers_own_choice_are_not_combined() -> None:
    pair = dict(KD, view=dict(type='roi.logits', roi_source='teacher', num_rois=8))
    combine = dict(type='EntropyWeights')
    model = vary(distiller(dict(kd=pair), teacher=ensemble(combine=combine)))
    message = r"^model\.pairs\.kd: the student's rows are not the same for all members"
    with pytest.raises(DistillationError, match=message):
        losses_of(model)
    averaged = vary(distiller(dict(kd=pair), teacher=ensemble()))
    assert losses_of(averaged)['loss_kd_kd'] > 0  # each has a loss of its own


def test_named_ensembles_stand_beside_single_teachers() -> None:
    teachers = dict(
        many=ensemble(combine=dict(type='MeanProbs')), one=teacher_of(faster_rcnn())
    )
    pairs = dict(a=KD | dict(teacher='many'), b=KD | dict(teacher='one'))
    model = vary(distiller(pairs, teacher=teachers))
    losses = losses_of(model)
    assert losses['loss_kd_a'] > 0 and losses['loss_kd_b'] > 0
    assert list(model.teachers) == ['many.0', 'many.1', 'one']
    assert model.teachers['many.1'].key == 'model.teacher.many.members.1'
    with pytest.raises(ConfigError, match="needs a teacher: one of 'many', 'one'"):
        distiller(dict(a=KD), teacher=teachers)


# Faster, or not run at all.


@pytest.mark.fast_teacher
def test_each_member_has_a_fast_copy_of_its_own() -> None:
    members = ensemble(number=2, combine=dict(type='MeanProbs'))
    for member, dtype in zip(members['members'], ('float32', 'bfloat16'), strict=True):
        member['fast'] = dict(dtype=dtype, tolerance=0.3)
    model = vary(distiller(dict(kd=KD), teacher=members))
    plain = vary(distiller(dict(kd=KD), teacher=ensemble(combine=members['combine'])))
    plain.student.load_state_dict(model.student.state_dict())
    expected = losses_of(plain)['loss_kd_kd']
    assert_close(losses_of(model)['loss_kd_kd'], expected)  # the plain ones, at first
    used = [each.fast.is_used(torch.device('cpu')) for each in model.teachers.values()]
    assert used == [True, True]
    fast = losses_of(model)['loss_kd_kd']
    assert fast != expected
    assert_close(fast, expected, rtol=0.2, atol=1e-3)


def test_each_member_is_cached_by_itself(tmp_path: Path) -> None:
    """One is read from disk, the other runs: a step is the same."""
    pairs = dict(pixel=dict(view='seg.logits', loss=dict(type='KDLoss')))
    models = tiny_seg.segmentor(8), tiny_seg.segmentor(6)
    teacher = ensemble(*models, combine=dict(type='MeanProbs'))
    plain = MODELS.build(config(pairs, tiny_seg.segmentor(), teacher)).train()
    teacher['members'][0]['cache'] = exact(tmp_path)
    model = MODELS.build(config(pairs, tiny_seg.segmentor(), teacher)).train()
    model.load_state_dict(plain.state_dict())
    runs = count_runs(model)
    values = []
    for each in (plain, model, model):
        prepared = marked(tiny_seg.segment_batch(each), 0, 1)
        torch.manual_seed(3)
        values.append(each(**prepared, mode='loss')['loss_kd_pixel'])
    assert torch.equal(values[0], values[1]) and torch.equal(values[1], values[2])
    assert runs['teacher.1'] == 2
    assert runs['teacher.0'] == 1


def test_pictures_show_the_merged_teachers() -> None:
    pairs = dict(pixel=dict(view='seg.logits', loss=dict(type='KDLoss')))
    models = tiny_seg.segmentor(8), tiny_seg.segmentor(6)
    shown = {}
    for combine in ('MeanProbs', 'MeanLosses'):
        teacher = ensemble(*models, combine=dict(type=combine))
        model = vary(MODELS.build(config(pairs, tiny_seg.segmentor(), teacher)))
        prepared = tiny_seg.segment_batch(model)
        inputs, samples = prepared['inputs'], prepared['data_samples']
        (shown[combine],) = pair_maps(model, model.pairs, inputs, samples)
    with torch.no_grad():
        probs = [
            each.model.decode_head.forward(each.model.extract_feat(inputs)).softmax(1)
            for each in model.teachers.values()
        ]
    merged, first = (
        shown[key].teacher.softmax(1) for key in ('MeanProbs', 'MeanLosses')
    )
    assert_close(merged, torch.stack(probs).mean(0))
    assert_close(first, probs[0])
    assert shown['MeanLosses'].level == 'seg.logits of teacher.0'
