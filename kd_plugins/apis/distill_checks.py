"""What two configs and a checkpoint must be, to make a distillation of."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config

from ..checkpoints import read_checkpoint
from ..config_files import read_config, type_name
from ..engine.stages import has_stages
from ..errors import ConfigError, located
from ..registry import MODELS
from ..teachers import build_teachers, model_config
from .distill_config import Sources

_DISTILLER = 'Distiller'
# Of the hosts, by the names of their classes: one of them may not be installed.
_KINDS = {
    'DepthEstimator': 'depth estimator',
    'BaseSegmentor': 'segmentor',
    'BaseDetector': 'detector',
    'BaseMOTModel': 'detector',
}
_HEADS = ('decode_head', 'bbox_head', 'roi_head.bbox_head')


def check_sources(sources: Sources) -> None:
    """Refuse what no distillation can be made of, before anything is written.

    Args:
        sources: configs and checkpoint.

    Raises: ConfigError naming STUDENT or TEACHER; CheckpointError for a file that is
        missing or no checkpoint.
    """
    student = read_config(sources.student, 'STUDENT')
    teacher = read_config(sources.teacher, 'TEACHER')
    for argument, name, cfg in (
        ('STUDENT', sources.student, student),
        ('TEACHER', sources.teacher, teacher),
    ):
        if has_stages(cfg):
            raise ConfigError(
                f"'{name}' is of several stages ({', '.join(cfg.stages)}): expected "
                'one training. Give the config of one of them.',
                argument,
            )
        if 'model' not in cfg:
            raise ConfigError(f"'{name}' defines no model.", argument)
        if type_name(cfg.model.get('type')) == _DISTILLER:
            alone = 'student' if argument == 'STUDENT' else 'teacher'
            raise ConfigError(
                f"'{name}' is a distillation already: expected the config of the "
                f'{alone} alone. {_instead(argument, name)}',
                argument,
            )
    if not student.get('train_dataloader') or not student.get('train_cfg'):
        raise ConfigError(
            f"'{sources.student}' has no train_dataloader and train_cfg: there is "
            'nothing to train on. Give a whole config, such as '
            "'mmdet::retinanet/retinanet_r50_fpn_1x_coco.py', and no part of one.",
            'STUDENT',
        )
    kinds = [_kind(cfg) for cfg in (student, teacher)]
    if None not in kinds and kinds[0] != kinds[1]:
        raise ConfigError(
            f"STUDENT '{sources.student}' is a {kinds[0]}, TEACHER "
            f"'{sources.teacher}' a {kinds[1]}: their predictions and features are of "
            f'different tasks. Choose a {kinds[0]} as teacher.'
        )
    with located('CHECKPOINT'):
        read_checkpoint(sources.checkpoint)


def check_teacher(cfg: Config) -> Iterator[str]:
    """Load the teacher as the training will, and compare its classes.

    Args:
        cfg: of the distillation.

    Yields: what to tell the user.
    Raises: CheckpointError for weights of another architecture, or of other classes
        than the config has, saying what to change; ConfigError for a teacher that
        cannot be built.
    """
    with located('model.student'):
        student = model_config(cfg.model.student)
    with located('model.teacher'):
        teachers = build_teachers(cfg.model.teacher, None)
    for teacher in teachers.values():
        teacher.prepare(torch.device('cpu'))
        numbers = _classes(student), _classes(teacher.config)
        if None in numbers or numbers[0] == numbers[1] or teacher.class_map is not None:
            continue
        yield (
            f'The teacher knows {numbers[1]} classes, the student {numbers[0]}: class '
            'by class they cannot be compared. If they share some, say which are the '
            f'same: {teacher.key}.class_map=dict(student=..., teacher=...), names or a '
            "registered dataset such as 'mmdet.CocoDataset', in the written config or "
            f'by --cfg-options {teacher.key}.class_map.student=...'
        )


def check_folder(folder: Path, sources: Sources, resume: str | None) -> None:
    """Refuse to mix a run with another one in the same folder.

    Args:
        folder: work folder of the run.
        sources: what the run is made of.
        resume: as of :func:`~kd_plugins.apis.distill`.

    Raises: ConfigError for a folder with checkpoints of another run; and of this one,
        unless it is to be resumed.
    """
    checkpoints = sorted(folder.glob('*.pth')) if folder.is_dir() else []
    if not checkpoints:
        return
    written = folder / f'{sources.name}.py'
    same = written.is_file() and sources.are_of(written.read_text(encoding='utf-8'))
    run = 'this run' if same else 'another run'
    cure = 'Continue it by --resume, or g' if same else 'G'
    if not same or resume is None:
        raise ConfigError(
            f"'{folder}' holds checkpoints of {run} already ({checkpoints[0].name}"
            f'{", ..." if len(checkpoints) > 1 else ""}). {cure}ive another folder.',
            '--work-dir',
        )


def _instead(argument: str, name: str) -> str:
    if argument == 'STUDENT':
        return f'To run it: python tools/train.py {name}'
    return 'tools/export_student.py writes that of a distilled student, with weights.'


def _kind(cfg: Config) -> str | None:
    """Which kind of model a config has; None for one of neither host."""
    kind = cfg.model.get('type')
    scope = cfg.model.get('_scope_', cfg.get('default_scope'))
    if isinstance(kind, str):
        with MODELS.switch_scope_and_registry(scope) as registry:
            kind = registry.get(kind)
    names = [cls.__name__ for cls in getattr(kind, '__mro__', ())]
    return next((_KINDS[name] for name in names if name in _KINDS), None)


def _classes(model: Mapping[str, Any]) -> int | None:
    """Number of classes in a model's config, where its head says it."""
    for path in _HEADS:
        head: Any = model
        for part in path.split('.'):
            head = head.get(part) if isinstance(head, Mapping) else None
        if isinstance(head, (list, tuple)) and head:
            head = head[-1]
        if isinstance(head, Mapping) and isinstance(head.get('num_classes'), int):
            return int(head['num_classes'])
    return None
