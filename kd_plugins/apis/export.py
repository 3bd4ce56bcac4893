"""The student by itself: weights and config that plain mmdet or mmseg takes."""

import json
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple, cast

import numpy as np
from mmengine.config import Config
from mmengine.logging import print_log
from mmengine.registry import MODELS, DefaultScope
from torch import Tensor, nn

from ..checkpoints import CHECKSUM, checksum_of, read_checkpoint, state_dict_of
from ..compression.pruning import config_text
from ..config_files import read_config
from ..distillers.student import peer_of, student_config
from ..engine import files
from ..engine.stages import last_stage
from ..errors import ConfigError, located
from ..host_types import HostModule
from ..teachers import without_pretrained
from ..teachers.checkpoints import (
    Weights,
    load_strictly,
    peer_prefix,
    peers_in,
    weights_of,
)
from .stored_config import check_types, stored_config

_KEY = 'checkpoint'
_META = ('epoch', 'iter', 'seed', 'experiment_name', 'time', 'dataset_meta')


def export_student(
    checkpoint: str,
    out: str | Path,
    *,
    config: str | None = None,
    peer: str | None = None,
) -> Path:
    """Write the student of any checkpoint, and its own config beside it.

    Args:
        checkpoint: of a distillation or of the student; read safely.
        out: ``.pth`` or ``.safetensors``; the config takes its name, with ``.py``.
        config: of the distillation or of the student, of several stages the last one
            counts; default: that in the checkpoint, as far as it is plain data.
        peer: of models that learned together, the name of one; default: that which is
            deployed.

    Returns: path of the config.

    Raises: CheckpointError, ConfigError; among others if the weights do not fit, each
        and all, the plain model of that config.
    """
    out = Path(out)
    check_suffix(out)
    student = load_student(checkpoint, config=config, peer=peer)
    cfg = student.cfg
    cfg.load_from, cfg.resume, cfg.launcher = None, False, 'none'
    cfg.pop('work_dir', None)
    written = write_student(cfg, student.weights, out, student.meta)
    print_log(f'The student is {out}, its config {written}.', 'current')
    return written


class Student(NamedTuple):
    """A student out of a checkpoint.

    Args:
        model: the plain model, with its weights.
        cfg: its own config.
        weights: as they were read.
        meta: of the checkpoint.
    """

    model: HostModule
    cfg: Config
    weights: Weights
    meta: Mapping[str, Any]


def load_student(
    checkpoint: str, *, config: str | None = None, peer: str | None = None
) -> Student:
    """The plain student of any checkpoint; arguments as of :func:`export_student`.

    Raises: CheckpointError, ConfigError; among others if the weights do not fit, each
        and all, the plain model of that config.
    """
    with located(_KEY):
        content = read_checkpoint(checkpoint)
    whole = (
        stored_config(content, checkpoint)
        if config is None
        else last_stage(read_config(config, '--config'))
    )
    name = peer_of(whole, peer)
    prefix = None
    if name is not None and peers_in(state_dict_of(content, checkpoint)):
        prefix = peer_prefix(name)
    weights = weights_of(content, source=checkpoint, key=_KEY, prefix=prefix)
    cfg = student_config(whole, peer)
    if config is None:
        check_types(cfg.model, checkpoint)
    model = build_plain(cfg)
    load_strictly(model, weights, _KEY)
    return Student(cast(HostModule, model), cfg, weights, content.get('meta') or {})


def check_suffix(out: Path) -> None:
    """Refuse a file of another kind than is written; ConfigError."""
    if out.suffix not in ('.pth', '.safetensors'):
        raise ConfigError(f"out must end with .pth or .safetensors, got '{out}'.")


def write_student(
    cfg: Config, weights: Mapping[str, Tensor], out: Path, meta: Mapping[str, Any]
) -> Path:
    """Write weights, and beside them the config that builds their model.

    Args:
        cfg: plain, of the student alone.
        weights: by name.
        out: ``.pth`` or ``.safetensors``.
        meta: of the checkpoint that they are from; what is plain of it is kept.

    Returns: path of the config.
    """
    kept = {name: _plain(meta.get(name)) for name in _META}
    out.parent.mkdir(parents=True, exist_ok=True)
    _write(weights, {**kept, 'cfg': cfg.pretty_text}, out)
    written = out.with_suffix('.py')
    with files.written(written) as part:
        part.write_text(config_text(cfg))
    return written


def build_plain(cfg: Config) -> nn.Module:
    """The model of a plain config, as its host builds it; weights not initialised."""
    with DefaultScope.overwrite_default_scope(cfg.get('default_scope')):
        model: nn.Module = MODELS.build(without_pretrained(cfg.model))
    return model


def _write(weights: Mapping[str, Tensor], meta: Mapping[str, Any], out: Path) -> None:
    metadata = {name: value for name, value in meta.items() if value is not None}
    if out.suffix == '.pth':
        state = OrderedDict(weights)
        state._metadata = getattr(weights, '_metadata', None)  # type: ignore[attr-defined]
        files.save({'meta': metadata, 'state_dict': state}, out)
        return
    from safetensors.torch import save

    header = {
        name: value if isinstance(value, str) else json.dumps(value)
        for name, value in metadata.items()
    }
    tensors = {name: value.clone().contiguous() for name, value in weights.items()}
    header = {'format': 'pt', **header}
    header[CHECKSUM] = checksum_of(tensors, header)
    with files.written(out) as part:
        # Not `save_file`: its files are for their owner alone.
        part.write_bytes(save(tensors, header))


def _plain(value: object) -> Any:
    """Containers, text and numbers; anything else, which a reader may refuse, None."""
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(_plain(item) for item in value)
    if isinstance(value, (np.ndarray, np.generic)):
        return value.tolist()
    return value if isinstance(value, (str, int, float, bool)) else None
