"""Measure how sharp the minima are that trainings of one model found.

Usage: python tools/sharpness.py CONFIG CHECKPOINT [CHECKPOINT ...] \
           [--parameters 'decode_head.*'] [--batches 4]

For each checkpoint, on the same images of the training: the task loss, the trace of its
Hessian (Hutchinson's estimate, with its standard error), the Hessian's eigenvalue of
the largest magnitude (power iteration), and the norm of the weights. In float32, batch
norms by their running statistics. A product with the Hessian costs about four training
steps, and a checkpoint 50 products for each batch.

Sharpness is not invariant to rescaled weights: do not compare models of different
architectures. RoIAlign has no second derivative: of two-stage detectors, choose
parameters behind it ('roi_head.bbox_head.*'). Trains and writes nothing.
"""

if __name__ == '__main__':
    import _threads  # noqa: F401  (before torch, which reads what it sets)

import kd_plugins  # noqa: F401, I001  (first: supplies what an uncompiled mmcv lacks)

import argparse
from collections.abc import Sequence

from kd_plugins.apis.command_line import KeyValues
from kd_plugins.apis.sharpness import measure_sharpness
from kd_plugins.apis.train import prepare_config
from kd_plugins.run_tool import run_tool


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Arguments, where the hosts have them too as they name them."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('config', help='of the model, or of a distillation into it')
    parser.add_argument(
        'checkpoints', nargs='+', metavar='CHECKPOINT', help='of that model'
    )
    parser.add_argument(
        '--parameters',
        nargs='+',
        default=['*'],
        metavar='GLOB',
        help='names of those the Hessian is of; default: all that are trained',
    )
    parser.add_argument(
        '--batches', type=int, default=1, help='of the training; default 1'
    )
    parser.add_argument(
        '--probes', type=int, default=30, help='for the trace; default 30'
    )
    parser.add_argument(
        '--iterations', type=int, default=20, help='for the eigenvalue; default 20'
    )
    parser.add_argument(
        '--seed', type=int, default=0, help='of images, samples and probes; default 0'
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
    """Parse, read the config, measure, print."""
    args = parse(argv)
    sharpness = measure_sharpness(
        prepare_config(args.config, options=args.cfg_options),
        args.checkpoints,
        parameters=args.parameters,
        batches=args.batches,
        probes=args.probes,
        iterations=args.iterations,
        seed=args.seed,
    )
    print(sharpness)


if __name__ == '__main__':
    run_tool(main)
