"""Fewer channels in a trained model: a config and plain weights, for any host."""

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from mmengine.logging import print_log
from torch import Tensor, nn

from ..checkpoints import read_checkpoint
from ..compression.pruning import (
    Budget,
    Pruned,
    channels_of,
    config_text,
    narrowed_model,
    plan_student,
    prune_channels,
    whole_model,
)
from ..compression.pruning.verify import check_same
from ..config_files import read_config
from ..distillers.student import student_config
from ..engine import files
from ..engine.stages import last_stage
from ..engine.stages.actions import ACTION, action_of, budget_of
from ..errors import located
from ..random_stream import random_state_kept
from ..teachers import without_pretrained
from ..teachers.checkpoints import load_strictly, weights_of
from .example_images import noise_images
from .export import build_plain, check_suffix, write_student


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


def run_action(cfg: Config) -> dict[str, str]:
    """Do what a stage says that does not train, in its ``work_dir``.

    Args:
        cfg: of the stage: the student's, with its action.

    Returns: names of the files that it left, by output.
    Raises: as :func:`prune_student` and :func:`plan_student_of`.
    """
    name, options = action_of(cfg)
    checkpoint = options['checkpoint']
    cfg = copy.deepcopy(cfg)
    cfg.pop(ACTION)
    with located(name):
        if name == 'plan':
            rest = {key: options[key] for key in ('parts', 'shape') if key in options}
            written = plan_student_of(
                cfg, checkpoint, Path(cfg.work_dir, 'planned.py'), **rest
            )
            return {'config': written.name}
        keys = ('importance', 'keep', 'shape', 'seed')
        pruned = prune_student(
            cfg,
            checkpoint,
            Path(cfg.work_dir, 'pruned.pth').absolute(),
            budget_of(options),
            **{key: options[key] for key in keys if key in options},
        )
    weights = pruned.weights.name
    return {'config': pruned.config.name, 'student': weights, 'checkpoint': weights}


def plan_student_of(
    cfg: str | Config,
    checkpoint: str,
    out: Path,
    *,
    parts: Sequence[str] = ('backbone', 'neck'),
    shape: Sequence[int] | None = None,
) -> Path:
    """Write the config of a student that is as wide as what a sparse teacher has left.

    Args:
        cfg: of the teacher.
        checkpoint: of it, with zeros among its weights.
        out: file of the config.
        parts: see :func:`~kd_plugins.compression.pruning.plan_student`.
        shape: as of :func:`prune_student`.

    Returns: the file.
    Raises: ConfigError, CheckpointError.
    """
    cfg, model, images, _ = _opened(cfg, checkpoint, shape, 0)
    planned = plan_student(model, images, parts)
    narrower = _narrower(cfg, planned)
    build_plain(narrower)  # it does
    with files.written(out) as part:
        part.write_text(config_text(narrower))
    before, after = (
        sum(each.numel() for each in one.parameters()) for one in (model, planned)
    )
    print_log(
        f'The student planned by {checkpoint} has {after / 1e6:.3f} M parameters, its '
        f'teacher {before / 1e6:.3f}; its config is {out}.',
        'current',
    )
    return out


def prune_student(
    config: str | Config,
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
    cfg, model, images, content = _opened(config, checkpoint, shape, seed)
    pruned = prune_channels(
        model, images, budget, importance=importance, keep=keep, seed=seed
    )
    narrower = _narrower(cfg, pruned.model)
    narrower.load_from = str(out)
    _check(narrower, pruned, images)
    written = write_student(
        narrower, pruned.model.state_dict(), out, content.get('meta') or {}
    )
    result = PrunedStudent(out, written, pruned.flops, pruned.params, pruned.kept)
    print_log(result.describe(), 'current')
    return result


def _opened(
    config: str | Config, checkpoint: str, shape: Sequence[int] | None, seed: int
) -> tuple[Config, Any, Tensor, dict[str, Any]]:
    """The config of a student, its model with its weights, an image, the checkpoint."""
    cfg = last_stage(read_config(config)) if isinstance(config, str) else config
    cfg = student_config(cfg)
    with located('checkpoint'):
        content = read_checkpoint(checkpoint)
    weights = weights_of(content, source=checkpoint, key='checkpoint')
    with random_state_kept():
        torch.manual_seed(seed)
        model: Any = build_plain(cfg)
    load_strictly(model, weights, 'checkpoint')
    return cfg, model, noise_images(cfg, shape), content


def _narrower(cfg: Config, pruned: nn.Module) -> Config:
    """A config with the model that was pruned, or planned."""
    narrower = copy.deepcopy(cfg)
    whole = Config({**cfg.to_dict(), 'model': whole_model(cfg.model)})
    channels = channels_of(build_plain(whole), pruned)
    # What would load the weights of the whole model: they no longer fit.
    narrower.model = narrowed_model(without_pretrained(cfg.model), channels)
    narrower.load_from, narrower.resume, narrower.launcher = None, False, 'none'
    narrower.pop('work_dir', None)
    return narrower


def _check(cfg: Config, pruned: Pruned, images: Tensor) -> None:
    rebuilt: Any = build_plain(cfg).eval()
    load_strictly(rebuilt, pruned.model.state_dict(), 'the pruned model')
    check_same(pruned.model, rebuilt, images)
