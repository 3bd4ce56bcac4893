"""How sharp the minima of checkpoints are, for ``tools/sharpness.py``."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from itertools import islice
from typing import Any

from mmengine.config import Config
from torch import Tensor, nn

from ..checkpoints import read_checkpoint
from ..checks import check_int
from ..distillers.interface import unwrap
from ..distillers.student import student_config
from ..engine.stages import last_stage
from ..errors import ConfigError, located, nearest
from ..evaluation.curvature import Curvature, measure_curvature
from ..random_stream import seeded
from ..tables import table_lines
from ..teachers.checkpoints import load_strictly, weights_of
from .training_batches import on_training_batches

_CHECKPOINT = 'checkpoint'


@dataclass(frozen=True)
class Sharpness:
    """Of some checkpoints of one model, on the same images.

    Attributes:
        curvatures: by checkpoint.
        images: whose task loss it is of.
    """

    curvatures: Mapping[str, Curvature]
    images: int

    def __str__(self) -> str:
        rows = [
            (
                path,
                f'{each.loss:.4g}',
                f'{each.trace:.4g} ± {each.trace_error:.2g}',
                f'{each.eigenvalue:.4g}{"" if each.converged else " (not converged)"}',
                f'{each.weight_norm:.4g}',
            )
            for path, each in self.curvatures.items()
        ]
        header = ('checkpoint', 'task loss', 'trace', 'eigenvalue', 'weight norm')
        (count, *_) = (each.parameters for each in self.curvatures.values())
        text = f'Hessian over {count:,} parameters, on {self.images} images:'
        return '\n'.join([text, *table_lines(header, rows, 'plain')])


def measure_sharpness(
    cfg: Config,
    checkpoints: Sequence[str],
    *,
    parameters: Sequence[str] = ('*',),
    batches: int = 1,
    probes: int = 30,
    iterations: int = 20,
    seed: int = 0,
) -> Sharpness:
    """Curvature of the task loss at each checkpoint, on the same training batches.

    In float32 and ``eval()``: batch norm by its running statistics, no dropout. Images
    are the first of the training, with its augmentation; what a detector samples is
    drawn alike each time. Nothing is trained, or written but into a temporary folder.

    Args:
        cfg: of a model, from ``prepare_config``; of a distillation, the student's
            counts.
        checkpoints: of a training, a student or a teacher of that model.
        parameters: names of those the Hessian is of, or globs such as ``'backbone.*'``;
            frozen ones never count.
        batches: how many, >= 1.
        probes: of :func:`~kd_plugins.evaluation.curvature.measure_curvature`.
        iterations: likewise.
        seed: of images, samples and probes, >= 0.

    Raises: ConfigError if no parameter has such a name, or one of them cannot be
        differentiated twice; CheckpointError for a checkpoint that does not fit.
    """
    check_int('--batches', batches)
    check_int('--seed', seed, minimum=0)
    found: dict[str, Curvature] = {}
    images = 0

    def measure(runner: Any) -> None:
        nonlocal images
        model: Any = unwrap(runner.model)
        chosen = _chosen(model, parameters)
        model.eval()
        data = [
            model.data_preprocessor(batch, True)
            for batch in islice(runner.train_loop.dataloader, batches)
        ]
        images = sum(len(each['data_samples']) for each in data)
        for path in checkpoints:
            with located(_CHECKPOINT):
                content = read_checkpoint(path)
            load_strictly(
                model, weights_of(content, source=path, key=_CHECKPOINT), _CHECKPOINT
            )
            found[path] = measure_curvature(
                [
                    _task_loss(model, each, seed, number)
                    for number, each in enumerate(data)
                ],
                chosen,
                probes=probes,
                iterations=iterations,
                seed=seed,
            )

    cfg = student_config(last_stage(cfg))
    on_training_batches(cfg, measure, seed)
    return Sharpness(found, images)


def _chosen(model: nn.Module, names: Sequence[str]) -> list[Tensor]:
    """Trained parameters of these names; all others become constants."""
    trained = {
        name: parameter
        for name, parameter in model.named_parameters()
        if parameter.requires_grad
    }
    for each in names:
        if not any(fnmatchcase(name, each) for name in trained):
            raise ConfigError(
                f"no trained parameter has the name '{each}'. {nearest(each, trained)}",
                key='--parameters',
            )
    chosen: list[Tensor] = []
    for name, parameter in trained.items():
        if any(fnmatchcase(name, each) for each in names):
            chosen.append(parameter)
        else:
            parameter.requires_grad_(False)
    return chosen


def _task_loss(
    model: Any, data: Mapping[str, Any], seed: int, number: int
) -> Callable[[], Tensor]:
    """The sum of a batch's task losses, each time of the same samples."""

    def loss() -> Tensor:
        with seeded(seed, number):
            losses = model.loss(data['inputs'], data['data_samples'])
        total: Tensor = model.parse_losses(losses)[0]
        return total

    return loss
