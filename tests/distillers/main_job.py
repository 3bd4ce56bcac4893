"""The two main jobs, shortened to a few iterations on the tiny data sets."""

import itertools
import os
from pathlib import Path
from typing import Any

from mmengine.config import Config, ConfigDict

import kd_plugins
from kd_plugins.teachers import model_config

CONFIGS = Path(kd_plugins.__file__).parents[1] / 'configs'
DETECTION, SEGMENTATION = MAIN_JOBS = ('frcnn_kd.py', 'seg_skd.py')
# The student's own run of the host's, and the score that it is judged by.
ALONE = {
    DETECTION: 'digits/faster-rcnn_r18-w16_fpn_1k_digits-300.py',
    SEGMENTATION: 'mosaics/pspnet_r18-w6-d8_1500it_mosaics-300-128x128.py',
}
# A pair whose weight a test may let rise from 0: what is learned for it rests at first.
RAMPED = {DETECTION: 'hint', SEGMENTATION: 'holistic'}
SCORES = {'mmdet': 'coco/bbox_mAP', 'mmseg': 'mIoU'}
_run = itertools.count()


def short(config: str, work_dir: Path, **changes: Any) -> Config:
    """A config of a main job's for four iterations, with a checkpoint at each second.

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
    score = SCORES[cfg.default_scope]
    cfg.default_hooks.checkpoint.update(interval=2, save_best=score)
    cfg.default_hooks.pop('visualization')
    for hook in cfg.custom_hooks:
        if hook.type == 'kd_plugins.PrepareDataHook':
            hook.update(train=8, val=4)  # those of `tiny_digits` and `tiny_mosaics`
    cfg.log_level = 'WARNING'
    # The hosts keep loggers, hubs and visualizers by name, for the whole process.
    cfg.experiment_name = cfg.visualizer.name = f'main_{os.getpid()}_{next(_run)}'
    if 'teacher' in cfg.model:
        model = model_config({'cfg': cfg.model.teacher.cfg})
        cfg.model.teacher = ConfigDict(model=model, allow_random=True)
    if 'hint' in cfg.model.get('pairs', ()):
        # That adapters are trained, saved and resumed too is to be seen.
        cfg.model.pairs.hint.adapter = ConfigDict(type='ConvAdapter')
    cfg.merge_from_dict(changes)
    return cfg
