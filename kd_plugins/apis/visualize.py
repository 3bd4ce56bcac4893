"""Pictures of a distillation on disk, for ``tools/visualize.py``."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.dataset import BaseDataset
from mmengine.device import get_device
from mmengine.logging import print_log
from mmengine.registry import DATASETS, VISUALIZERS

from ..checks import check_float, check_int
from ..distillers import Distiller
from ..distillers.loading import load_any
from ..distillers.peers import check_no_peers
from ..engine.data_files import missing_data_named
from ..engine.opening import make_ready
from ..engine.stages import last_stage
from ..errors import ConfigError, located
from ..registry import MODELS
from ..visualization.images import first_images, image_files
from ..visualization.maps import choose_pairs
from ..visualization.pages import Column, class_names, left_out, make_pages
from ..visualization.painting import PredictionPainter
from ..visualization.shots import take_shots
from .train import prepare_config


def visualize(
    config: str | Path,
    out: Path,
    *,
    checkpoint: str | None = None,
    before: str | None = None,
    pairs: Sequence[str] | None = None,
    images: Sequence[str] = ('2',),
    score: float = 0.3,
    options: Mapping[str, Any] | None = None,
) -> list[Path]:
    """Write ``predictions.png``, and ``maps_<pair>.png`` for each pair that has maps.

    Args:
        config: of a distillation.
        out: folder of the pictures.
        checkpoint: after distillation: of a training of this config; or of the student
            alone, whose maps are then shown without adapters.
        before: likewise, before distillation; None: the start of the training, from
            ``load_from`` or the initial weights.
        pairs: names; None for all.
        images: one number, of the first images of the test set; or paths of files.
        score: the lowest score of a detection that is drawn.
        options: dotted keys to values, for the config.

    Returns: paths of the written pictures.
    Raises: ConfigError, CheckpointError.
    """
    check_float('--score', score)
    cfg = last_stage(prepare_config(config, options=options))
    make_ready(cfg)
    check_no_peers(cfg.model, 'tools/visualize.py')
    distiller = _build(cfg)
    shown = choose_pairs(distiller, pairs)
    with missing_data_named('test_dataloader'):
        dataset = DATASETS.build(cfg.test_dataloader.dataset)
    items = _items(dataset, images)
    metainfo = getattr(dataset, 'metainfo', None) or {}
    if metainfo.get('classes') is not None:
        distiller.set_class_names([str(name) for name in metainfo['classes']])
    _load_start(distiller, cfg, before)
    columns = []
    start = 'student, at the start' if before is None else 'student, before'
    columns.append(Column(start, take_shots(distiller, items, shown)))
    if checkpoint is not None:
        whole = load_any(distiller, checkpoint, '--checkpoint') is not None
        adapted = 'after, adapted' if whole else ''
        shots = take_shots(distiller, items, shown)
        columns.append(Column('student, after', shots, adapted))
        if not whole and any(pair.name in distiller.adapters for pair in shown):
            print_log(
                f'{checkpoint} holds the student alone: its maps are shown as they '
                'are, not behind the adapters. Give the checkpoint of the training.',
                'current',
            )
    without = left_out(shown, columns[0])
    if without:
        print_log(without, 'current')
    drawing = cfg.get('visualizer') or {'type': 'Visualizer'}
    with VISUALIZERS.switch_scope_and_registry(None) as registry:
        kind = registry.get(drawing['type'])
    if kind is None:
        raise ConfigError(f"visualizer.type: there is no '{drawing['type']}'.")
    painter = PredictionPainter(kind, drawing, metainfo, score)
    pages = make_pages(columns, painter, class_names(distiller))
    out.mkdir(parents=True, exist_ok=True)
    for name, page in pages.items():
        page.save(out / f'{name}.png', optimize=True)
    return [out / f'{name}.png' for name in pages]


def _build(cfg: Config) -> Distiller:
    if 'model' not in cfg or 'test_dataloader' not in cfg:
        raise ConfigError(
            'the config needs a model of type kd_plugins.Distiller and a '
            f'test_dataloader, got the keys {sorted(cfg)}.'
        )
    model = MODELS.build(cfg.model)
    if not isinstance(model, Distiller):
        raise ConfigError(
            "model.type: there are no pairs to show in a model of type '"
            f"{type(model).__name__}', expected 'kd_plugins.Distiller'."
        )
    model.to(get_device())
    return model


def _load_start(distiller: Distiller, cfg: Config, before: str | None) -> None:
    if before is not None:
        load_any(distiller, before, '--before')
    elif cfg.get('load_from'):
        load_any(distiller, cfg.load_from, 'load_from')
    else:
        distiller.init_weights()


def _items(dataset: BaseDataset, images: Sequence[str]) -> list[dict[str, Any]]:
    if len(images) == 1 and images[0].lstrip('-').isdigit():
        number = check_int('--images', int(images[0]))
        assert number is not None
        with located('--images'):
            return first_images(dataset, number)
    return image_files(dataset, images)
