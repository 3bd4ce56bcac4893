"""A distillation whose facts are made up, and what checks say of it."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config

from kd_plugins.apis.doctor.case import Case
from kd_plugins.apis.doctor.data import Images
from kd_plugins.apis.doctor.finding import Finding, NotChecked
from kd_plugins.evaluation.paired import PairedEvaluation
from tests.distillers.tiny import all_pairs, config, faster_rcnn, teacher_of

MAP = 'coco/bbox_mAP'
CLASSES = ('a', 'b', 'c')


def evaluation(
    student: float = 0.4,
    teacher: float | None = 0.6,
    fidelity: dict[str, float] | None = None,
    key: str = MAP,
) -> PairedEvaluation:
    """Scores of both, and fidelity to the one teacher."""
    return PairedEvaluation(
        images=10,
        student={key: student},
        teachers={} if teacher is None else {'teacher': {key: teacher}},
        fidelity={} if fidelity is None else {'teacher': fidelity},
        without={} if fidelity is not None else {'teacher': 'they are depth maps'},
    )


def images(number: int = 10, total: int = 10, classes: Any = CLASSES) -> Images:
    return Images(number, total, [], lambda: None, classes)  # type: ignore[arg-type]


def model(**teacher: Any) -> dict[str, Any]:
    """A distiller of tiny Faster R-CNNs; ``teacher`` beside its model."""
    return config(all_pairs(), teacher={**teacher_of(faster_rcnn()), **teacher})


def case(of: dict[str, Any] | None = None, whole: Any = None, **facts: Any) -> Case:
    """A case with facts that are known already; by default a healthy one.

    Args:
        of: the model's config.
        whole: further keys of the config.
        facts: of the case, by name.
    """
    cfg = Config(dict(model=of or model(), **(whole or {})))
    made = Case(cfg, 'student.pth', None, Path('nowhere'))
    known = dict(
        validation=evaluation(),
        training=evaluation(0.7, 0.7),
        validation_images=images(),
        training_images=images(),
    )
    made.kept.update(known | facts)
    return made


Check = Callable[[Case], Iterator[Finding | NotChecked]]


def results(check: Check, of: Case) -> list[Finding]:
    """Its findings."""
    return [item for item in check(of) if isinstance(item, Finding)]


def unchecked(check: Check, of: Case) -> list[NotChecked]:
    return [item for item in check(of) if isinstance(item, NotChecked)]


def severities(check: Check, of: Case) -> set[str]:
    return {item.severity for item in results(check, of)}


def save_teacher(path: Path, cfg: str = '', classes: Any = None, **meta: Any) -> str:
    """A checkpoint that says something of itself, and holds no weights to speak of."""
    meta |= {'cfg': cfg} if cfg else {}
    meta |= {} if classes is None else {'dataset_meta': {'classes': classes}}
    torch.save(dict(meta=meta, state_dict={'a': torch.zeros(1)}), path)
    return str(path)
