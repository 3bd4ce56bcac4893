"""One row of an embedded benchmark: trained and scored on the device."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from ...datasets import prepare
from ...tables import markdown_table
from .._common import read_json
from ..main import benchmark
from ..protocol import read_protocol
from ..runs import Commands
from .settings import Settings, small_data

PROTOCOL, RECIPE = 'chen2017_digits', 'full'
_IMAGES = {'train': 300, 'val': 100}
_FEW = {'train': 8, 'val': 4}
_SHORT = {
    'train_cfg.max_iters': 2,
    'train_cfg.val_interval': 2,
    'train_dataloader.batch_size': 2,
    'default_hooks.checkpoint.interval': 2,
    'default_hooks.logger.interval': 1,
}


def run(settings: Settings, keep: Callable[[dict[str, Any]], None]) -> dict[str, Any]:
    """Train a recipe and its baseline; what was begun before is continued."""
    import sys

    images = _FEW if settings.quick else _IMAGES
    folder = settings.out / 'data'
    prepare('digits', folder / 'digits', **images)
    protocol = read_protocol(settings.benchmarks / f'{PROTOCOL}.py')
    protocol = replace(protocol, teacher=None, fidelity=None)
    tools = settings.root / 'tools'
    work_dir = settings.out / 'row'
    content: dict[str, Any] = {'images': images, 'work_dir': str(work_dir)}
    keep(content)
    with small_data(folder):
        outcome = benchmark(
            protocol,
            work_dir,
            Commands(
                train=(sys.executable, str(tools / 'train.py')),
                test=(sys.executable, str(tools / 'test.py')),
            ),
            seeds=[0],
            recipes=[RECIPE],
            # The data is made; fewer images than the configs ask for.
            options={'custom_hooks': [], **(_SHORT if settings.quick else {})},
            jobs=1,
        )
    report = read_json(work_dir / 'benchmark.json') or {}
    return {
        **content,
        'recipes': report.get('recipes', []),
        'unit': protocol.unit,
        'problems': [failure[-300:] for failure in outcome.failures],
    }


def markdown(content: dict[str, Any]) -> list[str]:
    """A line for the recipe and its baseline."""
    images = content.get('images', {})
    note = (
        f'{PROTOCOL}, seed 0, on {images.get("train")} training and '
        f'{images.get("val")} validation images: the scores are not those of the '
        'protocol, which has more. Every run is trained by itself, with its '
        'validation.'
    )
    rows = [
        (
            recipe['recipe'],
            *(
                '-' if recipe.get(key) is None else f'{recipe[key]:.2f}'
                for key in ('mean', 'seconds', 'peak_memory_mib')
            ),
        )
        for recipe in content.get('recipes', ())
    ]
    unit = content.get('unit', 'score')
    head = ('recipe', unit, 'seconds of training', 'MiB at most')
    return [note, '', *markdown_table(head, rows)]
