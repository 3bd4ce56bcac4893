"""Show how strongly each pair of a distillation pulls at the student.

Usage: python tools/analyze.py CONFIG [--share 0.5] [--batches 1] [--checkpoint ...]

For the task's losses and for every pair: the loss, the L2 norm of its gradient at the
student, the pair's share of the task's norm, the cosine between the two, the weight
for a chosen share, and a verdict. Norms are over the trained parameters of the
student's backbone, which all terms share; for a pair that does not reach it, over all
others (neck and heads). Verdicts: dead (0 everywhere), not finite, off (weight 0),
faint (share below 1 %), fair, strong (above 100 %), dominating (strong, and larger than
task and other pairs together). Exit status 1 if a pair is dead or not finite.

Trains nothing and keeps nothing; --cfg-options log_level=WARNING shows the table alone.
In float32 and one process: for the shares of a training as it runs, add
GradientSharesHook to its custom_hooks.
"""

if __name__ == '__main__':
    import _threads  # noqa: F401  (before torch, which reads what it sets)

import kd_plugins  # noqa: F401, I001  (first: supplies what an uncompiled mmcv lacks)

import argparse
import sys
from collections.abc import Sequence

from mmengine.config import DictAction

from kd_plugins.apis.analyze import analyze
from kd_plugins.apis.train import prepare_config


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Arguments, where the hosts have them too as they name them."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('config', help="a file, or 'mmdet::<path of a config>'")
    parser.add_argument(
        '--share',
        type=float,
        default=0.5,
        help="of the task's gradient, for which weights are suggested; default 0.5",
    )
    parser.add_argument(
        '--batches', type=int, default=1, help='take medians over so many; default 1'
    )
    parser.add_argument(
        '--checkpoint', help="of this training, or a student's; default: its start"
    )
    parser.add_argument(
        '--work-dir', help="for the host's log; default: a folder that is removed"
    )
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=DictAction,
        metavar='KEY=VALUE',
        help='override the config, such as model.pairs.hint.loss.loss_weight=0.1; '
        'lists as KEY="[a,b]"',
    )
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    """Parse, read the config, analyze; 1 if a pair cannot teach."""
    args = parse(argv)
    cfg = prepare_config(args.config, options=args.cfg_options)
    shares = analyze(
        cfg,
        share=args.share,
        batches=args.batches,
        checkpoint=args.checkpoint,
        work_dir=args.work_dir,
    )
    return 1 if shares.failing else 0


if __name__ == '__main__':
    sys.exit(main())
