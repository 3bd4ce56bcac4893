"""Post-training quantisation of a student, for ``tools/quantize.py``."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.logging import print_log

from ..checkpoints import read_checkpoint
from ..checks import check_int
from ..compression.quantization import (
    calibrate,
    quantized_layers,
)
from ..config_files import imports_for
from ..distillers.interface import unwrap
from ..distillers.student import student_config
from ..engine.stages import last_stage
from ..errors import ConfigError, located
from ..teachers.checkpoints import load_strictly, weights_of
from .export import check_suffix, write_student
from .training_batches import on_training_batches

_KIND = 'kd_plugins.Quantized'


def quantized_config(cfg: Config, float_layers: Sequence[str] = ()) -> Config:
    """The config of a student, quantised to 8 bits; as it is, if it is quantised.

    Args:
        cfg: of a distillation, whose student counts, or of a model.
        float_layers: dotted names or globs of layers that stay float.

    Raises: ConfigError if ``float_layers`` are given for one that is quantised.
    """
    plain = student_config(last_stage(cfg))
    if plain.model.get('type') == _KIND:
        if float_layers:
            raise ConfigError(
                'the config quantises its model already: expected float_layers there, '
                'got --float-layers too. Set model.float_layers.'
            )
        return plain
    content = plain.to_dict()
    content['model'] = dict(type=_KIND, model=content['model'])
    if float_layers:
        content['model']['float_layers'] = list(float_layers)
    imports = imports_for(content)
    return Config({**content, **({'custom_imports': imports} if imports else {})})


def quantize(
    cfg: Config,
    checkpoint: str,
    out: str | Path,
    *,
    batches: int = 16,
    float_layers: Sequence[str] = (),
) -> dict[str, Any]:
    """Calibrate a trained student, and write it with the ranges of what layers read.

    The ranges are those of the first batches of the training, with its augmentation, as
    the student predicts on them.

    Args:
        cfg: as ``prepare_config`` gives it; of a distillation the student counts.
        checkpoint: of training, of the student, or exported; read safely and loaded
            strictly.
        out: ``.pth`` or ``.safetensors``; its config takes its name, with ``.py``.
        batches: to calibrate on, >= 1.
        float_layers: dotted names or globs of layers that stay float.

    Returns: ``layers``, ``batches``, how many; ``config``, its path.
    Raises: ConfigError, CheckpointError.
    """
    out = Path(out)
    check_suffix(out)
    check_int('--calibrate', batches)
    quantized = quantized_config(cfg, float_layers)
    with located('checkpoint'):
        content = read_checkpoint(checkpoint)
    weights = weights_of(content, source=checkpoint, key='checkpoint')
    model: Any = None
    seen = 0

    def measure(runner: Any) -> None:
        nonlocal model, seen
        model = unwrap(runner.model)
        load_strictly(model, weights, 'checkpoint')
        seen = calibrate(model, runner.train_loop.dataloader, batches)

    on_training_batches(Config(quantized.to_dict()), measure, seed=0)
    meta = content.get('meta') or {}
    written = write_student(quantized, model.state_dict(), out, meta)
    layers = len(quantized_layers(model))
    print_log(
        f'{layers} layers, calibrated on {seen} batches: {out}, its config {written}.',
        'current',
    )
    return {'layers': layers, 'batches': seen, 'config': written}
