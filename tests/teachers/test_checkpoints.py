from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from kd_plugins.errors import CheckpointError
from kd_plugins.teachers.checkpoints import (
    classes_of,
    load_strictly,
    load_weights,
    weights_of,
)


class Head(nn.Module):
    """Classes with a background, and four deltas for each class."""

    def __init__(self, num_classes: int, width: int = 4) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.fc_cls = nn.Linear(width, num_classes + 1)
        self.fc_reg = nn.Linear(width, 4 * num_classes)


class Model(nn.Module):
    def __init__(self, num_classes: int = 3, width: int = 4) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, width, 1)
        self.norm = nn.BatchNorm2d(width)
        self.bbox_head = Head(num_classes, width)


def test_a_file_gives_weights_with_their_source_and_classes(tmp_path: Path) -> None:
    path = tmp_path / 'model.pth'
    meta = {'dataset_meta': {'classes': ('a', 'b')}}
    torch.save({'state_dict': Model().state_dict(), 'meta': meta}, path)
    weights = load_weights(path)
    assert weights.classes == ('a', 'b')
    assert weights.source == str(path)
    load_strictly(Model(), weights, 'here')


def test_of_a_file_that_cannot_be_read_the_key_is_named(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r'^load_from: there is no file'):
        load_weights(tmp_path / 'x.pth', key='load_from')
    with pytest.raises(CheckpointError, match=r"^load_from: 'x.pth' has no weights"):
        weights_of({}, source='x.pth', key='load_from')


def prefixed(prefix: str, module: nn.Module) -> dict[str, Tensor]:
    holder = nn.Module()
    holder.add_module(prefix, module)
    return holder.state_dict()


def test_a_wrapped_models_prefix_is_stripped() -> None:
    weights = weights_of({'state_dict': prefixed('module', Model())})
    assert list(weights) == list(Model().state_dict())


def test_of_a_distiller_the_student_is_taken_with_its_layers_versions() -> None:
    holder = nn.Module()
    holder.student = Model()
    holder.adapters = nn.ModuleDict({'hint': nn.Conv2d(1, 1, 1)})
    holder.losses = nn.ModuleDict({'hint': nn.BatchNorm2d(2)})
    weights = weights_of({'state_dict': holder.state_dict()})
    plain = holder.student.state_dict()
    assert list(weights) == list(plain)
    assert weights._metadata == plain._metadata  # type: ignore[attr-defined]


def test_a_semi_supervised_detector_keeps_its_names() -> None:
    both = {**prefixed('student', Model()), **prefixed('teacher', Model())}
    assert list(weights_of(both)) == list(both)


@pytest.mark.parametrize(
    ('checkpoint', 'classes'),
    [
        ({}, None),
        ({'meta': None}, None),
        ({'meta': {'dataset_meta': {'classes': ['a']}}}, ('a',)),
        ({'meta': {'CLASSES': ('a', 'b')}}, ('a', 'b')),  # mmdet 2
        ({'meta': {'CLASSES': 'a'}}, ('a',)),
    ],
)
def test_class_names(checkpoint: Any, classes: tuple[str, ...] | None) -> None:
    assert classes_of(checkpoint) == classes


def test_strict_loading_takes_every_value_and_casts_to_the_models_type() -> None:
    given = Model().half().state_dict()
    model = Model()
    load_strictly(model, given, 'model.teacher')
    for name, value in model.state_dict().items():
        assert torch.equal(value, given[name].to(value.dtype))
    assert model.conv.weight.dtype == torch.float32


def test_the_counter_of_batches_may_lack_or_be_too_many() -> None:
    given = Model().state_dict()
    given['conv.num_batches_tracked'] = torch.tensor(1)
    del given['norm.num_batches_tracked']  # of a file that says it has them
    assert vars(given)['_metadata']['norm']['version'] == 2
    load_strictly(Model(), given, 'model.teacher')


def test_other_classes_are_told_from_another_architecture() -> None:
    weights = weights_of(Model(num_classes=80).state_dict(), source='coco.pth')
    message = (
        r"checkpoint: 'coco.pth' has 80 classes, the model 20 "
        r"\('bbox_head.fc_cls.weight' \(81, 4\) instead of \(21, 4\), .*, and 1 more\)"
        r'. Set bbox_head.num_classes=80 in its config, or give a checkpoint trained '
        'for 20 classes'
    )
    with pytest.raises(CheckpointError, match=message):
        load_strictly(Model(num_classes=20), weights, 'checkpoint')


@pytest.mark.parametrize('owner', ['model.teacher', 'model.teacher.big'])
def test_the_classes_of_a_teacher_are_told_by_the_key_that_sets_them(
    owner: str,
) -> None:
    weights = weights_of(Model(num_classes=80).state_dict(), source='coco.pth')
    with pytest.raises(
        CheckpointError, match=rf'Set {owner}.bbox_head.num_classes=80, or give a chec'
    ):
        load_strictly(Model(num_classes=20), weights, f'{owner}.checkpoint')


