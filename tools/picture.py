"""Show what distillation changes: the same validation images under three models.

    python tools/picture.py --baseline CONFIG CHECKPOINT --distilled CONFIG CHECKPOINT \
        --teacher CONFIG CHECKPOINT [--number 4] [--out docs/detection.png]

Of detectors it shows boxes, of segmentors label maps. Images are the first of the
validation set with three objects, or classes, or more. Not for looking at many
predictions: that is tools/test.py --show-dir.
"""

import kd_plugins  # noqa: F401, I001  (first: supplies what an uncompiled mmcv lacks)

import argparse
from collections.abc import Sequence
from pathlib import Path

from mmengine.config import DictAction

from kd_plugins.apis.comparison import Entry, make_picture

COLUMNS = ('baseline', 'distilled', 'teacher')


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    for name in COLUMNS:
        parser.add_argument(
            f'--{name}', nargs=2, required=True, metavar=('CONFIG', 'CHECKPOINT')
        )
    parser.add_argument(
        '--out', type=Path, help='default: docs/detection.png or docs/segmentation.png'
    )
    parser.add_argument('--number', type=int, default=4, help='of images')
    parser.add_argument(
        '--least-objects',
        type=int,
        default=3,
        help='that an image must have; of a segmentation: classes',
    )
    parser.add_argument(
        '--score', type=float, default=0.5, help='boxes below are not shown'
    )
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=DictAction,
        metavar='KEY=VALUE',
        help="override the baseline's config, whose test set is shown",
    )
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    """Parse, draw, tell where."""
    args = parse(argv)
    entries = [
        Entry(name, Path(getattr(args, name)[0]), getattr(args, name)[1])
        for name in COLUMNS
    ]
    out, shown = make_picture(
        entries,
        args.out,
        number=args.number,
        least_objects=args.least_objects,
        score=args.score,
        options=args.cfg_options,
    )
    print(f'{out}: {", ".join(Path(path).name for path in shown)}')


if __name__ == '__main__':
    main()
