"""One small configuration with every key that a distillation may have."""

from typing import Any

from tests.distillers.tiny import cascade_rcnn, faster_rcnn

_CLASSES = ['cat', 'dog', 'emu']


def _share(**changes: Any) -> dict[str, Any]:
    share = {
        'type': 'GradientShare',
        'share': 0.5,
        'band': 0.1,
        'interval': 2,
        'begin': 0,
        'until': 3,
        'start': 0.0,
        'min_weight': 1e-6,
        'max_weight': 1e6,
    }
    return share | changes


def every_key(folder: str) -> dict[str, Any]:
    """Two teachers, of which one is a cascade; ``folder`` is that of a cache."""
    hint = {
        'layer': {'student': 'neck', 'teacher': 'neck'},
        'levels': {'student': [0, 1], 'teacher': [0, 1]},
        'value': 'output',
        'teacher': 'big',
        'adapter': {
            'type': 'ConvAdapter',
            'student_channels': 8,
            'teacher_channels': 8,
            'kernel_size': 1,
            'resize': True,
            'norm': False,
        },
        'loss': {'type': 'HintLoss', 'loss_weight': _share(), 'reduction': 'mean'},
        'per_level': False,
        'levels_reduction': 'mean',
    }
    logits = {
        'view': {
            'type': 'roi.logits',
            'stage': {'student': 0, 'teacher': 1},
            'roi_source': 'union',
            'num_rois': 8,
        },
        'teacher': 'cascade',
        'loss': {
            'type': 'KDLoss',
            'temperature': 2.0,
            'loss_weight': {
                'type': 'StepSchedule',
                'values': [1, 0.5],
                'milestones': [3],
                'by_epoch': False,
            },
            'reduction': 'mean',
        },
    }
    return {
        'type': 'kd_plugins.Distiller',
        'student': faster_rcnn().to_dict(),
        'teacher': {
            'big': {
                'model': faster_rcnn().to_dict(),
                'checkpoint': 'nowhere.pth',
                'checkpoint_prefix': 'teacher',
                'input_scale': 1.0,
                'class_map': {
                    'student': _CLASSES,
                    'teacher': ['cat', 'hound', 'emu'],
                    'rename': {'hound': 'dog'},
                },
                'cache': {
                    'folder': folder,
                    'max_gigabytes': 1.0,
                    'dtype': 'float16',
                    'recheck': 0.01,
                },
            },
            'cascade': {
                'model': cascade_rcnn().to_dict(),
                'allow_random': True,
                'fast': {
                    'fold_bn': True,
                    'channels_last': True,
                    'prepack': False,
                    'dtype': 'float32',
                    'compile': False,
                    'tolerance': 0.05,
                },
            },
        },
        'pairs': {'hint': hint, 'logits': logits},
        'task_loss_weights': {
            'loss_cls': 0.8,
            'loss_rpn_bbox': {
                'type': 'LinearRamp',
                'start': 0.0,
                'end': 1.0,
                'begin': 0,
                'until': 9,
                'by_epoch': False,
            },
        },
    }


def every_key_of_peers() -> dict[str, Any]:
    """Peers, of which one is a bridge, and a frozen teacher."""
    logits = {'view': 'roi.logits', 'loss': {'type': 'KDLoss'}}
    teacher = {'model': faster_rcnn(base=6).to_dict(), 'checkpoint': 'nowhere.pth'}
    bridge = {'seed': 3, 'checkpoint_prefix': 'student', 'trains': ['roi_head']}
    return {
        'type': 'kd_plugins.MutualDistiller',
        'peers': {
            'small': {'model': faster_rcnn().to_dict(), 'seed': 0},
            'bridge': teacher | bridge | {'fresh': True, 'allow_random': False},
            'other': {'model': faster_rcnn().to_dict(), 'seed': 2},
        },
        'deploy': 'small',
        'teacher': teacher,
        'pairs': {
            'both': logits,
            'one': logits | {'student': 'small', 'teacher': 'bridge'},
            'old': logits | {'student': ['small', 'bridge'], 'teacher': 'teacher'},
        },
        'switches': {
            'bridge': {'type': 'AdaptiveSwitch', 'pair': 'one', 'students': ['small']}
        },
    }
