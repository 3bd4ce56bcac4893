"""Label a folder of images by one or several teachers.

Usage: python tools/pseudo_label.py IMAGES OUT --teacher CONFIG CHECKPOINT \
    [--teacher CONFIG CHECKPOINT ...] [--augment] [--threshold 0.5] [--without FILE]

Detectors write OUT/boxes.json, annotations as COCO has them with a score each;
segmentors OUT/labels/*.png, 255 where they are not sure, or with --top-k
OUT/soft/*.npz, and OUT/images.txt. May be interrupted and started again; several
processes share the work (--launcher, as of tools/train.py). How to train on them:
docs/pseudo_labels.md.

Not needed where a config names PseudoLabelsHook: its training makes them first.
"""

if __name__ == '__main__':
    import _threads  # noqa: F401  (before torch, which reads what it sets)

import kd_plugins  # noqa: F401, I001  (first: supplies what an uncompiled mmcv lacks)

import argparse
import sys
from collections.abc import Sequence

from mmengine.dist import is_main_process

from kd_plugins.apis.pseudo_label import pseudo_label
from kd_plugins.engine.pseudo_labels import PseudoLabelOptions
from kd_plugins.run_tool import run_tool


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Folders, teachers, and how they label."""
    default = PseudoLabelOptions()
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('images', help='folder of images, and of folders in it')
    parser.add_argument('out', help='folder of the labels; goes on with those there')
    parser.add_argument(
        '--teacher',
        nargs=2,
        action='append',
        required=True,
        metavar=('CONFIG', 'CHECKPOINT'),
        help='detector or segmentor; several, of the same classes, label together',
    )
    parser.add_argument(
        '--without',
        metavar='FILE',
        help='names images that have labels: COCO (.json), or a list (.txt)',
    )
    parser.add_argument(
        '--threshold',
        type=float,
        default=default.threshold,
        help='least score of a box, or probability of a pixel; default %(default)s',
    )
    parser.add_argument(
        '--augment',
        action='store_true',
        help="test-time augmentation: the config's tta_pipeline, or flips",
    )
    parser.add_argument(
        '--fusion',
        default=default.fusion,
        help="of boxes of several teachers or views: 'wbf', their weighted mean, or "
        "'nms'; default %(default)s",
    )
    parser.add_argument(
        '--iou-threshold',
        type=float,
        default=default.iou_threshold,
        help='least overlap of boxes that are the same; default %(default)s',
    )
    parser.add_argument(
        '--top-k',
        type=int,
        help='of segmentors: so many classes of a pixel, with probabilities',
    )
    parser.add_argument('--batch-size', type=int, default=default.batch_size)
    parser.add_argument('--workers', type=int, default=0, help='that read images')
    parser.add_argument(
        '--launcher', choices=('none', 'pytorch', 'slurm', 'mpi'), default='none'
    )
    parser.add_argument('--local_rank', '--local-rank', type=int, default=0)
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    """Parse, label, say what is there."""
    args = parse(argv)
    options = PseudoLabelOptions(
        threshold=args.threshold,
        augment=args.augment,
        fusion=args.fusion,
        iou_threshold=args.iou_threshold,
        top_k=args.top_k,
        batch_size=args.batch_size,
    )
    teachers = [{'cfg': cfg, 'checkpoint': path} for cfg, path in args.teacher]
    try:
        made = pseudo_label(
            args.images,
            args.out,
            teachers,
            without=args.without,
            options=options,
            num_workers=args.workers,
            launcher=args.launcher,
            local_rank=args.local_rank,
        )
    except KeyboardInterrupt:
        print('\nInterrupted: the same command goes on from here.', file=sys.stderr)
        return 130
    if is_main_process():
        print(made.describe())
    return 0


if __name__ == '__main__':
    run_tool(main)
