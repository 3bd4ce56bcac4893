"""How far the student says what its teacher says, and whether both mean it."""

from collections.abc import Iterator, Mapping

from ..case import Case
from ..finding import NOTE, PROBLEM, WARNING, Finding, NotChecked, NotCheckedError
from ..score import score_of
from ..teachers import TeacherFacts

ALIKE = 0.98  # above it there is nothing left to learn
FAR = 0.6  # below it, on images of the training, it was not learned
_FORGETS = 0.15
MISCALIBRATED = 0.25
_KNOWN = 0.2  # how much better a teacher is on images that it was trained on


def check_agreement(case: Case) -> Iterator[Finding | NotChecked]:
    """Agreement and calibration on training and validation images."""
    for facts in case.teachers:
        validation = case.validation.fidelity.get(facts.name)
        if validation is None:
            yield NotChecked(
                f'agreement with {facts.title.lower()}',
                case.validation.without.get(facts.name, 'there are no predictions'),
            )
            continue
        training = None
        try:
            training = case.training.fidelity.get(facts.name)
        except NotCheckedError as error:
            yield NotChecked('agreement on training images', str(error))
        yield from _agreement(facts, validation, training)
        yield from _calibration(facts, validation, training)
        if training is not None:
            yield from _knows_training_images(case, facts)


def following(values: Mapping[str, float]) -> float:
    """Share of what the teacher finds that the student finds, and names alike.

    Args:
        values: of fidelity; those of pixels have no recall.
    """
    return values.get('agreement', 0.0) * values.get('recall', 1.0)


def _agreement(
    facts: TeacherFacts,
    validation: Mapping[str, float],
    training: Mapping[str, float] | None,
) -> Iterator[Finding]:
    new, taught = following(validation), None
    figures: dict[str, float | str] = {'validation': new}
    shares = f'{100 * new:.0f} % on validation images'
    if training is not None:
        taught = following(training)
        figures['training'] = taught
        shares = f'{100 * taught:.0f} % on training images, {shares}'
    sentence = (
        f'Of the objects of {facts.title.lower()} the student finds, and names alike, '
        f'{shares}'
        if 'recall' in validation
        else f'Of the pixels the student gives the same class as {facts.title.lower()} '
        f'to {shares}'
    )
    if new > ALIKE:
        yield Finding(
            PROBLEM,
            f'{sentence}: nothing is left to learn from it.',
            'Choose a better teacher, and check that it is not the student itself.',
            figures,
        )
    elif taught is not None and taught < FAR:
        yield Finding(
            WARNING,
            f'{sentence}: it did not learn what it was shown.',
            'Raise the weights of the pairs, train longer, or take a larger student; a '
            'teacher of a size in between may be easier to follow.',
            figures,
        )
    elif taught is not None and taught - new > _FORGETS:
        yield Finding(
            NOTE,
            f'{sentence}: it follows where it was taught, and less on new images.',
            'Distil on more images; they need no labels. Stronger augmentation may do.',
            figures,
        )
    else:
        yield Finding(NOTE, f'{sentence}.', figures=figures)


def _calibration(
    facts: TeacherFacts,
    validation: Mapping[str, float],
    training: Mapping[str, float] | None,
) -> Iterator[Finding]:
    figures: dict[str, float | str] = {}
    parts = []
    for which in ('teacher', 'student'):
        shown = []
        for where, values in (('training', training), ('validation', validation)):
            if values is not None and f'ece_{which}' in values:
                figures[f'{which}, {where}'] = values[f'ece_{which}']
                shown.append(f'{values[f"ece_{which}"]:.3f} on {where} images')
        if shown:
            parts.append(f'of the {which} {" and ".join(shown)}')
    if not parts:
        return
    sentence = f'The calibration error (0 is best) is {"; ".join(parts)}.'
    if validation.get('ece_teacher', 0.0) > MISCALIBRATED:
        yield Finding(
            WARNING,
            f'{facts.title} is right less often than it is sure, or more. {sentence}',
            'Soften its scores (temperature of the loss), or compare features.',
            figures,
        )
    else:
        yield Finding(NOTE, sentence, figures=figures)


def _knows_training_images(case: Case, facts: TeacherFacts) -> Iterator[Finding]:
    """A teacher that knows the images by heart repeats their labels."""
    if facts.name not in case.training.teachers:
        return
    kind = case.kind
    taught = score_of(case.training.teachers[facts.name], kind)
    new = score_of(case.validation.teachers[facts.name], kind)
    ahead = taught.over(new) / max(abs(taught.value), abs(new.value), 1e-12)
    if ahead > _KNOWN:
        yield Finding(
            NOTE,
            f'{facts.title} scores {taught} on the training images and {new} on '
            'validation images: it seems to have been trained on them, and says little '
            'there that the labels do not.',
            'Distil also on images without labels, with strong augmentation, or at a '
            'higher temperature.',
            {'training': taught.value, 'validation': new.value},
        )
