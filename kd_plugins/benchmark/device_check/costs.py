"""What a step costs in float32, TF32 and bfloat16, and its memory."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
from mmengine.config import Config

from ...engine.opening import first_batch
from ...tables import markdown_table
from ..cost import (
    DISTILLING,
    FAST,
    STUDENT,
    TEACHER,
    distilling_trainee,
    measure_cost,
    student_trainee,
)
from ..protocol import Recipe, read_protocol
from .settings import Settings, open_recipe, quiet, small_data

PRECISIONS = ('float32', 'TF32', 'bfloat16')
PROTOCOL = 'cost_fast_teacher'
_RECIPES = ('psp-256', 'frcnn-256')
_QUICK = ('chen2017_digits', ('hint',))
_BATCH = 16
_MIB = 2**20


def run(settings: Settings, keep: Callable[[dict[str, Any]], None]) -> dict[str, Any]:
    """Time large models, each in every precision."""
    quiet()
    name, names = _QUICK if settings.quick else (PROTOCOL, _RECIPES)
    size = 2 if settings.quick else _BATCH
    steps, warmup = (1, 0) if settings.quick else (10, 3)
    content: dict[str, Any] = {'rows': [], 'batch_size': size, 'problems': []}
    with small_data(settings.out / 'small_data'):
        # Within: a protocol may say where the data are.
        protocol = read_protocol(settings.benchmarks / f'{name}.py')
        for recipe in [protocol.recipes[each] for each in names]:
            for precision in PRECISIONS:
                row: dict[str, Any] = {'recipe': recipe.name, 'precision': precision}
                try:
                    cfg = _open(recipe, size, precision)
                    batch = first_batch(cfg)
                    row |= _times(cfg, batch, precision, settings, steps, warmup)
                    row['peaks'] = peaks(cfg, batch, precision, settings)
                except Exception as error:  # of one row; the others are measured
                    row['problem'] = f'{type(error).__name__}: {error}'[:300]
                    content['problems'].append(
                        f'{recipe.name}, {precision}: {row["problem"]}'
                    )
                content['rows'].append(row)
                keep(content)
    return content


def _open(recipe: Recipe, size: int, precision: str) -> Config:
    cfg = open_recipe(recipe, train=_BATCH)
    cfg.train_dataloader.batch_size = size
    if precision == 'bfloat16':
        cfg.optim_wrapper.update(type='AmpOptimWrapper', dtype='bfloat16')
    return cfg


@contextmanager
def numbers(precision: str, device: str) -> Iterator[None]:
    """Within, torch computes so; autocast serves what runs outside of the wrapper."""
    before = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    allowed = precision == 'TF32'
    torch.backends.cuda.matmul.allow_tf32 = allowed
    torch.backends.cudnn.allow_tf32 = allowed
    low = precision == 'bfloat16'
    try:
        # Without the cache: with torch 2.4 a weight cast by a pass without gradient
        # would be used in one with gradient.
        autocast = torch.autocast(device, torch.bfloat16, cache_enabled=False)
        with autocast if low else nullcontext():
            yield
    finally:
        torch.backends.cuda.matmul.allow_tf32 = before[0]
        torch.backends.cudnn.allow_tf32 = before[1]


def _times(
    cfg: Config,
    batch: dict[str, Any],
    precision: str,
    settings: Settings,
    steps: int,
    warmup: int,
) -> dict[str, Any]:
    with numbers(precision, settings.device):
        cost = measure_cost(
            '', cfg, batch, steps=steps, warmup=warmup, with_stages=False
        )
    return {
        'median_seconds': cost.medians,
        'ratio': cost.ratio,
        'step_ratio': cost.step_ratio,
        'cached_ratio': cost.cached_ratio,
    }


def peaks(
    cfg: Config, batch: dict[str, Any], precision: str, settings: Settings
) -> dict[str, float] | None:
    """Most MiB of tensors that two steps held, by part; None on a CPU.

    The student alone is measured before there is a teacher.
    """
    found = {}
    device = settings.device
    with numbers(precision, device):
        for part in (STUDENT, DISTILLING):
            if device == 'cuda':
                torch.cuda.empty_cache()
                torch.cuda.reset_peak_memory_stats()
            trainee = student_trainee(cfg, batch)
            if part == DISTILLING:
                # Its student's weights are copied: the other one is not counted.
                trainee = distilling_trainee(cfg, batch, trainee)
            for _ in range(1 if settings.quick else 2):
                trainee.step()
            if device == 'cuda':
                found[part] = torch.cuda.max_memory_allocated() / _MIB
            del trainee
    return found or None


def markdown(content: dict[str, Any]) -> list[str]:
    """A line for each recipe and precision."""
    head = (
        *('recipe', 'precision', 'student, ms', 'teacher, ms', 'fast teacher, ms'),
        *(
            'distilling, ms',
            'over student + teacher',
            'over the student',
            'MiB alone',
            'MiB distilled',
        ),
    )
    rows: list[tuple[str, ...]] = []
    for row in content.get('rows', ()):
        if 'problem' in row:
            cells: tuple[str, ...] = (row['problem'], *7 * ('-',))
        else:
            medians, memory = row['median_seconds'], row['peaks'] or {}
            cells = (
                *(
                    f'{1000 * medians[each]:.1f}' if each in medians else '-'
                    for each in (STUDENT, TEACHER, FAST, DISTILLING)
                ),
                f'{row["ratio"]:.2f}',
                f'{row["step_ratio"]:.2f}',
                *(
                    f'{memory[each]:,.0f}' if each in memory else '-'
                    for each in (STUDENT, DISTILLING)
                ),
            )
        rows.append((row['recipe'], row['precision'], *cells))
    note = (
        f'Batches of {content.get("batch_size")} images. TF32: float32 whose products '
        'have fewer bits, on GPUs. In bfloat16 the teacher is under autocast, too. The '
        'distilling step has the fast teacher, where it is used by default.'
    )
    return [note, '', *markdown_table(head, rows)]
