"""Show how strongly each pair of a distillation pulls at the student.

Usage: python tools/analyze.py CONFIG [--share 0.5] [--batches 1] [--checkpoint ...]
       python tools/analyze.py CONFIG --why [--work-dir RUN] [--checkpoint ...]

For the task's losses and for every pair: the loss, the L2 norm of its gradient at the
student, the pair's share of the task's norm, the cosine between the two, the weight
for a chosen share, and a verdict. Norms are over the trained parameters of the
student's backbone, which all terms share; for a pair that does not reach it, over all
others (neck and heads). Verdicts: dead (0 everywhere), not finite, off (weight 0),
faint (share below 1 %), fair, strong (above 100 %), dominating (strong, and larger than
task and other pairs together). Exit status 1 if a pair is dead or not finite.

Trains nothing and keeps nothing; --cfg-options log_level=WARNING shows the table alone.
In float32 and one process: the shares of a training as it runs stand in its log and
in gradient_shares.jsonl beside it; for more, give GradientSharesHook an interval.

With --why it looks for the reason why a distillation did not help: the teacher's score,
classes, normalisation and training, shares of gradients, agreement and calibration,
whether the student fits its labels, the gap, and the student alone for the same time.
It reads the run in --work-dir and writes nothing there; the exit status is 0.
"""

if __name__ == '__main__':
    import _threads  # noqa: F401  (before torch, which reads what it sets)

import kd_plugins  # noqa: F401, I001  (first: supplies what an uncompiled mmcv lacks)

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

from kd_plugins.apis.command_line import KeyValues
from kd_plugins.apis.analyze import analyze
from kd_plugins.apis.doctor import examine
from kd_plugins.apis.train import prepare_config
from kd_plugins.errors import ConfigError
from kd_plugins.run_tool import run_tool


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
        '--batches',
        type=int,
        help='take medians over so many; default 1, of --why 4',
    )
    parser.add_argument(
        '--checkpoint',
        help="of this training, or a student's; default: its start; of --why: the "
        'newest in its work directory',
    )
    parser.add_argument(
        '--work-dir',
        help="for the host's log; default: a folder that is removed; of --why: the "
        "run's, default work_dirs/<name of the config>",
    )
    parser.add_argument(
        '--why', action='store_true', help='why did the distillation not help?'
    )
    parser.add_argument(
        '--images',
        type=int,
        help='of --why: look at so many of the validation and of the training at most; '
        'default 300',
    )
    parser.add_argument('--json', type=Path, help='of --why: write the findings there')
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=KeyValues,
        metavar='KEY=VALUE',
        help='override the config, such as model.pairs.hint.loss.loss_weight=0.1; '
        'lists as KEY="[a,b]"',
    )
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    """Parse, read the config, analyze; 1 if a pair cannot teach."""
    args = parse(argv)
    if args.why:
        return why(args)
    for option in ('images', 'json'):
        if getattr(args, option) is not None:
            raise ConfigError(f'--{option} goes with --why only. Add --why.')
    cfg = prepare_config(args.config, options=args.cfg_options)
    shares = analyze(
        cfg,
        share=args.share,
        batches=1 if args.batches is None else args.batches,
        checkpoint=args.checkpoint,
        work_dir=args.work_dir,
    )
    return 1 if shares.failing else 0


def why(args: argparse.Namespace) -> int:
    """Print the findings of all checks, and write them where --json says."""
    cfg = prepare_config(args.config, options=args.cfg_options, work_dir=args.work_dir)
    diagnosis = examine(
        cfg,
        checkpoint=args.checkpoint,
        images=300 if args.images is None else args.images,
        batches=4 if args.batches is None else args.batches,
    )
    print(diagnosis)
    if args.json is not None:
        text = json.dumps(diagnosis.as_dict(), indent=2, ensure_ascii=False)
        args.json.write_text(f'{text}\n', encoding='utf-8')
    return 0


if __name__ == '__main__':
    run_tool(main)
