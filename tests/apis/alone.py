"""Where kd_plugins cannot be imported: load a config's model and its weights.

Usage: python tests/apis/alone.py CONFIG.py WEIGHTS.pth
"""

import sys
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any


class Operators(ModuleType):
    """In place of mmcv's compiled ones, which a build imports and does not call."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith('__'):
            raise AttributeError(name)
        return print


def main(config: str, weights: str) -> None:
    sys.modules['kd_plugins'] = None  # type: ignore[assignment]
    operators = Operators('mmcv._ext')
    operators.__spec__ = ModuleSpec('mmcv._ext', loader=None)
    sys.modules.setdefault('mmcv._ext', operators)
    import torch
    from mmengine.config import Config
    from mmengine.registry import MODELS, init_default_scope

    cfg = Config.fromfile(config)
    init_default_scope(cfg.default_scope)
    __import__(f'{cfg.default_scope}.models')
    model = MODELS.build(cfg.model)
    content = torch.load(weights, weights_only=True)
    model.load_state_dict(content['state_dict'], strict=True)
    print(type(model).__name__, sum(each.numel() for each in model.parameters()))


if __name__ == '__main__':
    main(*sys.argv[1:])
