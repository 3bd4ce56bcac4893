"""Draw what the pairs of a distillation compare, and what its models predict.

    python tools/visualize.py CONFIG --checkpoint iter_1000.pth [--before CHECKPOINT] \
        [--pairs NAME ...] [--images N | FILE ...] [--out DIR]

Writes predictions.png: the teacher beside the student before and after; and for each
pair whose tensors are maps of an image (layers, pixels, depths, RPN and one-stage
logits) maps_<pair>.png: the teacher's map, the student's before and after, and behind
the pair's adapter, on one colour scale.

Trains nothing. For pictures in TensorBoard while a student is trained, add
DistillationPicturesHook to its custom_hooks; for predictions of a whole data set, see
tools/test.py --show-dir.
"""

import kd_plugins  # noqa: F401, I001  (first: supplies what an uncompiled mmcv lacks)

import argparse
from collections.abc import Sequence
from pathlib import Path

from kd_plugins.apis.command_line import KeyValues
from kd_plugins.apis.visualize import visualize
from kd_plugins.run_tool import run_tool


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('config', help='of a distillation')
    parser.add_argument(
        '--checkpoint',
        help='of its training, or of the student alone; default: only the start is '
        'shown',
    )
    parser.add_argument(
        '--before',
        metavar='CHECKPOINT',
        help='of the student before, or trained without a teacher; default: as the '
        'training starts',
    )
    parser.add_argument('--pairs', nargs='+', metavar='NAME', help='default: all')
    parser.add_argument(
        '--images',
        nargs='+',
        default=['2'],
        metavar='N|FILE',
        help='the first N of the test set, or files; default: 2',
    )
    parser.add_argument(
        '--score', type=float, default=0.3, help='boxes below are not drawn'
    )
    parser.add_argument(
        '--out', type=Path, default=Path('pictures'), help='folder; default: pictures'
    )
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=KeyValues,
        metavar='KEY=VALUE',
        help='override the config',
    )
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    """Parse, draw, tell where."""
    args = parse(argv)
    written = visualize(
        args.config,
        args.out,
        checkpoint=args.checkpoint,
        before=args.before,
        pairs=args.pairs,
        images=args.images,
        score=args.score,
        options=args.cfg_options,
    )
    print(*written, sep='\n')


if __name__ == '__main__':
    run_tool(main)
