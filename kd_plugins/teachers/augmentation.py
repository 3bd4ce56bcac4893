"""Test-time augmentation of the hosts: a config's own, or flips where it has none."""

import copy
from typing import Any

from mmengine.config import Config

_META = ('img_path', 'ori_shape', 'img_shape', 'scale_factor')
_FLIP = ('flip', 'flip_direction')


def augmented_pipeline(cfg: Config, host: str) -> list[Any]:
    """The pipeline that gives several views of an image.

    Args:
        cfg: of a whole training or test; its ``tta_pipeline`` is taken, where it has
            one.
        host: 'mmdet' or 'mmseg'.

    Returns: a copy; without one in the config, the test's own pipeline, whose image is
        then seen as it is and flipped.
    """
    if 'tta_pipeline' in cfg:
        return copy.deepcopy(list(cfg.tta_pipeline))
    dataset = cfg.test_dataloader.dataset
    while 'dataset' in dataset:
        dataset = dataset['dataset']
    *steps, last = copy.deepcopy(list(dataset.pipeline))
    if host == 'mmdet':
        last = {'type': 'PackDetInputs', 'meta_keys': ('img_id', *_META, *_FLIP)}
    flips = [{'type': 'RandomFlip', 'prob': prob} for prob in (1.0, 0.0)]
    views = {'type': 'TestTimeAug', 'transforms': [flips, [last]]}
    return [*steps, views]