def test_another_architecture_counts_and_names_what_differs() -> None:
    given = Model(width=8).state_dict()
    given['layer9.weight'] = torch.ones(1)
    del given['conv.bias']
    message = (
        r"'the checkpoint' is of another architecture than the Model of the config. "
        r'Of its 11 entries, where 11 are expected: '
        r"1 missing \('conv.bias'\); 1 unexpected \('layer9.weight'\); "
        r"7 of another shape \('conv.weight' \(8, 3, 1, 1\) instead of \(4, 3, 1, 1\), "
        r'.*, and 4 more\). Give the config'
    )
    with pytest.raises(CheckpointError, match=message):
        load_strictly(Model(), given, 'model.teacher')


def test_a_wider_model_is_another_architecture_not_other_classes() -> None:
    given = Model(width=8).state_dict()
    with pytest.raises(CheckpointError, match='another architecture'):
        load_strictly(Model(), given, 'model.teacher')


def test_heads_that_disagree_on_the_classes_are_another_architecture() -> None:
    given = Model(num_classes=5).state_dict()
    given['bbox_head.fc_reg.weight'] = torch.ones(8, 4)
    with pytest.raises(CheckpointError, match='another architecture'):
        load_strictly(Model(num_classes=3), given, 'model.teacher')


def test_what_else_the_model_refuses_is_passed_on() -> None:
    class Picky(Model):
        def _load_from_state_dict(self, *args: Any) -> None:
            args[-1].append('not today')

    with pytest.raises(CheckpointError, match=r"'the checkpoint': (?s:.)*not today"):
        load_strictly(Picky(), Model().state_dict(), 'model.teacher')


def test_class_names_are_compared_where_both_are_known() -> None:
    weights = weights_of(Model().state_dict())
    load_strictly(Model(), weights, 'here', classes=('a', 'b', 'c'))
    weights.classes = ('a', 'b', 'c')
    load_strictly(Model(), weights, 'here', classes=['a', 'b', 'c'])
    message = r"other classes, or in another order: \['a', 'b', 'c'\], expected \['a',"
    with pytest.raises(CheckpointError, match=message):
        load_strictly(Model(), weights, 'here', classes=['a', 'c', 'b'])


def test_of_mmrazor_the_model_that_it_trained_is_taken() -> None:
    student, other = Model(), Model(num_classes=5)
    both = {
        **prefixed('architecture', student),
        **prefixed('teacher', other),
        'distiller.connectors.0.weight': torch.ones(1),
    }
    load_strictly(Model(), weights_of(both), 'here')
    assert torch.equal(weights_of(both)['conv.weight'], student.conv.weight)
    chosen = weights_of(both, prefix='teacher')  # with or without the dot
    load_strictly(Model(num_classes=5), chosen, 'here')


def test_second_copies_of_mmdet_2_are_left_out() -> None:
    plain = Model().state_dict()
    copies = {f'ema_{key.replace(".", "_")}': value + 1 for key, value in plain.items()}
    weights = weights_of({**plain, **copies, 'ema_own.weight': torch.ones(1)})
    assert list(weights) == [*plain, 'ema_own.weight']  # of a layer of that name
    assert torch.equal(weights['conv.weight'], plain['conv.weight'])


def test_a_model_behind_a_prefix_is_not_another_architecture() -> None:
    for prefixes in (['model'], ['student', 'teacher']):
        state = {'queue': torch.ones(1)}
        for prefix in prefixes:
            state |= prefixed(prefix, Model(num_classes=4))
        del state[f'{prefixes[0]}.norm.num_batches_tracked']
        shown = ' and '.join(rf"'{prefix}\.'" for prefix in prefixes)
        ways = ' or '.join(rf"checkpoint_prefix='{prefix}\.'" for prefix in prefixes)
        message = (
            rf"^here: 'x\.pth' holds this Model under {shown}, not .* set {ways}\."
        )
        with pytest.raises(CheckpointError, match=message):
            load_strictly(Model(), weights_of(state, source='x.pth'), 'here')
    weights = weights_of(state, prefix='teacher.')
    with pytest.raises(CheckpointError, match='4 classes, the model 3'):
        load_strictly(Model(), weights, 'here')


def test_a_name_that_ends_alike_is_no_prefix() -> None:
    state = {f'x{key}': value for key, value in Model().state_dict().items()}
    with pytest.raises(CheckpointError, match='another architecture'):
        load_strictly(Model(), state, 'here')


def test_a_prefix_that_is_not_there_names_those_that_are() -> None:
    state = {**prefixed('student', Model()), **prefixed('teacher', Model())}
    message = r"^k: 'x' has no entries that begin with 'techer\.'.*Close: 'teacher\.'"
    with pytest.raises(CheckpointError, match=message):
        weights_of(state, source='x', key='k', prefix='techer.')


def test_another_architecture_behind_a_prefix_is_one() -> None:
    class Deeper(Model):
        def __init__(self) -> None:
            super().__init__()
            self.conv2 = nn.Conv2d(4, 4, 1)

    with pytest.raises(CheckpointError, match='another architecture than the Deeper'):
        load_strictly(Deeper(), prefixed('teacher', Model()), 'here')
