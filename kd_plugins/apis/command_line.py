"""Options that tools share, as the hosts' own tools name them."""

import argparse
from typing import Any

from mmengine.config import DictAction


class KeyValues(DictAction):
    """Of ``KEY=VALUE ...`` a dict, as the hosts read it; of anything else an error."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Any,
        option_string: str | None = None,
    ) -> None:
        for text in values:
            try:
                super().__call__(parser, namespace, [text], option_string)
            except (ValueError, AssertionError) as error:
                fault = f' ({error})' if isinstance(error, AssertionError) else ''
                raise argparse.ArgumentError(
                    self, f"expected KEY=VALUE, got '{text}'{fault}."
                ) from error


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
        action=KeyValues,
        metavar='KEY=VALUE',
        help='override the config, such as model.pairs.hint.loss.loss_weight=0.1; '
        'lists as KEY="[a,b]"',
    )
    parser.add_argument(
        '--launcher', choices=('none', 'pytorch', 'slurm', 'mpi'), default='none'
    )
    parser.add_argument('--local_rank', '--local-rank', type=int, default=0)
