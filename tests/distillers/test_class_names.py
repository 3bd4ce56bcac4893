"""A teacher of other classes is refused where pairs match class by class."""

from pathlib import Path
from typing import Any

import pytest
import torch

from kd_plugins.errors import CheckpointError, ConfigError
from kd_plugins.registry import MODELS

from .runs import train
from .tiny import config, distiller, faster_rcnn, hint, losses_of

LOGITS: dict[str, Any] = dict(view='roi.logits', loss=dict(type='KDLoss'))


def checkpoint_of(path: Path, *classes: str) -> dict[str, Any]:
    """A teacher whose checkpoint says which classes it was trained for."""
    weights = distiller(dict(hint=hint())).teachers['teacher'].model.state_dict()
    meta = dict(dataset_meta=dict(classes=classes))
    torch.save(dict(meta=meta, state_dict=weights), path)
    return dict(model=faster_rcnn(), checkpoint=str(path))


@pytest.mark.parametrize('pair', [LOGITS, dict(LOGITS, view='roi.deltas')])
def test_another_order_of_classes_is_refused(
    pair: dict[str, Any], tmp_path: Path
) -> None:
    pair = (
        dict(pair, loss=dict(type='DeltaL2Loss')) if 'deltas' in pair['view'] else pair
    )
    teacher = checkpoint_of(tmp_path / 'teacher.pth', 'dog', 'cat')
    model = distiller(dict(pair=pair), teacher=teacher)
    model.set_class_names(['cat', 'dog'])
    with pytest.raises(
        CheckpointError, match=r"\['dog', 'cat'\], expected \['cat', 'dog'\]"
    ):
        losses_of(model)


def test_the_same_classes_pass(tmp_path: Path) -> None:
    teacher = checkpoint_of(tmp_path / 'teacher.pth', 'cat', 'dog')
    model = distiller(dict(pair=LOGITS), teacher=teacher)
    model.set_class_names(['cat', 'dog'])
    assert losses_of(model)['loss_kd_pair'].isfinite()


def test_features_do_not_ask_for_classes(tmp_path: Path) -> None:
    teacher = checkpoint_of(tmp_path / 'teacher.pth', 'dog', 'cat')
    model = distiller(dict(hint=hint()), teacher=teacher)
    model.set_class_names(['cat', 'dog'])
    assert losses_of(model)['loss_kd_hint'].isfinite()


def test_a_teacher_that_was_loaded_to_inherit_from_is_compared_too(
    tmp_path: Path,
) -> None:
    teacher = checkpoint_of(tmp_path / 'teacher.pth', 'dog', 'cat')
    options: dict[str, Any] = dict(teacher=teacher, init_from_teacher=['neck'])
    model = distiller(dict(pair=LOGITS), **options)
    assert model.teachers['teacher'].loaded
    with pytest.raises(CheckpointError, match=r"\['dog', 'cat'\], expected \['cat'"):
        model.set_class_names(['cat', 'dog'])
    model.set_class_names(['dog', 'cat'])
    model = distiller(dict(hint=hint()), **options)
    model.set_class_names(['cat', 'dog'])
    # A head brings its classes with it.
    options['init_from_teacher'] = ['roi_head']
    model = distiller(dict(hint=hint()), **options)
    with pytest.raises(CheckpointError, match=r"\['dog', 'cat'\], expected \['cat'"):
        model.set_class_names(['cat', 'dog'])


@pytest.mark.host
@pytest.mark.parametrize('inherited', [[], ['neck']], ids=['', 'inherited'])
def test_the_runner_tells_the_classes_of_its_data(
    inherited: list[str], tmp_path: Path
) -> None:
    teacher = checkpoint_of(tmp_path / 'teacher.pth', 'c', 'b', 'a')
    cfg = config(dict(a=LOGITS), teacher=teacher, init_from_teacher=inherited)
    message = r"\['c', 'b', 'a'\], expected \['a', 'b', 'c'\]"
    with pytest.raises(CheckpointError, match=message):
        train(cfg, tmp_path, runner_type='kd_plugins.DistillRunner')


def test_a_head_is_not_inherited_class_for_another_class() -> None:
    names = ('a', 'b', 'c')
    for other, heads in ((('b', 'a', 'c'), False), (('c', 'd'), True), (names, True)):
        head = dict(num_classes=len(other))
        teacher = dict(model=faster_rcnn(roi_head__bbox_head=head), allow_random=True)
        teacher['class_map'] = dict(student=names, teacher=other)
        cfg = config(dict(pair=LOGITS), teacher=teacher)
        MODELS.build(cfg | dict(init_from_teacher=['neck']))
        inherited = cfg | dict(init_from_teacher=['neck', 'roi_head'])
        if heads:
            MODELS.build(inherited)
        else:
            with pytest.raises(ConfigError, match='copied to the wrong ones'):
                MODELS.build(inherited)
