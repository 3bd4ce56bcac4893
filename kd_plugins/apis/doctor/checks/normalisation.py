"""Mean, standard deviation and order of channels that each model expects."""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from ....config_files import type_name
from ..case import Case
from ..finding import FINE, NOTE, PROBLEM, Finding, NotChecked
from ..teachers import TeacherFacts

_INNER = ('detector', 'segmentor')  # of trackers and semi-supervised models


class Normalisation(NamedTuple):
    """What a data preprocessor does to raw images.

    Attributes:
        mean: by channel; empty: it does not normalise.
        std: by channel.
        swapped: whether BGR becomes RGB, or the reverse.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]
    swapped: bool

    def __str__(self) -> str:
        order = 'channels swapped' if self.swapped else 'channels as read'
        if not self.mean:
            return f'not normalised, {order}'
        return f'mean {_numbers(self.mean)}, std {_numbers(self.std)}, {order}'


def check_normalisation(case: Case) -> Iterator[Finding | NotChecked]:
    """Whether each teacher sees images as in its own training."""
    student = normalisation_of(case.student_model)
    for facts in case.teachers:
        teacher = normalisation_of(facts.model)
        if teacher == student:
            yield Finding(
                FINE,
                f'{facts.title} and the student normalise images alike: {teacher}.',
            )
        else:
            yield Finding(
                NOTE,
                f'{facts.title} normalises images otherwise than the student, and gets '
                f'them renormalised: {teacher}; the student: {student}.',
                figures={'teacher': str(teacher), 'student': str(student)},
            )
        yield _beside_checkpoint(facts, teacher)


def _beside_checkpoint(
    facts: TeacherFacts, given: Normalisation
) -> Finding | NotChecked:
    trained = _in_checkpoint(facts)
    if trained is None:
        return NotChecked(
            f'how {facts.title.lower()} normalised images in its training',
            'its checkpoint holds no config that tells',
        )
    figures = {'trained': str(trained), 'given': str(given)}
    if trained == given:
        return Finding(
            FINE, f'{facts.title} sees images as in its training.', figures=figures
        )
    return Finding(
        PROBLEM,
        f'{facts.title} was trained on other images than it gets: its checkpoint says '
        f'{trained}; its config here says {given}.',
        f'Set {facts.key}.data_preprocessor to what its checkpoint says, or give the '
        'config that it was trained with.',
        figures,
    )


def normalisation_of(model: Mapping[str, Any]) -> Normalisation:
    """The normalisation in the configuration of a model."""
    content: Any = model.get('data_preprocessor') or {}
    for part in _INNER:
        if 'mean' not in content and isinstance(model.get(part), Mapping):
            return normalisation_of(model[part])
    if 'Multi' in type_name(content.get('type')) and 'data_preprocessor' in content:
        content = content['data_preprocessor']
    return Normalisation(
        _tuple(content.get('mean')),
        _tuple(content.get('std')),
        bool(content.get('bgr_to_rgb') or content.get('rgb_to_bgr')),
    )


def _in_checkpoint(facts: TeacherFacts) -> Normalisation | None:
    stored, model = facts.stored, facts.trained_model
    if stored is None or model is None:
        return None
    found = normalisation_of(model)
    if not found.mean and stored.get('data_preprocessor'):
        found = normalisation_of({'data_preprocessor': stored.data_preprocessor})
    old = stored.get('img_norm_cfg')  # of mmdet 2 and mmseg 0
    if not found.mean and isinstance(old, Mapping):
        swapped = bool(old.get('to_rgb', True))
        return Normalisation(_tuple(old.get('mean')), _tuple(old.get('std')), swapped)
    return found


def _tuple(values: Any) -> tuple[float, ...]:
    if values is None:
        return ()
    if isinstance(values, (int, float)):
        return (float(values),)
    return tuple(float(value) for value in values)


def _numbers(values: tuple[float, ...]) -> str:
    return '/'.join(f'{value:g}' for value in values)
