"""To go on, under a teacher, from where the training of the student alone stands."""

import warnings
from collections.abc import Iterable, Mapping
from typing import Any

from mmengine.optim import OptimWrapper, OptimWrapperDict, ReduceOnPlateauParamScheduler
from mmengine.runner import Runner
from torch import nn

from ..distillers.auxiliary import STUDENT
from ..distillers.interface import unwrap
from ..errors import CheckpointError
from ..teachers.checkpoints import (
    is_distiller,
    load_strictly,
    peers_in,
    weights_of,
)

_PROGRESS = ('optimizer', 'message_hub')
_CURE = (
    "To start a training from its weights, leave out --resume, and set load_from='{}'."
)


def is_plain(checkpoint: Mapping[str, Any]) -> bool:
    """Whether a checkpoint is of a model alone, and not of its distillation."""
    weights = checkpoint['state_dict']
    return not (is_distiller(weights) or peers_in(weights))


def check_progress(checkpoint: Mapping[str, Any], source: str) -> None:
    """Refuse to resume from a file of weights alone, such as ``student_*.pth``.

    Args:
        checkpoint: as the host reads it.
        source: its file, for the message.

    Raises: CheckpointError naming ``load_from``.
    """
    missing = [name for name in _PROGRESS if name not in checkpoint]
    if missing:
        raise CheckpointError(
            f"'{source}' cannot be resumed: it holds weights, and no "
            f'{" nor ".join(missing)}. {_CURE.format(source)}'
        )


def continue_plain_run(
    checkpoint: dict[str, Any], runner: Runner, source: str
) -> list[str]:
    """Make of a plain run's checkpoint one of this distillation, as it would be now.

    The student's optimiser keeps its state, momentum among it: the parameter groups of
    a distillation begin with those of the student alone. What else learns starts fresh.
    Rates are those of this configuration's schedule after so many steps, for all.

    Args:
        checkpoint: as the host reads it; changed in place.
        runner: of the distillation; its schedulers are stepped.
        source: file of the checkpoint, for messages.

    Returns: what to log, a line each.
    Raises: CheckpointError for weights of another student; and, naming ``load_from``,
        where the optimisers do not agree.
    """
    optim_wrapper, saved = runner.optim_wrapper, checkpoint['optimizer']
    distiller: Any = unwrap(runner.model)
    _check_weights(distiller.student, checkpoint, source)
    several = isinstance(optim_wrapper, OptimWrapperDict)
    student = optim_wrapper[STUDENT] if several else optim_wrapper
    _check_groups(student, saved, source)
    steps = checkpoint['meta']['iter'], checkpoint['meta']['epoch']
    _step_to(runner.param_schedulers, *steps, source)
    fresh = student.state_dict()
    rate, before = (state['param_groups'][0]['lr'] for state in (fresh, saved))
    joint = {**fresh, 'state': saved['state']}
    if 'loss_scaler' in fresh and 'loss_scaler' in saved:
        joint['loss_scaler'] = saved['loss_scaler']
    checkpoint['optimizer'] = (
        {**optim_wrapper.state_dict(), STUDENT: joint} if several else joint
    )
    if runner.param_schedulers is None:
        checkpoint.pop('param_schedulers', None)
    else:
        checkpoint['param_schedulers'] = _states(runner.param_schedulers)
    lines = [
        f'{source} is of a plain run: the student goes on from iteration {steps[0]} '
        'with the state of its optimiser; adapters, and losses that learn, start fresh.'
    ]
    if abs(rate - before) > 1e-6 * max(rate, before):
        lines.append(
            f'The learning rate is {rate:.4g} there, as this config schedules it; the '
            f"plain run's was {before:.4g}."
        )
    return lines


def _check_weights(
    student: nn.Module, checkpoint: Mapping[str, Any], source: str
) -> None:
    # The host loads what fits, and warns of the rest.
    key = 'resume'
    load_strictly(student, weights_of(checkpoint, source=source, key=key), key)


def _check_groups(student: OptimWrapper, saved: Mapping[str, Any], source: str) -> None:
    sizes = [
        [len(group['params']) for group in groups]
        for groups in (student.param_groups, saved.get('param_groups', ()))
    ]
    ours, plain = sizes
    if not plain or ours[: len(plain)] != plain or len(ours) > len(plain) + 1:
        raise CheckpointError(
            f"'{source}' is of a plain run whose optimiser had other parameter groups "
            f'than this student has: {plain or "several optimisers"}, expected '
            f'{ours[: len(plain)] or ours}, in parameters a group. '
            f'{_CURE.format(source)}'
        )


def _step_to(schedulers: Any, iterations: int, epochs: int, source: str) -> None:
    """Step schedulers as the host's hook would have, in so much training."""
    listed = list(_all(schedulers))
    if any(isinstance(each, ReduceOnPlateauParamScheduler) for each in listed):
        raise CheckpointError(
            f"'{source}' is of a plain run, and what ReduceOnPlateau made of its rates "
            f'cannot be repeated. {_CURE.format(source)}'
        )
    with warnings.catch_warnings():
        warnings.filterwarnings('ignore', 'Detected call of', UserWarning)
        for epoch in range(max(epochs, 1)):
            begin, end = (
                iterations * each // max(epochs, 1) for each in (epoch, epoch + 1)
            )
            for _ in range(begin, end):
                _step(each for each in listed if not each.by_epoch)
            if epochs:
                _step(each for each in listed if each.by_epoch)


def _step(schedulers: Iterable[Any]) -> None:
    for scheduler in schedulers:
        scheduler.step()


def _all(schedulers: Any) -> Iterable[Any]:
    if isinstance(schedulers, Mapping):
        for each in schedulers.values():
            yield from each
    else:
        yield from schedulers or ()


def _states(schedulers: Any) -> Any:
    if isinstance(schedulers, Mapping):
        return {name: _states(each) for name, each in schedulers.items()}
    return [scheduler.state_dict() for scheduler in schedulers]
