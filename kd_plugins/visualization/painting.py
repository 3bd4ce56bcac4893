"""Panels by the hosts' visualizers: heat maps, boxes, masks, label maps."""

import inspect
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from mmengine.structures import InstanceData, PixelData
from mmengine.visualization import Visualizer
from PIL import Image, ImageDraw
from torch import Tensor

from ..evaluation.fidelity.boxes import plain_boxes
from ..extras import extra
from ..host_types import DataSample
from .drawing import (
    LEGEND,
    Objects,
    font,
    mark_predictions,
    mark_truth,
    paint,
)
from .layout import Colour

_NAME = 'kd_plugins_pictures'  # not that of the run's visualizer
_REPLACED = ('type', 'name', 'vis_backends', 'save_dir')
_UNKNOWN = (200, 200, 200)
_LINE, _BAR = 24, 256  # height of a scale, width of its colours


def paint_heat(heat: Tensor, low: float, high: float) -> Image.Image:
    """The host's ``draw_featmap``, on a given scale.

    Args:
        heat: (H, W); numbers that are not finite are grey.
        low: value of the darkest blue.
        high: value of the darkest red.
    """
    ends = torch.tensor([low, high]).expand(len(heat), 2)
    finite = heat.isfinite()
    clamped = heat.where(finite, torch.full_like(heat, low)).clamp(low, high)
    # The host scales a map by its extremes: two more columns hold both ends.
    drawn = Visualizer.draw_featmap(torch.cat([clamped, ends], dim=1)[None])[:, :-2]
    drawn[~finite.numpy()] = _UNKNOWN
    return Image.fromarray(np.ascontiguousarray(drawn))


def scale_lines(scales: Mapping[str, tuple[float, float]]) -> list[Image.Image]:
    """Colour scales, each with a text, a low and a high value.

    Args:
        scales: low and high value, by text.
    """
    letters, middle = font(13), _LINE // 2
    left = 90 + max((int(letters.getlength(text)) for text in scales), default=0)
    lines = []
    for text, (low, high) in scales.items():
        line = Image.new('RGB', (left + _BAR + 90, _LINE), 'white')
        draw = ImageDraw.Draw(line)
        for x, anchor, written in (
            (6, 'lm', text),
            (left, 'rm', f'{low:.3g}'),
            (left + _BAR + 16, 'lm', f'{high:.3g}'),
        ):
            draw.text((x, middle), written, 'black', letters, anchor)
        gradient = torch.linspace(0, 1, _BAR).expand(_LINE - 10, -1)
        line.paste(paint_heat(gradient, 0, 1), (left + 8, 5))
        lines.append(line)
    return lines


class PredictionPainter:
    """Draws data samples by the visualizer of a run, or of the host.

    Args:
        kind: class of the visualizer.
        cfg: its configuration, without the backends.
        metainfo: of the data set: class names, and colours.
        score_thr: lowest score of a detection that is drawn.
    """

    def __init__(
        self,
        kind: type,
        cfg: Mapping[str, Any] | None,
        metainfo: Mapping[str, Any],
        score_thr: float,
    ) -> None:
        self._kind: Any = kind
        self._options = {
            key: value for key, value in (cfg or {}).items() if key not in _REPLACED
        }
        self._metainfo = dict(metainfo)
        self._score_thr = score_thr

    def paint(
        self,
        image: Image.Image,
        sample: DataSample,
        what: str,
        classes: Sequence[str] | None = None,
        annotated: DataSample | None = None,
    ) -> tuple[Image.Image, dict[str, Colour]]:
        """A panel, and its legend.

        Boxes with ground truth are drawn as right, wrong or missed; the visualizer
        draws everything else.

        Args:
            image: of the panel's size.
            sample: data sample of the host.
            what: the part to draw, 'gt' or 'pred'.
            classes: names of another model's classes; None: those of the data.
            annotated: data sample with the ground truth; None: there is none.
        """
        size = (image.height, image.width)
        fitted = fit_sample(sample, size, what)
        names = self._metainfo.get('classes')
        if classes is None and names is not None and annotated is not None:
            truth = _objects(fit_sample(annotated, size, 'gt'), 'gt')
            predicted = _objects(fitted, what, self._score_thr)
            if truth is not None and predicted is not None:
                marks = (
                    mark_truth(truth, names)
                    if what == 'gt'
                    else mark_predictions(predicted, truth, names)
                )
                return paint(image, marks), dict(LEGEND)
        visualizer = self._visualizer(fitted)
        visualizer.dataset_meta = self._meta(classes)
        options: dict[str, Any] = dict(draw_gt=what == 'gt', draw_pred=what == 'pred')
        accepted = inspect.signature(visualizer.add_datasample).parameters
        extra = {'pred_score_thr': self._score_thr, 'with_labels': False}
        options |= {key: value for key, value in extra.items() if key in accepted}
        # Without backends it only draws the image.
        visualizer.add_datasample('panel', np.array(image), fitted, **options)
        drawn = np.ascontiguousarray(visualizer.get_image())
        return Image.fromarray(drawn), self._colours(fitted, what, classes)

    def _colours(
        self, sample: DataSample, what: str, classes: Sequence[str] | None
    ) -> dict[str, Colour]:
        """Colours of the classes in a label map, which is drawn without names."""
        if f'{what}_sem_seg' not in sample:
            return {}
        meta = self._meta(classes)
        names, palette = meta['classes'], meta['palette']
        return {
            str(names[label]): palette[label]
            for label in _labels(sample, what).unique().tolist()
            if label < len(names)
        }

    def _visualizer(self, sample: DataSample) -> Any:
        if self._kind is not Visualizer:
            return self._kind(name=_NAME, **self._options)
        # mmengine's own class draws no data samples.
        if 'gt_sem_seg' in sample or 'pred_sem_seg' in sample:
            from mmseg.visualization import SegLocalVisualizer

            return SegLocalVisualizer(name=_NAME)
        from mmdet.visualization import DetLocalVisualizer

        return DetLocalVisualizer(name=_NAME)

    def _meta(self, classes: Sequence[str] | None) -> dict[str, Any]:
        """Names and colours of classes; equal names have equal colours."""
        data_names = self._metainfo.get('classes')
        palette = self._metainfo.get('palette')
        names = data_names if classes is None else classes
        if names is None:
            return {'classes': None, 'palette': palette}
        by_name: dict[str, Colour] = {}
        if data_names is not None and isinstance(palette, (list, tuple)):
            for name, (red, green, blue) in zip(data_names, palette, strict=False):
                by_name[name] = (int(red), int(green), int(blue))
        with extra('report', 'a picture of classes'):
            import matplotlib
        table = matplotlib.colormaps['tab20'](range(20), bytes=True)
        cycle = [tuple(row[:3]) for row in table.tolist()]
        colours = [
            by_name.get(name, cycle[number % len(cycle)])
            for number, name in enumerate(names)
        ]
        return {'classes': names, 'palette': colours}


