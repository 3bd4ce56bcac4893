"""Write the student of a checkpoint: for plain mmdet or mmseg, or as ONNX.

Usage: python tools/export_student.py CHECKPOINT OUT.pth [--config CONFIG]
           [--peer NAME]
       python tools/export_student.py CHECKPOINT OUT.onnx [--config CONFIG]
           [--peer NAME] [--size HEIGHT WIDTH] [--dynamic] [--batch-size N]
           [--dense] [--check IMAGES]
(or OUT.safetensors)

Beside weights lies their own config. An ONNX file is run by ONNX Runtime and compared
with torch before it gets its name.

Not needed for the newest checkpoints of a training: student_*.pth lies beside each.
"""

import kd_plugins  # noqa: F401, I001  (first: supplies what an uncompiled mmcv lacks)

import argparse
from collections.abc import Sequence

from kd_plugins.apis.export import export_student
from kd_plugins.apis.export_onnx import export_onnx
from kd_plugins.errors import ConfigError
from kd_plugins.run_tool import run_tool

_OF_ONNX = ('size', 'dynamic', 'batch_size', 'dense', 'check')


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Two files, the config where the checkpoint's own does not serve, and the graph's.

    What is of ONNX alone is absent unless it is given.
    """
    parser = argparse.ArgumentParser(description='Export the student of a checkpoint.')
    parser.add_argument('checkpoint', help='of training, or of the student')
    parser.add_argument(
        'out', help='.pth or .safetensors, with the config beside it: .py; or .onnx'
    )
    parser.add_argument('--config', help='default: the one in the checkpoint')
    parser.add_argument(
        '--peer',
        help='of models that learned together; default: the one that is deployed',
    )
    onnx = parser.add_argument_group('of OUT.onnx', argument_default=argparse.SUPPRESS)
    onnx.add_argument(
        '--size',
        nargs=2,
        type=int,
        metavar=('HEIGHT', 'WIDTH'),
        help='of the images; default: of the first of the test data',
    )
    onnx.add_argument(
        '--dynamic',
        action='store_true',
        default=argparse.SUPPRESS,
        help='any height and width; of segmentors and --dense any number of images',
    )
    onnx.add_argument('--batch-size', type=int, help='images a run; default: 1')
    onnx.add_argument(
        '--dense',
        action='store_true',
        default=argparse.SUPPRESS,
        help="of a one-stage detector the head's maps, without boxes and NMS",
    )
    onnx.add_argument(
        '--check',
        type=int,
        metavar='IMAGES',
        help='of the test data, on which it must give what torch gives; default: 10',
    )
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    """Parse, export."""
    args = parse(argv)
    of_onnx = {name: getattr(args, name) for name in _OF_ONNX if name in args}
    options = {'config': args.config, 'peer': args.peer}
    if args.out.endswith('.onnx'):
        export_onnx(args.checkpoint, args.out, **options, **of_onnx)
        return
    if of_onnx:
        names = ', '.join(f'--{name.replace("_", "-")}' for name in of_onnx)
        raise ConfigError(
            f"{names}: of ONNX files, got '{args.out}'. Leave out, or give OUT.onnx."
        )
    export_student(args.checkpoint, args.out, **options)


if __name__ == '__main__':
    run_tool(main)
