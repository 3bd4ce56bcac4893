"""Choose the next checkpoint of a teacher's route for a student: RCO, greedy.

Usage: python tools/next_anchor.py CONFIG STUDENT --current 0 --threshold 1.5

CONFIG is a distillation whose teacher is a Route, STUDENT a checkpoint of what the
current one has taught. Prints the student's loss under each checkpoint, on the first
batches of the training, and its ratio to that under the current one. The next is the
last before the ratio exceeds the threshold, of the later ones in order.

Trains nothing, and writes nothing. Equal intervals need no tool: a list of checkpoints
and interval in the config.
"""

if __name__ == '__main__':
    import _threads  # noqa: F401  (before torch, which reads what it sets)

import kd_plugins  # noqa: F401, I001  (first: supplies what an uncompiled mmcv lacks)

import argparse
from collections.abc import Sequence

from mmengine.config import DictAction

from kd_plugins.apis.anchors import measure_route
from kd_plugins.apis.train import prepare_config
from kd_plugins.run_tool import run_tool


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Arguments, where the hosts have them too as they name them."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('config', help='of a distillation, its teacher a Route')
    parser.add_argument('checkpoint', help="of this training, or a student's")
    parser.add_argument(
        '--current',
        type=int,
        required=True,
        help='number of the checkpoint that taught the student last, from 0',
    )
    parser.add_argument(
        '--threshold',
        type=float,
        required=True,
        help='above 1: largest ratio of the losses under the next and the current one',
    )
    parser.add_argument('--pair', help='whose loss; default: the first of the route')
    parser.add_argument(
        '--batches', type=int, default=10, help='of the training; default 10'
    )
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=DictAction,
        metavar='KEY=VALUE',
        help='override the config, as the training does',
    )
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    """Parse, read the config, measure, print."""
    args = parse(argv)
    hardness = measure_route(
        prepare_config(args.config, options=args.cfg_options),
        args.checkpoint,
        current=args.current,
        threshold=args.threshold,
        pair=args.pair,
        batches=args.batches,
    )
    print(hardness)


if __name__ == '__main__':
    run_tool(main)
