"""Train a model, with or without distillation.

Usage: python tools/train.py CONFIG [--work-dir DIR] [--resume [CHECKPOINT]] ...

Not for several processes: tools/dist_train.sh or tools/slurm_train.sh start those.
"""

if __name__ == '__main__':
    import _threads  # noqa: F401  (before torch, which reads what it sets)

import kd_plugins  # noqa: F401, I001  (first: supplies what an uncompiled mmcv lacks)

import argparse
from collections.abc import Sequence

from kd_plugins.apis.command_line import add_training_options
from kd_plugins.apis.train import prepare_config, train
from kd_plugins.run_tool import run_tool


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Arguments, as the hosts' own tools name them."""
    parser = argparse.ArgumentParser(description='Train a model.')
    parser.add_argument('config', help="a file, or 'mmdet::<path of a config>'")
    add_training_options(parser, 'work_dirs/<name of the config>')
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    """Parse, read the config, train."""
    args = parse(argv)
    cfg = prepare_config(
        args.config,
        options=args.cfg_options,
        work_dir=args.work_dir,
        launcher=args.launcher,
        local_rank=args.local_rank,
    )
    train(cfg, resume=args.resume, amp=args.amp, auto_scale_lr=args.auto_scale_lr)


if __name__ == '__main__':
    run_tool(main)
