"""Make a config small enough to run on made data in a second."""

import copy
from typing import Any

from mmengine.config import Config, ConfigDict

from kd_plugins.distillers.peers import peer_model
from kd_plugins.teachers.teacher import model_config, without_pretrained

_SIDE = (160, 96)  # of the pipelines, whatever they had
_WIDTHS = {256: 16, 1024: 32}  # of neck and heads
_GROUPED = 64  # of a head with group norms: 32 groups, of which each has two
_BACKBONE = dict(depth=18, base_channels=8, stem_channels=8)
_STAGES = [8, 16, 32, 64]  # channels of such a backbone
# What is changed in a backbone, and the channels that it then gives.
_NARROW: dict[str, tuple[dict[str, Any], list[int]]] = {
    'ResNetV1c': (_BACKBONE, _STAGES),
    'MobileNetV2': (dict(widen_factor=0.25), [8, 8, 24, 80]),
    'MixVisionTransformer': (
        dict(embed_dims=8, num_layers=[1, 1, 1, 1]),
        [8, 16, 40, 64],
    ),
    'SwinTransformer': (
        dict(embed_dims=8, depths=[1, 1, 1, 1], num_heads=[1, 1, 2, 2]),
        _STAGES,
    ),
    # As RTMDet takes them, the last three stages.
    'CSPNeXt': (dict(deepen_factor=0.33, widen_factor=0.125), [32, 64, 128]),
}
# Of DINO, whose original family embeds positions for this width and no other.
_EMBEDDED = 256
# The depth head wants 16 channels, and eight times its embedding of features.
_DEPTH_BACKBONE = dict(depth=18, base_channels=16, stem_channels=16)
_DEPTH_HEAD = dict(
    in_channels=[16, 32, 64, 128],
    embed_dim=8,
    feature_dim=64,
    num_deconv_filters=(8, 8),
)
_CROP = (64, 96)
_OF_TEACHERS = ('type', 'cache', 'checkpoints', 'interval', 'input_scale', 'input')
_MOST = dict(num=16, nms_pre=64, max_per_img=32, num_queries=32, num_dn_queries=4)


def reduced(cfg: Config) -> Config:
    """The same config with less of everything, for two iterations and a validation.

    Input side, batch, workers, repetitions of the data and images to validate on, depth
    and width of the models (where they are the hosts'), proposals and detections; two
    iterations; random weights instead of downloaded ones. Nothing of ``pairs``, but for
    the width of a critic, and of ``task_loss_weights``.
    """
    small = copy.deepcopy(cfg)
    if cfg.model.get('teacher') is not None:
        small.model.teacher = _teacher(cfg.model.teacher)
    elif not {'student', 'peers'} & set(cfg.model):
        small.model = _model(cfg.model)
    for name, peer in cfg.model.get('peers', {}).items():
        kept = {key: peer[key] for key in ('seed', 'trains', 'fresh') if key in peer}
        if 'checkpoint' in peer:
            kept['allow_random'] = True
        small.model.peers[name] = ConfigDict(model=_model(peer_model(peer)), **kept)
    # A student that a stage makes narrower is not known yet.
    if 'student' in cfg.model and '{' not in cfg.model.student.get('cfg', ''):
        small.model.student = _model(model_config(cfg.model.student))
        for pair in small.model.pairs.values():
            if isinstance(pair, dict) and pair.loss.type == 'HolisticLoss':
                pair.loss.base_channels = 8
    _data(small.train_dataloader, batch=2)
    for loader in (small.val_dataloader, small.test_dataloader):
        if loader is not None:  # of a stage without validation
            _data(loader, batch=1)
            loader.dataset.indices = 1  # the first image
    if small.train_cfg.type == 'EpochBasedTrainLoop':
        small.train_cfg.max_epochs = 1
    else:
        small.train_cfg.update(max_iters=2, val_interval=2)
    for hook in small.get('custom_hooks', ()):
        if hook.type == 'kd_plugins.PrepareDataHook':
            hook.update(train=8, val=4)  # as `tiny_digits` and the like
        elif hook.type == 'kd_plugins.PseudoLabelsHook':
            hook.without = None  # all of so few images have labels
    return small