def fit_sample(sample: DataSample, size: tuple[int, int], what: str) -> Any:
    """A data sample scaled to the size of its panel.

    Args:
        sample: its instances and label maps in pixels of the original image.
        size: height and width.
        what: the part to keep, 'gt' or 'pred'.
    """
    kind: Any = type(sample)
    fitted = kind(metainfo=sample.metainfo)
    if f'{what}_instances' in sample and 'bboxes' in sample.get(f'{what}_instances'):
        instances = sample.get(f'{what}_instances')
        shape = sample.metainfo.get('ori_shape', sample.metainfo['img_shape'])
        factors = [new / old for new, old in zip(size, shape[:2], strict=True)]
        boxes = plain_boxes(instances.bboxes).cpu()
        kept = InstanceData(
            # As numpy arrays: with tensors, new versions of numpy warn about mmdet.
            bboxes=(boxes * boxes.new_tensor([*reversed(factors)] * 2)).numpy(),
            labels=instances.labels.cpu(),
        )
        if 'scores' in instances:
            kept.scores = instances.scores.cpu()
        if 'masks' in instances:
            kept.masks = _fit_masks(instances.masks, size)
        setattr(fitted, f'{what}_instances', kept)
    if f'{what}_sem_seg' in sample:
        labels = PixelData(data=_fit(_labels(sample, what), size))
        setattr(fitted, f'{what}_sem_seg', labels)
    return fitted


def _objects(sample: DataSample, what: str, score_thr: float = 0.0) -> Objects | None:
    """Boxes of at least this score; None without boxes, or for predicted masks."""
    instances = sample.get(f'{what}_instances', {})
    if 'bboxes' not in instances or (what == 'pred' and 'masks' in instances):
        return None
    if 'scores' in instances:
        instances = instances[instances.scores >= score_thr]
    scores = instances.get('scores')
    return Objects(
        instances.bboxes.astype(float),
        instances.labels.numpy(),
        None if scores is None else scores.numpy().astype(float),
    )


def _labels(sample: DataSample, what: str) -> Tensor:
    """A label map (1, H, W)."""
    maps = sample.get(f'{what}_sem_seg')
    # mmdet's panoptic models use another name.
    labels: Tensor = maps.get('data' if 'data' in maps else 'sem_seg')
    return labels.cpu()


def _fit_masks(masks: Any, size: tuple[int, int]) -> Any:
    if isinstance(masks, Tensor):
        return _fit(masks.cpu(), size).bool() if len(masks) else masks.cpu()
    return masks.resize(size)  # of the host's mask types


def _fit(maps: Tensor, size: tuple[int, int]) -> Tensor:
    """Maps (R, H, W) at another size, by the nearest pixel."""
    resized = F.interpolate(maps[None].float(), size, mode='nearest-exact')
    return resized[0].to(maps.dtype)
