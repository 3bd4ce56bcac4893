"""Make the embedded data: ``python -m kd_plugins.datasets digits|mosaics|planes|all``.

This is optional: a training makes the data that it needs. It is for machines where
several jobs start at once, or for a look at the images.
"""

import argparse
import os
from collections.abc import Sequence
from pathlib import Path

from ..run_tool import run_tool
from .prepare import DATASETS, prepare


def main(argv: Sequence[str] | None = None) -> None:
    """Make the named data sets, and print their folders."""
    parser = argparse.ArgumentParser(
        prog='python -m kd_plugins.datasets', description='Make the embedded data.'
    )
    parser.add_argument('dataset', choices=[*DATASETS, 'all'])
    parser.add_argument(
        '--root',
        type=Path,
        default=Path(os.environ.get('KD_PLUGINS_DATA', 'data')),
        help='folder of all data sets ($KD_PLUGINS_DATA, or data)',
    )
    for split in ('train', 'val'):
        parser.add_argument(
            f'--{split}', type=int, help=f'number of {split} images, for trying out'
        )
    arguments = parser.parse_args(argv)
    sizes = {
        split: size
        for split in ('train', 'val')
        if (size := getattr(arguments, split)) is not None
    }
    datasets = DATASETS if arguments.dataset == 'all' else (arguments.dataset,)
    for dataset in datasets:
        print(prepare(dataset, arguments.root / dataset, **sizes))


if __name__ == '__main__':
    run_tool(main)