def _teacher(cfg: Any) -> Any:
    """A narrow teacher of the same kind, random but for a route's checkpoints."""
    if 'members' in cfg:
        members = [_teacher(member) for member in cfg.members]
        return ConfigDict(cfg, members=members)
    kept = {key: value for key, value in cfg.items() if key in _OF_TEACHERS}
    if 'checkpoints' in cfg:  # a test makes them; each teaches one iteration
        kept['interval'] = 1
    else:
        kept['allow_random'] = True
    return ConfigDict(model=_model(model_config({'cfg': cfg.cfg})), **kept)


def _model(cfg: Any) -> Any:
    """A narrow model with random weights; on the embedded data they are narrow."""
    small = without_pretrained(cfg)
    if small.type == 'kd_plugins.Quantized':
        small.model = _model(model_config(small.model))
        return small
    if 'decode_head' in small:
        return _segmentor(small)
    if 'base_channels' not in small.backbone:
        kind = small.backbone.type
        changes, stages = _NARROW[kind if kind in _NARROW else 'ResNetV1c']
        small.neck.in_channels = stages[-len(small.neck.in_channels) :]
        small.backbone.update(changes)
        _walk(small, _narrow)
        if small.type == 'DINO':
            _transformer(small)
        elif 'bbox_head' in small and small.type != 'RetinaNet':
            head = small.bbox_head
            small.neck.out_channels = head.in_channels = head.feat_channels = _GROUPED
    _walk(small, _few)
    return small


def _transformer(small: Any) -> None:
    small.neck.out_channels = _EMBEDDED
    for part in (small.encoder, small.decoder):
        part.num_layers = 1
        part.layer_cfg.ffn_cfg.feedforward_channels = 32


def _segmentor(small: Any) -> Any:
    if 'base_channels' in small.backbone:  # of the embedded data, narrow already
        return small
    small.data_preprocessor.size = _CROP
    if small.type == 'DepthEstimator':
        small.backbone.update(_DEPTH_BACKBONE)
        small.decode_head.update(_DEPTH_HEAD)
        return small
    changes, stages = _NARROW[small.backbone.type]
    small.backbone.update(changes)
    for head in (small.decode_head, small.get('auxiliary_head')):
        if head is None:
            continue
        index = head.in_index
        several = isinstance(index, (list, tuple))
        head.in_channels = [stages[i] for i in index] if several else stages[index]
        head.channels = min(head.channels, 16)
    if small.test_cfg.mode == 'slide':
        small.test_cfg.update(crop_size=_CROP, stride=_CROP)
    return small


def _narrow(node: Any, key: str, value: Any) -> None:
    if key.endswith('_channels') and isinstance(value, int):
        node[key] = _WIDTHS.get(value, value)


def _few(node: Any, key: str, value: Any) -> None:
    most = _MOST.get(key)
    if most is not None and isinstance(value, int):
        node[key] = min(value, most)
    elif key == 'score_thr':
        node[key] = 0.0  # so that random weights detect something


def _data(loader: Any, batch: int) -> None:
    loader.update(batch_size=batch, num_workers=0, persistent_workers=False)
    loader.pop('pin_memory', None)  # it wants a GPU
    _walk(loader, _small)


def _small(node: Any, key: str, value: Any) -> None:
    if key == 'scale' and max(value) > max(_SIDE):
        node[key] = _SIDE
    elif key == 'scales':  # to choose from
        node[key] = [_SIDE]
    elif key in ('img_scale', 'size'):  # of mosaics, and of what is padded to a square
        node[key] = (_SIDE[0], _SIDE[0])
    elif key == 'crop_size':
        node[key] = _CROP
    elif key == 'times':  # of a RepeatDataset
        node[key] = min(value, 2)


def _walk(node: Any, change: Any) -> None:
    """Call ``change(dict, key, value)`` for every entry of every nested dict."""
    if isinstance(node, dict):
        for key, value in list(node.items()):
            change(node, key, value)
            _walk(value, change)
    elif isinstance(node, (list, tuple)):
        for value in node:
            _walk(value, change)
