"""Write the student of a checkpoint, and its own config, for plain mmdet or mmseg.

Usage: python tools/export_student.py CHECKPOINT OUT.pth [--config CONFIG]
           [--peer NAME]
(or OUT.safetensors)

Not needed for the newest checkpoints of a training: student_*.pth lies beside each.
"""

import kd_plugins  # noqa: F401, I001  (first: supplies what an uncompiled mmcv lacks)

import argparse
from collections.abc import Sequence

from kd_plugins.apis.export import export_student
from kd_plugins.run_tool import run_tool


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Two files, and the config where the checkpoint's own does not serve."""
    parser = argparse.ArgumentParser(description='Export the student of a checkpoint.')
    parser.add_argument('checkpoint', help='of training, or of the student')
    parser.add_argument('out', help='.pth or .safetensors; the config beside it: .py')
    parser.add_argument('--config', help='default: the one in the checkpoint')
    parser.add_argument(
        '--peer',
        help='of models that learned together; default: the one that is deployed',
    )
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    """Parse, export."""
    args = parse(argv)
    export_student(args.checkpoint, args.out, config=args.config, peer=args.peer)


if __name__ == '__main__':
    run_tool(main)
