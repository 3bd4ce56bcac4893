"""Label a folder of images by teachers, for ``tools/pseudo_label.py``."""

import os
from pathlib import Path

from ..engine.launch import start_processes
from ..engine.pseudo_labels import (
    PseudoLabelOptions,
    PseudoLabels,
    make_pseudo_labels,
)

_ENVIRONMENT = {
    'mp_cfg': {'mp_start_method': 'fork', 'opencv_num_threads': 0},
    'dist_cfg': {'backend': 'nccl'},
}


def pseudo_label(
    images: str | Path,
    out: str | Path,
    teachers: object,
    *,
    without: str | Path | None = None,
    options: PseudoLabelOptions | None = None,
    num_workers: int = 0,
    progress: bool = True,
    launcher: str = 'none',
    local_rank: int = 0,
) -> PseudoLabels:
    """Label the images of a folder, in one process or several.

    Args:
        launcher: 'none', 'pytorch', 'slurm' or 'mpi'.
        local_rank: as ``torch.distributed.launch`` passes it.

    Other arguments, what is written and raised: as of
    :func:`~kd_plugins.engine.pseudo_labels.make_pseudo_labels`.
    """
    os.environ.setdefault('LOCAL_RANK', str(local_rank))
    start_processes(launcher, _ENVIRONMENT)
    return make_pseudo_labels(
        images,
        out,
        teachers,
        without=without,
        options=options,
        num_workers=num_workers,
        progress=progress,
    )
