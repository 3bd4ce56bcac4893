"""The main job, shortened to a few iterations on the tiny data set."""

import itertools
import os
from pathlib import Path
from typing import Any

from mmengine.config import Config, ConfigDict

import kd_plugins

CONFIGS = Path(kd_plugins.__file__).parents[1] / 'configs'
_run = itertools.count()


def short(config: str, work_dir: Path, **changes: Any) -> Config:
    """A config of the main job's for four iterations, with a checkpoint at each second.

    Args:
        config: path below ``configs``.
        work_dir: of the run.
        changes: keys of the config with their new values; dicts are merged.
    """
    cfg = Config.fromfile(CONFIGS / config)
    cfg.work_dir = str(work_dir)
    cfg.train_cfg.update(max_iters=4, val_interval=2)
    cfg.train_dataloader.batch_size = cfg.val_dataloader.batch_size = 2
    cfg.param_scheduler = cfg.param_scheduler[:1]
    cfg.default_hooks.checkpoint.update(interval=2, save_best='coco/bbox_mAP')
    cfg.default_hooks.pop('visualization')
    for hook in cfg.custom_hooks:
        if hook.type == 'kd_plugins.PrepareDataHook':
            hook.update(train=8, val=4)  # those of the fixture `tiny_digits`
    cfg.log_level = 'WARNING'
    # The hosts keep loggers, hubs and visualizers by name, for the whole process.
    cfg.experiment_name = cfg.visualizer.name = f'main_{os.getpid()}_{next(_run)}'
    if 'teacher' in cfg.model:
        model = Config.fromfile(
            CONFIGS / '_base_/models/faster-rcnn_r18_digits.py'
        ).model
        cfg.model.teacher = ConfigDict(model=model, allow_random=True)
        # That adapters are trained, saved and resumed too is to be seen.
        cfg.model.pairs.hint.adapter = ConfigDict(type='ConvAdapter')
    cfg.merge_from_dict(changes)
    return cfg
