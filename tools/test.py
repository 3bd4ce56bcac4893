"""Evaluate a student; no teacher is needed, but for --fidelity.

Usage: python tools/test.py CONFIG CHECKPOINT [CHECKPOINT ...] [--out FILE]
           [--show-dir DIR] [--tta] [--fidelity] ...

CONFIG may be a distillation's or the student's own; CHECKPOINT one of training, the
student_*.pth beside it, or an exported file: an .onnx file is run by ONNX Runtime and
scored by the host's evaluator. Several CHECKPOINTs of a segmentor, such
as generations, are scored as one, by the mean of their probabilities. Not for
unlabelled images: for those, export the student and use its host's inferencer.
"""

if __name__ == '__main__':
    import _threads  # noqa: F401  (before torch, which reads what it sets)

import kd_plugins  # noqa: F401, I001  (first: supplies what an uncompiled mmcv lacks)

import argparse
from collections.abc import Sequence

from kd_plugins.apis.command_line import KeyValues
from kd_plugins.apis.train import prepare_config
from kd_plugins.apis.test import evaluate
from kd_plugins.run_tool import run_tool


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Arguments, as the hosts' own tools name them."""
    parser = argparse.ArgumentParser(description='Evaluate a student.')
    parser.add_argument('config', help="a file, or 'mmdet::<path of a config>'")
    parser.add_argument(
        'checkpoint',
        nargs='+',
        help='.pth, .safetensors or .onnx; several segmentors are scored as one',
    )
    parser.add_argument('--work-dir', help='default: work_dirs/<name of the config>')
    parser.add_argument('--out', help='predictions: a .pkl file; for mmseg a folder')
    parser.add_argument('--show', action='store_true', help='show predictions')
    parser.add_argument('--show-dir', help='folder for painted predictions')
    parser.add_argument(
        '--wait-time', type=float, default=2.0, help='seconds that each is shown'
    )
    parser.add_argument('--tta', action='store_true', help='test-time augmentation')
    parser.add_argument(
        '--fidelity',
        action='store_true',
        help='compare with the teacher too, on the validation data',
    )
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=KeyValues,
        metavar='KEY=VALUE',
        help='override the config; lists as KEY="[a,b]"',
    )
    parser.add_argument(
        '--launcher', choices=('none', 'pytorch', 'slurm', 'mpi'), default='none'
    )
    parser.add_argument('--local_rank', '--local-rank', type=int, default=0)
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> dict[str, float]:
    """Parse, read the config, evaluate."""
    args = parse(argv)
    cfg = prepare_config(
        args.config,
        options=args.cfg_options,
        work_dir=args.work_dir,
        launcher=args.launcher,
        local_rank=args.local_rank,
    )
    return evaluate(
        cfg,
        args.checkpoint,
        out=args.out,
        show=args.show,
        show_dir=args.show_dir,
        wait_time=args.wait_time,
        tta=args.tta,
        fidelity=args.fidelity,
    )


if __name__ == '__main__':
    run_tool(main)
