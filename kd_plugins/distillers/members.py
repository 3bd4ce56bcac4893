"""Views of the members of an ensemble, bound, and whether they can be combined."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from ..combinations import Combination, MergedTeachers, WeighedLosses
from ..errors import ConfigError, LocatedError
from ..losses import DistillationLoss
from ..target_transforms import TargetTransform
from ..views import BoundView, Probe, TensorSpec, View
from ..views.base import SIDES
from .loss_trials import reads_logits, weighs_rows
from .pair_levels import Bind

_MEANS = "combine=dict(type='MeanLosses')"


def bind_members(
    view: View,
    first: BoundView,
    names: Sequence[str],
    probes: Mapping[str, Probe],
    bind: Bind,
) -> dict[str, BoundView]:
    """A view of the student and each member of an ensemble.

    Args:
        view: of the pair.
        first: that of the first member, bound.
        names: of the members.
        probes: of the student and each member.
        bind: binds a view.

    Raises: ConfigError naming a member that cannot be compared, where others can, or
        that gives another number of levels or stages.
    """
    views = {names[0]: first}
    for name in names[1:]:
        try:
            views[name], _ = bind(view, probes[name])
        except ConfigError as error:
            raise ConfigError(
                f"the members of the ensemble disagree: '{names[0]}' can be compared, "
                f"and '{name}' cannot. {_told(error)}"
            ) from error
        counts = len(first.tensors), len(views[name].tensors)
        if counts[0] != counts[1]:
            raise ConfigError(
                f"the members of the ensemble disagree: '{names[0]}' gives {counts[0]} "
                f"levels or stages, '{name}' {counts[1]}. Choose levels that all have."
            )
    return views


def of_labels(
    views: Mapping[str, BoundView], combination: Combination | None
) -> dict[str, BoundView]:
    """The views; those that labels are read with need a teacher of the same classes."""
    if not (isinstance(combination, WeighedLosses) and combination.needs_labels):
        return dict(views)
    return {
        name: replace(view, requires_same_classes=True) for name, view in views.items()
    }


def _told(error: LocatedError) -> str:
    return f'{error.key}: {error.args[0]}' if error.key else str(error)


def check_combination(
    views: Mapping[str, BoundView],
    probes: Mapping[str, Probe],
    combination: Combination,
    loss: DistillationLoss,
    target_transform: TargetTransform | None,
    pair: str,
) -> None:
    """Refuse what a combination is not defined on, by its name.

    Args:
        views: of each member, by its name.
        probes: of the student and each member.
        combination: of the members.
        loss: of the pair.
        target_transform: of the pair, or None.
        pair: its name.

    Raises: ConfigError saying what to change.
    """
    name, kind = combination.describe(), type(loss).__name__
    first = next(iter(views.values()))
    if combination.of_logits:
        _check_logits(views, probes, combination)
    if isinstance(combination, MergedTeachers):
        spec = first.tensors[0]
        softmax = spec.context.activation != 'sigmoid'
        if (
            combination.normalizes
            and softmax
            and reads_logits(loss, spec, pair, target_transform)
        ):
            raise ConfigError(
                f'{kind} reads more of the logits than probabilities, and {name} makes '
                "logits of probabilities alone. Set combine=dict(type='MeanLogits') in "
                'this pair.'
            )
        return
    if len(views) == 1:
        return
    if loss.state_dict() or loss.auxiliary_optimizers():
        one, *_, last = views
        raise ConfigError(
            f'{kind} learns from what it compares, and would confuse the members of '
            f"the ensemble. Give each a pair of its own (teacher='{one}', ..., "
            f"teacher='{last}')."
        )
    assert isinstance(combination, WeighedLosses)
    if combination.of_rows:
        for spec in first.tensors:
            if not weighs_rows(loss, spec, pair, target_transform):
                raise ConfigError(
                    f'{name} weighs each row by itself, and {kind} is no sum over '
                    f'rows: it takes no mask, or compares rows with one another. Set '
                    f'{_MEANS} in this pair, or choose another loss.'
                )


def _check_logits(
    views: Mapping[str, BoundView],
    probes: Mapping[str, Probe],
    combination: Combination,
) -> None:
    name = combination.describe()
    first = next(iter(views.values()))
    logits = all(reads_classes(view) for view in views.values())
    features = isinstance(combination, WeighedLosses) and combination.of_features
    known = features and all(view.classifier is not None for view in views.values())
    if not logits and not known:
        others = (
            ", or of views 'roi.features' and 'seg.features' of the same classes"
            if features
            else ''
        )
        raise ConfigError(
            f'{name} is defined on class logits{others}, and this pair reads '
            f'{first.tensors[0].name}. Set {_MEANS} in this pair, or compare logits.'
        )
    if (
        isinstance(combination, WeighedLosses)
        and combination.needs_labels
        and not all(_has_labels(spec) for spec in first.tensors)
    ):
        raise ConfigError(
            f'{name} weighs by labels, and {first.tensors[0].name} has none here. Set '
            "combine=dict(type='EntropyWeights') or 'MeanLosses' in this pair."
        )
    _check_equal(views, probes, logits)


def _check_equal(
    views: Mapping[str, BoundView], probes: Mapping[str, Probe], logits: bool
) -> None:
    """Refuse members whose columns are not of the same classes."""
    names = list(views)
    for name, view in views.items():
        columns = (
            [spec.teacher[1] for spec in view.tensors]
            if logits
            else [view.classifier.classes if view.classifier else 0]
        )
        shared = probes[name].class_map
        told = columns, None if shared is None else shared.shared
        if name == names[0]:
            expected = told
        elif told != expected:
            raise ConfigError(
                f"members '{names[0]}' and '{name}' of the ensemble know different "
                f'classes: {_shown(*expected)} and {_shown(*told)}. Choose members of '
                'the same classes, or the same class_map.'
            )


def _shown(columns: Sequence[int], shared: Sequence[str] | None) -> str:
    text = f'{columns[0]} columns'
    return text if shared is None else f'{text} of {list(shared)}'


def reads_classes(view: BoundView) -> bool:
    """Whether a view reads class logits that both models turn into probabilities alike.

    Args:
        view: of any kind.
    """
    if view.activations is not None:
        student, teacher = (view.activations[side] for side in SIDES)
        return student == teacher
    return view.of_logits


def _has_labels(spec: TensorSpec) -> bool:
    """Whether the host's targets of these rows are classes, or answers."""
    maps = len(spec.teacher) == 4
    return spec.target is not None and len(spec.target) == (3 if maps else 1)
