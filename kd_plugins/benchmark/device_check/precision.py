"""Every kind of loss under autocast, beside float32: on real models, one batch."""

import copy
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from torch import Tensor, nn

from ...config_files import read_config
from ...distillers import Distiller
from ...engine.opening import first_batch
from ...evaluation.gradients.balance import assume_weights
from ...losses import BoxIoULoss, MasKDLoss
from ...losses._tokens import ReceptiveTokens
from ...registry import LOSSES, MODELS
from ...tables import markdown_table
from ..cost import busiest_moment
from ..protocol import Recipe, read_protocol
from .settings import Settings, open_recipe, quiet, small_data

PROTOCOLS = (
    *('methods_digits', 'methods_mosaics', 'methods_digits_one_stage'),
    *('skd_planes', 'chen2017_digits', 'no_teacher_digits', 'no_teacher_mosaics'),
    'procedures_digits',
)
Measured = dict[str, dict[str, Any]]  # by precision
Made = Callable[[Path], tuple[nn.Module, Tensor, Tensor]]
DTYPES = {'float32': None, 'bfloat16': torch.bfloat16, 'float16': torch.float16}
_FAR = 0.1  # relative deviation from float32 that the report marks
_KEY = 'loss_kd_'
_QUICK = 2  # recipes, and images of a batch


def run(settings: Settings, keep: Callable[[dict[str, Any]], None]) -> dict[str, Any]:
    """One forward and backward pass of all losses in each precision."""
    quiet()
    with small_data(settings.out / 'small_data'):
        return _run(settings, keep)


def _run(settings: Settings, keep: Callable[[dict[str, Any]], None]) -> dict[str, Any]:
    recipes = recipes_of_losses(settings.benchmarks, _QUICK if settings.quick else None)
    missing = [] if settings.quick else sorted(registered() - set(recipes) - set(ALONE))
    chosen = {recipe.name: recipe for recipe in recipes.values()}
    content: dict[str, Any] = {'rows': [], 'problems': []}

    def add(title: str, losses: list[str], measured: Callable[[], Measured]) -> None:
        row: dict[str, Any] = {'recipe': title, 'losses': losses}
        try:
            row['measured'] = measured()
            bad = not_finite(row['measured'])
        except Exception as error:  # of one recipe; the others are measured
            bad = [f'{type(error).__name__}: {error}'[:300]]
        row['problems'] = bad
        content['rows'].append(row)
        content['problems'] += [f'{title}, {", ".join(losses)}: {each}' for each in bad]
        keep(content)

    if missing:
        content['problems'].append(f'no recipe has {", ".join(missing)}')
    for recipe in chosen.values():
        names = [loss for loss, each in recipes.items() if each == recipe]
        add(recipe.name, names, lambda: measure_recipe(recipe, settings))  # noqa: B023
    for name, make in ALONE.items():
        add('by itself', [name], lambda: measure_alone(make, settings))  # noqa: B023
    return content


def recipes_of_losses(folder: Path, limit: int | None = None) -> dict[str, Recipe]:
    """For every loss, a recipe of the embedded benchmarks that has it.

    Args:
        folder: of the protocols.
        limit: number of recipes, after which no more are read.
    """
    found: dict[str, Recipe] = {}
    for recipe in _recipes(folder):
        for kind in _types(read_config(recipe.config).model.get('pairs')):
            if kind in LOSSES and kind not in ALONE:
                found.setdefault(kind, recipe)
        if set(found) == registered() - set(ALONE) or len(set(_names(found))) == limit:
            break
    return found


def measure_alone(make: Made, settings: Settings) -> Measured:
    """As :func:`measure`, of a loss behind one layer."""
    device = settings.device
    torch.manual_seed(0)
    loss, student, teacher = make(settings.out)
    loss.to(device)
    side = student.shape[-1]
    layer = nn.Linear(side, side, bias=False).to(device)
    with torch.no_grad():
        layer.weight.copy_(torch.eye(side))
    measured = {}
    for name, dtype in DTYPES.items():
        layer.zero_grad(set_to_none=True)
        with torch.autocast(device, dtype or torch.bfloat16, enabled=dtype is not None):
            value = loss(layer(student.to(device)), teacher.to(device))
        torch.autograd.backward([value])
        measured[name] = {'values': {'alone': value.item()}, 'gradient': _norm(layer)}
    return measured


def _boxes(folder: Path) -> tuple[nn.Module, Tensor, Tensor]:
    # Left, top, right and bottom, as they follow each other.
    student, teacher = 100 * torch.rand(2, 64, 4).sort(dim=-1).values
    return BoxIoULoss(), student, teacher


def _tokens(folder: Path) -> tuple[nn.Module, Tensor, Tensor]:
    path = folder / 'tokens.pth'
    state = ReceptiveTokens(channels=16).state_dict()
    masks = {f'masks.map.0.{name}': value for name, value in state.items()}
    torch.save({'state_dict': masks}, path)
    student, teacher = torch.randn(2, 4, 16, 12, 12)
    return MasKDLoss(tokens=str(path), learned_as='map'), student, teacher


# What no recipe can show: no embedded model predicts boxes, and tokens are learned.
ALONE: dict[str, Made] = {'BoxIoULoss': _boxes, 'MasKDLoss': _tokens}


