"""Fewer channels in a trained model: a config and plain weights, for any host."""

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from mmengine.logging import print_log
from torch import Tensor

from ..checkpoints import read_checkpoint
from ..compression.pruning import (
    Budget,
    Pruned,
    channels_of,
    narrowed_model,
    prune_channels,
    whole_model,
)
from ..compression.pruning.verify import check_same
from ..config_files import read_config
from ..distillers.student import student_config
from ..engine.opening import first_batch, make_ready
from ..engine.stages import last_stage
from ..errors import ConfigError, located
from ..random_stream import random_state_kept
from ..teachers import without_pretrained
from ..teachers.checkpoints import load_strictly, weights_of
from .export import build_plain, check_suffix, write_student

_DIVISOR = 32  # of an image's sides, as detectors are padded


@dataclass(frozen=True)
class PrunedStudent:
    """What pruning a student came to.

    Attributes:
        weights: the file.
        config: the file beside it.
        flops: multiply-adds before and after.
        params: parameters before and after.
        kept: layers that kept their channels, by name.
    """

    weights: Path
    config: Path
    flops: tuple[float, float]
    params: tuple[int, int]
    kept: tuple[str, ...]

    def describe(self) -> str:
        """Sizes before and after, and where it is."""
        rows = [
            (name, before / unit, after / unit, after / before)
            for name, unit, (before, after) in (
                ('GFLOPs (multiply-adds)', 1e9, self.flops),
                ('M parameters', 1e6, self.params),
            )
        ]
        lines = [
            f'  {before:.3f} to {after:.3f} {name}, {100 * share:.1f} % left'
            for name, before, after, share in rows
        ]
        return '\n'.join(
            [f'The pruned student is {self.weights}, its config {self.config}.', *lines]
        )


def prune_student(
    config: str,
    checkpoint: str,
    out: str | Path,
    budget: Budget,
    *,
    importance: str = 'magnitude',
    keep: Sequence[str] = (),
    shape: Sequence[int] | None = None,
    seed: int = 0,
) -> PrunedStudent:
    """Prune the channels of a trained student, and write it with a config of its own.

    The config is that of the student's training, with the narrower model and
    ``load_from`` the pruned weights: training it fine-tunes. It builds where this
    package is not installed.

    Args:
        config: of the student, or of its distillation; of stages the last one.
        checkpoint: of training, of the student, or exported; read safely.
        out: ``.pth`` or ``.safetensors``; the config takes its name, with ``.py``.
        budget: what is to be left.
        importance: see :func:`~kd_plugins.compression.pruning.prune_channels`.
        keep: likewise.
        shape: height and width of the images for which multiply-adds count; default:
            as the config prepares them for the test.
        seed: of ``importance='random'``.

    Raises: ConfigError, CheckpointError; see
        :func:`~kd_plugins.compression.pruning.prune_channels`.
    """
    out = Path(out)
    check_suffix(out)
    cfg = student_config(last_stage(read_config(config)))
    with located('checkpoint'):
        content = read_checkpoint(checkpoint)
    weights = weights_of(content, source=checkpoint, key='checkpoint')
    with random_state_kept():
        torch.manual_seed(seed)
        model: Any = build_plain(cfg)
        load_strictly(model, weights, 'checkpoint')
        images = _images(cfg, shape)
        pruned = prune_channels(
            model, images, budget, importance=importance, keep=keep, seed=seed
        )
        narrower = _config(cfg, pruned, out)
        _check(narrower, pruned, images)
    written = write_student(
        narrower, pruned.model.state_dict(), out, content.get('meta') or {}
    )
    result = PrunedStudent(out, written, pruned.flops, pruned.params, pruned.kept)
    print_log(result.describe(), 'current')
    return result


def _config(cfg: Config, pruned: Pruned, out: Path) -> Config:
    narrower = copy.deepcopy(cfg)
    whole = Config({**cfg.to_dict(), 'model': whole_model(cfg.model)})
    channels = channels_of(build_plain(whole), pruned.model)
    # What would load the weights of the whole model: they no longer fit.
    narrower.model = narrowed_model(without_pretrained(cfg.model), channels)
    narrower.load_from, narrower.resume, narrower.launcher = str(out), False, 'none'
    narrower.pop('work_dir', None)
    return narrower


def _check(cfg: Config, pruned: Pruned, images: Tensor) -> None:
    rebuilt: Any = build_plain(cfg).eval()
    load_strictly(rebuilt, pruned.model.state_dict(), 'the pruned model')
    check_same(pruned.model, rebuilt, images)


def _images(cfg: Config, shape: Sequence[int] | None) -> Tensor:
    """Noise of the size of the images."""
    height, width = _size(cfg) if shape is None else shape
    if min(height, width) < _DIVISOR:
        raise ConfigError(
            f'must be at least {_DIVISOR} pixels, got {height} {width}.', 'shape'
        )
    generator = torch.Generator().manual_seed(0)
    return torch.randn(1, 3, height, width, generator=generator)


def _size(cfg: Config) -> tuple[int, int]:
    """Height and width of an image, as the model sees it."""
    preprocessor = cfg.model.get('data_preprocessor') or {}
    size = preprocessor.get('size') or _scale(cfg)
    if size is None:
        make_ready(cfg)
        images = first_batch(cfg)['inputs']
        size = tuple(images[0].shape[-2:])
    height, width = (-(-int(side) // _DIVISOR) * _DIVISOR for side in size)
    return height, width


def _scale(cfg: Config) -> tuple[int, int] | None:
    """Height and width to which the test data are resized; None where they are not."""
    dataset: Mapping[str, Any] = (cfg.get('test_dataloader') or {}).get('dataset') or {}
    while 'dataset' in dataset:
        dataset = dataset['dataset']
    for step in dataset.get('pipeline') or ():
        scale = step.get('scale')
        if str(step.get('type')).endswith('Resize') and isinstance(
            scale, (list, tuple)
        ):
            return scale[1], scale[0]
    return None
