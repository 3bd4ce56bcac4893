"""Files that tools/distill.py is given: tiny configs and a checkpoint."""

import itertools
import os
from pathlib import Path
from typing import Any

import torch

from kd_plugins.registry import MODELS
from tests.distillers.runs import run_config
from tests.distillers.tiny import faster_rcnn

_run = itertools.count()


def write_student(folder: Path, **changes: Any) -> str:
    """The whole config of a tiny Faster R-CNN, on data from memory."""
    content = run_config(faster_rcnn(), folder, **changes).to_dict()
    del content['work_dir'], content['experiment_name']
    return write(folder / 'student.py', content)


def write_teacher(folder: Path, model: Any = None, name: str = 'teacher') -> str:
    """A config of nothing but a model, and its weights beside it."""
    model = faster_rcnn(base=8) if model is None else model
    path = folder / f'{name}.py'
    torch.manual_seed(11)
    built = MODELS.build(model)
    built.init_weights()
    torch.save({'state_dict': built.state_dict()}, path.with_suffix('.pth'))
    return write(path, dict(default_scope='mmdet', model=model.to_dict()))


def write(path: Path, content: dict[str, Any]) -> str:
    path.write_text(''.join(f'{key} = {value!r}\n' for key, value in content.items()))
    return str(path)


def options(**others: Any) -> dict[str, Any]:
    # The hosts keep loggers and hubs by name, for the whole process.
    name = f'distill_{os.getpid()}_{next(_run)}'
    return {'experiment_name': name, **others}
