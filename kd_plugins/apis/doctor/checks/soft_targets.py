"""Softened labels and mixed images in the teacher's own training.

A network trained with label smoothing is a worse teacher, though it scores better: what
tells its wrong answers apart is lost. Source: Mueller et al., When Does Label Smoothing
Help?, NeurIPS 2019, https://arxiv.org/abs/1906.02629.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from ....config_files import type_name
from ..case import Case
from ..finding import FINE, NOTE, WARNING, Finding, NotChecked
from ..teachers import TeacherFacts

SMOOTHING, MIXUP, MOSAIC = 'label smoothing', 'mixed images', 'mosaics'
_TYPES = (
    (re.compile(r'label_?smooth', re.I), SMOOTHING),
    (re.compile(r'mix_?up|cut_?mix|resize_?mix|puzzle_?mix', re.I), MIXUP),
    (re.compile(r'mosaic', re.I), MOSAIC),
)
_AMOUNT = re.compile(r'label_?smooth|smooth_?label', re.I)
# Parts of a config that say how a model was trained.
_TRAINING = re.compile(r'model|train.*|custom_hooks|.*train_(dataset|pipeline).*')
_REMEDY = {
    SMOOTHING: 'Train the teacher without it, or compare features rather than class '
    'scores.',
    MIXUP: 'Train the teacher without it, or compare features rather than class '
    'scores.',
    MOSAIC: 'Its labels stay hard, but it knows other images than the student shows '
    'it: give the student the same augmentation, or fine-tune the teacher without.',
}


def check_soft_targets(case: Case) -> Iterator[Finding | NotChecked]:
    """Whether a teacher was trained on softened labels or mixed images."""
    own = {**case.cfg.to_dict(), 'model': case.student_model}
    of_student = set(softened(own).values())
    for facts in case.teachers:
        known = _training_of(facts)
        if known is None:
            yield NotChecked(
                f'how {facts.title.lower()} was trained',
                'neither its checkpoint nor the distillation names its whole config',
            )
            continue
        cfg, source = known
        found = softened(cfg)
        if not found:
            yield Finding(
                FINE,
                f'{facts.title} was trained on hard labels of whole images, as '
                f'{source} says.',
            )
        for what in dict.fromkeys(found.values()):
            where = [key for key, value in found.items() if value == what]
            alike = what in of_student
            yield Finding(
                NOTE if what == MOSAIC or (alike and what != SMOOTHING) else WARNING,
                f'{facts.title} was trained with {what} ({", ".join(where)}), as '
                f'{source} says'
                + ('; so is the student.' if alike else '.')
                + (
                    ''
                    if what == MOSAIC
                    else ' Its soft targets then tell less of how classes resemble '
                    'each other, which is what distillation teaches (Mueller et al. '
                    '2019).'
                ),
                '' if alike and what == MOSAIC else _REMEDY[what],
                {'where': ', '.join(where)},
            )


def softened(cfg: Mapping[str, Any]) -> dict[str, str]:
    """What softens labels or mixes images in a training, by its dotted key.

    Args:
        cfg: a whole config.

    Example:
        >>> softened({'model': {'loss': {'label_smooth_val': 0.1}}})
        {'model.loss.label_smooth_val=0.1': 'label smoothing'}
    """
    # The hosts' configs name a pipeline twice: by itself, and in the loader.
    ordered = sorted(cfg, key=lambda key: not str(key).endswith('_dataloader'))
    found: dict[str, str] = {}
    known = set()
    for key in ordered:
        if not _TRAINING.fullmatch(str(key)):
            continue
        for path, what in _walk(cfg[key], str(key)):
            name = path.rpartition(' ')[2]
            if str(key) == 'model' or name not in known:
                found[path] = what
            known.add(name)
    return found


def _walk(node: Any, path: str) -> Iterator[tuple[str, str]]:
    if isinstance(node, Mapping):
        kind = type_name(node['type']) if 'type' in node else ''
        for pattern, what in _TYPES:
            if kind and pattern.search(kind) and node.get('prob', 1) != 0:
                yield f'{path} {kind}', what
        for key, value in node.items():
            if _AMOUNT.search(str(key)) and isinstance(value, (int, float)) and value:
                yield f'{path}.{key}={value:g}', SMOOTHING
            yield from _walk(value, f'{path}.{key}')
    elif isinstance(node, (list, tuple)):
        for number, item in enumerate(node):
            yield from _walk(item, f'{path}.{number}')


def _training_of(facts: TeacherFacts) -> tuple[Mapping[str, Any], str] | None:
    """The config of its training, and where it stands."""
    if facts.stored is not None:
        return facts.stored, 'the config in its checkpoint'
    if facts.config is not None:
        return facts.config, 'its config'
    return None
