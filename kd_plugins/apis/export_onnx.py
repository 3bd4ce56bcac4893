"""The student as an ONNX file that gives what torch gives."""

import copy
import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from mmengine.logging import print_log
from mmengine.registry import DATASETS

from .. import __version__
from ..checks import check_int
from ..compression.quantization import int8_copy, quantized_layers, store_int8
from ..deployment.compare import Difference, Tolerances, compare
from ..deployment.exporter import save_onnx, to_onnx
from ..deployment.families import graph_of
from ..deployment.images import cut
from ..deployment.metadata import DETECTION, Metadata
from ..deployment.preprocessing import input_format
from ..deployment.scored import OnnxPredictor
from ..deployment.session import OnnxFile
from ..engine import files
from ..engine.data_files import missing_data_named
from ..engine.opening import make_ready
from ..errors import ConfigError, located
from ..host_types import HostModule
from ..tables import table_lines
from ..visualization.images import first_images
from .export import load_student

# What lies between two whole numbers is rounded to one or to the other by the last bit
# of a sum, and each layer reads what the one before it rounded.
_INT8 = Tolerances(box=1.0, score=0.1, other_boxes=0.1, logits=0.1, other_pixels=0.02)


def export_onnx(
    checkpoint: str,
    out: str | Path,
    *,
    config: str | None = None,
    peer: str | None = None,
    size: Sequence[int] | None = None,
    dynamic: bool = False,
    batch_size: int = 1,
    dense: bool = False,
    check: int = 10,
) -> list[Difference]:
    """Write the student of any checkpoint as ONNX, run the file, and compare.

    Args:
        checkpoint: of a distillation or of the student; read safely.
        out: ``.onnx``.
        config: of the distillation or of the student; default: that in the checkpoint.
        peer: of models that learned together, the name of one.
        size: height and width of the images; default: of the first validation image.
        dynamic: height and width are free; of segmentors and dense outputs the number
            of images, too.
        batch_size: number of images a run, where it is not free.
        dense: of a one-stage detector what the head says, not boxes.
        check: number of validation images, of the config's test data, on which the
            file is compared with torch; 0: it is not.

    Returns: what the comparison found; empty without one.

    Raises: ConfigError, CheckpointError; also if the file differs from torch by more
        than :class:`~kd_plugins.deployment.compare.Tolerances` allow: it is not
        written then.
    """
    out = Path(out)
    if out.suffix != '.onnx':
        raise ConfigError(f"out must end with .onnx, got '{out}'.")
    check_int('--check', check, 0)
    check_int('--batch-size', batch_size)
    student = load_student(checkpoint, config=config, peer=peer)
    return export_model(
        student.model,
        student.cfg,
        out,
        classes=student.weights.classes,
        size=size,
        dynamic=dynamic,
        batch_size=batch_size,
        dense=dense,
        check=check,
    )


def export_model(
    model: HostModule,
    cfg: Config,
    out: Path,
    *,
    classes: Sequence[str] | None = None,
    size: Sequence[int] | None = None,
    dynamic: bool = False,
    batch_size: int = 1,
    dense: bool = False,
    check: int = 10,
    tolerances: Tolerances | None = None,
) -> list[Difference]:
    """Likewise, of a model that is built.

    Args:
        model: of a host, with its weights.
        cfg: its config, for the test data.
        out: ``.onnx``.
        classes: their names; default: those of the test data.
        tolerances: how far the file may be from torch; default: those of float32, or of
            int8.

    Other arguments: as of :func:`export_onnx`.
    """
    model = model.cpu().eval()
    sides = _sides(size)
    items, names = _test_data(cfg, max(check, 0 if sides else 1))
    names = names if classes is None else classes
    sides = sides or list(items[0]['inputs'].shape[1:])
    preprocessor: HostModule = model.data_preprocessor
    layers = quantized_layers(model)
    with located('checkpoint'):
        copied = int8_copy(model)
    graph = graph_of(copied, dense=dense, dynamic=dynamic).eval()
    free = graph.free_axes()['image'] if dynamic else {}
    metadata = Metadata(
        task=graph.task,
        model=type(model).__name__,
        classes=None if names is None else [str(name) for name in names],
        **input_format(preprocessor)._asdict(),
        size=None if dynamic else sides,
        batch_size=None if 0 in free else batch_size,
        score_threshold=_score_threshold(model, graph.task),
        version=__version__,
        torch=torch.__version__,
    )
    channels = items[0]['inputs'].shape[0] if items else max(len(metadata.mean), 3)
    example = torch.zeros(batch_size, channels, *sides)
    exported = to_onnx(graph, example, dynamic=dynamic)
    if layers:
        store_int8(exported)
    out.parent.mkdir(parents=True, exist_ok=True)
    with files.written(out) as part:
        save_onnx(exported, metadata, part)
        found = []
        if check:
            items = items[:check]
            if dynamic:  # the data set may have images of one size only
                items += [cut(item) for item in items[:2]]
            predictor = OnnxPredictor(OnnxFile(part), model)
            if tolerances is None:
                tolerances = _INT8 if layers else Tolerances()
            found = compare(predictor, model, items, tolerances)
            _report(found, len(items))
            checked = {row.name: row.value for row in found}
            save_onnx(exported, dataclasses.replace(metadata, checked=checked), part)
    megabytes = out.stat().st_size / 2**20
    unchecked = '' if check else ', not compared with torch'
    print_log(f'The student is {out}, {megabytes:.1f} MB{unchecked}.', 'current')
    return found


def _sides(size: Sequence[int] | None) -> list[int] | None:
    if size is None:
        return None
    if len(size) != 2:
        raise ConfigError(f'--size must be a height and a width, got {list(size)}.')
    return [check_int('--size', side) for side in size]


def _test_data(
    cfg: Config, number: int
) -> tuple[list[dict[str, Any]], Sequence[str] | None]:
    """The first images of the test data, and the names of its classes."""
    if number == 0:
        return [], None
    if cfg.get('test_dataloader') is None:
        raise ConfigError(
            'the file is compared with torch on images of the config, which has no '
            'test_dataloader. Give a config that has one (--config), or --check 0 and '
            'the --size of the images.'
        )
    make_ready(cfg)
    with missing_data_named('test_dataloader'):
        dataset = DATASETS.build(copy.deepcopy(cfg.test_dataloader.dataset))
    metainfo = getattr(dataset, 'metainfo', None) or {}
    return first_images(dataset, min(number, len(dataset))), metainfo.get('classes')


def _score_threshold(model: Any, task: str) -> float | None:
    if task != DETECTION:
        return None
    cfg = model.test_cfg.get('rcnn') or model.test_cfg
    return float(cfg.get('score_thr', 0))


def _report(found: Sequence[Difference], images: int) -> None:
    """Print the comparison.

    Raises: ConfigError for what is over its tolerance.
    """
    rows = [
        [row.name, f'{row.value:.1e}', f'{row.tolerance:.0e}', f'{row.compared:,}']
        for row in found
    ]
    head = ['ONNX Runtime beside torch', 'largest difference', 'tolerance', 'compared']
    text = '\n'.join(table_lines(head, rows))
    print_log(f'Compared on {images} images:\n{text}', 'current')
    over = [row for row in found if not row.passes]
    if over:
        said = ', '.join(
            f'{row.name} {row.value:.2g} (at most {row.tolerance:g})' for row in over
        )
        raise ConfigError(
            f'the ONNX file does not give what torch gives: {said}. It is not written.'
        )