def _recipes(folder: Path) -> Iterator[Recipe]:
    for name in PROTOCOLS:
        yield from read_protocol(folder / f'{name}.py').recipes.values()


def _names(found: dict[str, Recipe]) -> list[str]:
    return [recipe.name for recipe in found.values()]


def registered() -> set[str]:
    """Losses of this package; others may be registered beside them."""
    LOSSES.import_from_location()
    return {
        name
        for name, kind in LOSSES.module_dict.items()
        if kind.__module__.startswith('kd_plugins.')
    }


def _types(content: Any) -> Iterator[str]:
    """Names of all types in a part of a config."""
    if isinstance(content, dict):
        if isinstance(content.get('type'), str):
            yield content['type'].removeprefix('kd_plugins.')
        content = content.values()
    elif not isinstance(content, (list, tuple)):
        return
    for part in content:
        yield from _types(part)


def measure_recipe(recipe: Recipe, settings: Settings) -> Measured:
    """As :func:`measure`, of a recipe."""
    cfg = open_exact(recipe)
    if settings.quick:
        cfg.train_dataloader.batch_size = _QUICK
    return measure(cfg, settings.device)


def open_exact(recipe: Recipe) -> Config:
    """A recipe's config, its teachers in float32 unless autocast says otherwise."""
    cfg = open_recipe(recipe)
    teacher: Any = cfg.model.get('teacher') or {}
    single = 'cfg' in teacher or 'model' in teacher
    for each in [teacher] if single else teacher.values():
        each.fast = False
    return cfg


def measure(cfg: Config, device: str) -> Measured:
    """Values of the losses, and norm of their gradient at the student, by precision.

    Each starts from the same weights, memories and random numbers.
    """
    torch.manual_seed(0)
    batch = first_batch(cfg)
    model: Distiller = MODELS.build(cfg.model)
    model.init_weights()
    assume_weights(model.pairs)
    model.set_clock(busiest_moment(cfg, model.pairs))
    model.to(device).train()
    state = copy.deepcopy(model.state_dict())
    stream = model.random_stream.state_dict()
    measured = {}
    for name in ('float32', *DTYPES):  # the first pass tries pairs and loads teachers
        model.load_state_dict(state)
        model.random_stream.load_state_dict(stream)
        torch.manual_seed(0)
        measured[name] = _pass(model, batch, device, DTYPES[name])
    return measured


def _pass(
    model: Distiller, batch: dict[str, Any], device: str, dtype: torch.dtype | None
) -> dict[str, Any]:
    with torch.autocast(device, dtype or torch.bfloat16, enabled=dtype is not None):
        data = model.data_preprocessor(copy.copy(batch), True)
        losses = model(**data, mode='loss')
    ours = {key: value for key, value in losses.items() if key.startswith(_KEY)}
    model.zero_grad(set_to_none=True)
    together: Tensor = torch.stack([value.float() for value in ours.values()]).sum()
    torch.autograd.backward([together])
    return {
        'values': {key.removeprefix(_KEY): ours[key].item() for key in ours},
        'gradient': _norm(model.student),
    }


def _norm(module: nn.Module) -> float:
    gradients = [each.grad for each in module.parameters() if each.grad is not None]
    return float(torch.stack([each.float().norm() for each in gradients]).norm())


def not_finite(measured: Measured) -> list[str]:
    """What of the values and gradients is no number."""
    problems = []
    for precision, found in measured.items():
        numbers = {**found['values'], 'gradient': found['gradient']}
        problems += [
            f'{name} is {value} in {precision}'
            for name, value in numbers.items()
            if not math.isfinite(value)
        ]
    return problems


def deviation(value: float, exact: float) -> float:
    """Relative to float32.

    Example:
        >>> deviation(1.5, 1.0), deviation(0.0, 0.0)
        (0.5, 0.0)
    """
    return abs(value - exact) / abs(exact) if exact else float(value != exact)


def markdown(content: dict[str, Any]) -> list[str]:
    """A line for each pair of each recipe, and one for their gradient."""
    rows: list[tuple[str, ...]] = []
    for row in content.get('rows', ()):
        title = f'{row["recipe"]} ({", ".join(row["losses"])})'
        measured = row.get('measured')
        if measured is None:
            rows.append((title, '; '.join(row['problems']), *3 * ('-',)))
            continue
        exact = measured['float32']
        numbers = {**exact['values'], 'gradient': exact['gradient']}
        for name, value in numbers.items():
            cells = []
            for precision in list(DTYPES)[1:]:
                found = measured[precision]
                other = {**found['values'], 'gradient': found['gradient']}[name]
                apart = deviation(other, value)
                mark = ' far' if apart > _FAR else ''
                cells.append(f'{100 * apart:.2f} %{mark}')
            rows.append((title, name, f'{value:.4g}', *cells))
    head = ('recipe (losses)', 'pair', 'float32', 'bfloat16 off by', 'float16 off by')
    note = (
        'Where a pair compares RoIs, the student samples others in another precision: '
        'its values may be far without being wrong.'
    )
    return [note, '', *markdown_table(head, rows)]
