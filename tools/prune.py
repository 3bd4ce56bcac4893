"""Prune the channels of a trained student: a config and plain weights.

Usage: python tools/prune.py CONFIG CHECKPOINT OUT --flops 0.5
           [--keep NAME ...] [--shape HEIGHT WIDTH]
(or --params 0.5; OUT is a .pth or .safetensors, the config beside it a .py)

CONFIG is of the student or of its distillation. What is written is fine-tuned, taught,
tested and exported as any other, and loads in plain mmdet or mmseg. Needs the extra
'prune' (torch-pruning); what it writes does not. How to distil it: docs/pruning.md.

Not needed where a config has a stage that prunes: its training does it.
"""

if __name__ == '__main__':
    import _threads  # noqa: F401  (before torch, which reads what it sets)

import kd_plugins  # noqa: F401, I001  (first: supplies what an uncompiled mmcv lacks)

import argparse
from collections.abc import Sequence

from kd_plugins.apis.prune import prune_student
from kd_plugins.compression.pruning import Budget
from kd_plugins.compression.pruning.groups import IMPORTANCES
from kd_plugins.run_tool import run_tool


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Files, the budget, and how channels are chosen."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('config', help='of the student, or of its distillation')
    parser.add_argument('checkpoint', help='of training, or of the student')
    parser.add_argument('out', help='.pth or .safetensors; the config beside it: .py')
    parser.add_argument('--flops', type=float, help='share of multiply-adds to be left')
    parser.add_argument('--params', type=float, help='share of parameters to be left')
    parser.add_argument(
        '--tolerance',
        type=float,
        default=Budget.tolerance,
        help='how far below the share it may end; default %(default)s',
    )
    parser.add_argument(
        '--importance',
        choices=IMPORTANCES,
        default=IMPORTANCES[0],
        help='that ranks the channels of a layer; default %(default)s',
    )
    parser.add_argument(
        '--keep',
        nargs='+',
        default=(),
        metavar='NAME',
        help="layers that keep their outputs, such as backbone.conv1 or 'neck*'",
    )
    parser.add_argument(
        '--shape',
        nargs=2,
        type=int,
        metavar=('HEIGHT', 'WIDTH'),
        help='of the images for which multiply-adds count; default: as they are tested',
    )
    parser.add_argument('--seed', type=int, default=0, help='of --importance random')
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    """Parse, prune, write."""
    args = parse(argv)
    prune_student(
        args.config,
        args.checkpoint,
        args.out,
        Budget(args.flops, args.params, args.tolerance),
        importance=args.importance,
        keep=args.keep,
        shape=args.shape,
        seed=args.seed,
    )


if __name__ == '__main__':
    run_tool(main)
