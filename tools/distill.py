"""Distil a teacher into a student, of any two configs; nothing is written by hand.

Usage: python tools/distill.py STUDENT TEACHER CHECKPOINT [--dry-run] ...

Writes the config of it into the work dir (which pairs are compared, and how strongly,
is chosen by pairs='auto'), measures what a step costs with and without the teacher,
trains on the student's data, and compares the two on its validation data. Not for a
config that is a distillation already: tools/train.py trains that, and the written one.
"""

if __name__ == '__main__':
    import _threads  # noqa: F401  (before torch, which reads what it sets)

import kd_plugins  # noqa: F401, I001  (first: supplies what an uncompiled mmcv lacks)

import argparse
from collections.abc import Sequence

from kd_plugins.apis.command_line import add_training_options
from kd_plugins.apis.distill import distill
from kd_plugins.run_tool import run_tool


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Arguments, as the hosts' own tools name them."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('student', help="a config, or 'mmdet::<path of a config>'")
    parser.add_argument('teacher', help="the teacher's, of the same kind")
    parser.add_argument('checkpoint', help="the teacher's: a file or a URL")
    parser.add_argument(
        '--dry-run',
        action='store_true',
        help='stop before the first iteration, with the config and the price',
    )
    parser.add_argument(
        '--no-teacher-score',
        action='store_true',
        help='do not validate student and teacher together at the end',
    )
    add_training_options(parser, 'work_dirs/<student>_from_<teacher>')
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    """Parse, distil."""
    args = parse(argv)
    distill(
        args.student,
        args.teacher,
        args.checkpoint,
        options=args.cfg_options,
        work_dir=args.work_dir,
        resume=args.resume,
        amp=args.amp,
        auto_scale_lr=args.auto_scale_lr,
        launcher=args.launcher,
        local_rank=args.local_rank,
        dry_run=args.dry_run,
        teacher_score=not args.no_teacher_score,
    )


if __name__ == '__main__':
    run_tool(main)
