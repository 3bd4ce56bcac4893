"""Fill the cache of a distillation's teacher ahead of its training.

Usage: python tools/cache_teacher.py CONFIG [--amp] [--cfg-options ...]

The config is that of the training, with SeededViews around its data and a cache beside
its teacher (docs/cache.md). Prints what is stored, and how much of it was there. May be
interrupted and started again; several processes share the work (--launcher, as of
tools/train.py). A training fills its cache itself where it is not full: this tool is
for a machine that has the time before.
"""

if __name__ == '__main__':
    import _threads  # noqa: F401  (before torch, which reads what it sets)

import kd_plugins  # noqa: F401, I001  (first: supplies what an uncompiled mmcv lacks)

import argparse
from collections.abc import Sequence

from mmengine.dist import is_main_process

from kd_plugins.apis.command_line import KeyValues
from kd_plugins.apis.cache import fill_cache
from kd_plugins.apis.train import prepare_config
from kd_plugins.run_tool import run_tool


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Arguments, where the hosts have them too as they name them."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('config', help="a file, or 'mmdet::<path of a config>'")
    parser.add_argument(
        '--amp', action='store_true', help='if the training has mixed precision'
    )
    parser.add_argument(
        '--work-dir', help="for the host's log; default: a folder that is removed"
    )
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=KeyValues,
        metavar='KEY=VALUE',
        help='override the config, as the training does',
    )
    parser.add_argument(
        '--launcher', choices=('none', 'pytorch', 'slurm', 'mpi'), default='none'
    )
    parser.add_argument('--local_rank', '--local-rank', type=int, default=0)
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    """Parse, read the config, fill, say what is there."""
    args = parse(argv)
    cfg = prepare_config(
        args.config,
        options=args.cfg_options,
        launcher=args.launcher,
        local_rank=args.local_rank,
    )
    for filled in fill_cache(cfg, amp=args.amp, work_dir=args.work_dir):
        if is_main_process():
            print(filled.describe())


if __name__ == '__main__':
    run_tool(main)
