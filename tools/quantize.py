"""Quantise a trained student to 8 bits, without training: calibrate it.

Usage: python tools/quantize.py CONFIG CHECKPOINT OUT.pth [--calibrate 16]
           [--float-layers backbone.conv1 'roi_head.bbox_head.fc_*']

Weights of 8 bits a channel, activations of 8 bits a layer, batch norms in the
convolutions before them. OUT.py is the config of what is written: tools/test.py scores
it, tools/export_student.py makes int8 of it. If too much is lost, train the quantised
student under the guidance of its own float weights: configs/qad.
"""

if __name__ == '__main__':
    import _threads  # noqa: F401  (before torch, which reads what it sets)

import kd_plugins  # noqa: F401, I001  (first: supplies what an uncompiled mmcv lacks)

import argparse
from collections.abc import Sequence

from kd_plugins.apis.command_line import KeyValues
from kd_plugins.apis.quantize import quantize
from kd_plugins.apis.train import prepare_config
from kd_plugins.run_tool import run_tool


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Arguments, where the hosts have them too as they name them."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('config', help='of the model, or of a distillation into it')
    parser.add_argument('checkpoint', help='of training, or of the student')
    parser.add_argument('out', help='.pth; its config beside it: .py')
    parser.add_argument(
        '--calibrate',
        type=int,
        default=16,
        metavar='BATCHES',
        help='batches of the training whose ranges are taken; default 16',
    )
    parser.add_argument(
        '--float-layers',
        nargs='+',
        default=(),
        metavar='GLOB',
        help='names of layers that stay float',
    )
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=KeyValues,
        metavar='KEY=VALUE',
        help='override the config, as the training does',
    )
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    """Parse, read the config, calibrate, write."""
    args = parse(argv)
    quantize(
        prepare_config(args.config, options=args.cfg_options),
        args.checkpoint,
        args.out,
        batches=args.calibrate,
        float_layers=args.float_layers,
    )


if __name__ == '__main__':
    run_tool(main)
