"""Options that tools share, as the hosts' own tools name them."""

import argparse

from mmengine.config import DictAction


def add_training_options(parser: argparse.ArgumentParser, work_dir: str) -> None:
    """Add what every tool that trains takes.

    Args:
        parser: of the tool.
        work_dir: what ``--work-dir`` is by default, for its help.
    """
    parser.add_argument('--work-dir', help=f'default: {work_dir}')
    parser.add_argument(
        '--resume',
        nargs='?',
        const='auto',
        metavar='CHECKPOINT',
        help='continue from it, or from the newest whole one of the work dir',
    )
    parser.add_argument('--amp', action='store_true', help='mixed precision')
    parser.add_argument(
        '--auto-scale-lr',
        action='store_true',
        help='scale the learning rate with the batch size',
    )
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=DictAction,
        metavar='KEY=VALUE',
        help='override the config, such as model.pairs.hint.loss.loss_weight=0.1; '
        'lists as KEY="[a,b]"',
    )
    parser.add_argument(
        '--launcher', choices=('none', 'pytorch', 'slurm', 'mpi'), default='none'
    )
    parser.add_argument('--local_rank', '--local-rank', type=int, default=0)
