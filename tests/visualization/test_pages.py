"""Pages: their panels, one colour scale, what is drawn of a prediction."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from mmdet.structures import DetDataSample
from mmengine.structures import InstanceData, PixelData
from mmengine.visualization import Visualizer
from mmseg.structures import SegDataSample
from PIL import Image

from kd_plugins.apis.visualize import class_names
from kd_plugins.visualization.drawing import COLOURS
from kd_plugins.visualization.maps import choose_pairs
from kd_plugins.visualization.pages import Column, make_pages
from kd_plugins.visualization.painting import PredictionPainter, fit_sample, paint_heat
from kd_plugins.visualization.shots import Heat, Shot, take_shots

from .made import TASKS
from .test_maps import build, items

pytestmark = pytest.mark.host
BLUE, RED = (0, 0, 128), (128, 0, 0)  # the ends of the host's colours
PANEL, GAP, HEADER = 256, 6, 26


def painter(**metainfo: Any) -> PredictionPainter:
    return PredictionPainter(Visualizer, None, metainfo, 0.3)


def shot(*heats: Heat, sample: Any = None) -> Shot:
    """A black image of 64x64."""
    sample = sample or DetDataSample(metainfo=dict(img_shape=(64, 64)))
    black = np.zeros((64, 64, 3), np.uint8)
    return Shot(black, (64, 64), sample, sample, dict(teacher=sample), list(heats))


def flat(value: float) -> torch.Tensor:
    return torch.full((256, 256), value)


def heat_of(teacher: float, student: float, **changes: Any) -> Heat:
    options: dict[str, Any] = dict(
        pair='hint', level='neck', quantity='mean |activation|', adapted=None
    )
    maps = dict(teacher=flat(teacher), student=flat(student))
    return Heat(**(options | maps | changes))


def centre(page: Image.Image, column: int, row: int = 0) -> Any:
    left = GAP + column * (PANEL + GAP) + PANEL // 2
    return page.getpixel((left, HEADER + row * (PANEL + GAP) + PANEL // 2))


def page_of(*students: Column) -> Image.Image:
    return make_pages(students, painter(), dict(teacher=None))['maps_hint']


def test_colours_are_those_of_the_host_on_the_given_scale() -> None:
    heat = torch.tensor([[1.0, 3.0], [2.0, torch.nan]])
    drawn = np.asarray(paint_heat(heat, 1.0, 3.0))
    by_host = Visualizer.draw_featmap(torch.tensor([[[1.0, 3.0], [2.0, 1.0]]]))
    assert (drawn[0] == by_host[0]).all() and (drawn[1, 0] == by_host[1, 0]).all()
    assert tuple(drawn[0, 0]) == BLUE and tuple(drawn[0, 1]) == RED
    assert tuple(drawn[1, 1]) == (200, 200, 200)
    half = np.asarray(paint_heat(heat[:, :1], 1.0, 5.0))  # its own extremes are 1 and 2
    assert tuple(half[0, 0]) == BLUE and tuple(half[1, 0]) not in (BLUE, RED)


def test_one_scale_for_all_images_and_models_of_a_level() -> None:
    before = Column('before', [shot(heat_of(1, 1)), shot(heat_of(2, 5))])
    after = Column('after', [shot(heat_of(1, 2)), shot(heat_of(2, 1))])
    page = page_of(before, after)
    assert page.width == 4 * (PANEL + GAP) + GAP
    assert page.height == HEADER + 2 * (PANEL + GAP) + 24
    assert centre(page, 1) == centre(page, 2) == centre(page, 3, 1) == BLUE
    assert centre(page, 2, 1) == RED
    assert centre(page, 3) == centre(page, 1, 1) not in (BLUE, RED)


def test_levels_have_scales_of_their_own() -> None:
    heats = [heat_of(1, 2, level='neck[0]'), heat_of(10, 30, level='neck[1]')]
    page = page_of(Column('student', [shot(*heats)]))
    assert page.height == HEADER + 2 * (PANEL + GAP) + 2 * 24
    assert centre(page, 1) == centre(page, 1, 1) == BLUE
    assert centre(page, 2) == centre(page, 2, 1) == RED


def test_probabilities_lie_between_0_and_1_whatever_there_is() -> None:
    heat = heat_of(0.0, 1e-3, quantity='highest probability')
    page = page_of(Column('student', [shot(heat)]))
    assert centre(page, 1) == centre(page, 2) == BLUE


def test_maps_behind_an_adapter_have_a_column_where_it_is_the_trained_one() -> None:
    heat = heat_of(1, 2, adapted=flat(3))
    shown = page_of(Column('student', [shot(heat)], adapted='adapted'))
    assert shown.width == 4 * (PANEL + GAP) + GAP
    assert centre(shown, 3) == RED
    assert page_of(Column('student', [shot(heat)])).width == 3 * (PANEL + GAP) + GAP
    without = page_of(Column('student', [shot(heat_of(1, 2))], adapted='adapted'))
    assert without.width == 3 * (PANEL + GAP) + GAP


@pytest.mark.parametrize('task', TASKS)
def test_pages_of_each_task(task: str) -> None:
    model, shown = build(task), items(task)
    shots = take_shots(model, shown, choose_pairs(model, None))
    metainfo = dict(classes=tuple('abcd')) if task != 'depth' else {}
    names = class_names(model)
    pages = make_pages([Column('student', shots)], painter(**metainfo), names)
    levels = TASKS[task][3]
    assert list(pages) == ['predictions', *(f'maps_{name}' for name in levels)]
    predictions = pages['predictions']
    side = 384  # 6 or 12 times 64 or 32; of 64x56 pixels too
    assert predictions.width == 4 * (side + GAP) + GAP  # image, truth, both models
    for name, number in levels.items():
        rows = 2 * number
        height = HEADER + rows * (PANEL + GAP) + number * 24
        assert pages[f'maps_{name}'].height == height
    # The teacher's column is its own map.
    heat = shots[0].heats[0]
    first = pages[f'maps_{heat.pair}']
    left = GAP + PANEL + GAP
    panel = np.asarray(first.crop((left, HEADER, left + 256, HEADER + 256)))
    alike = [one for one in shots for one in [one.heats[0]]]
    if heat.quantity == 'highest probability':
        low, high = 0.0, 1.0
    else:
        values = torch.cat(
            [
                getattr(one, which).flatten()
                for one in alike
                for which in ('teacher', 'student')
            ]
        )
        low, high = float(values.min()), float(values.max())
    assert (panel == np.asarray(paint_heat(heat.teacher, low, high))).all()


def test_files_come_without_ground_truth() -> None:
    model, shown = build('segmentation'), items('segmentation')
    for item in shown:
        del item['data_samples'].gt_sem_seg
    shots = take_shots(model, shown, [])
    of_four = painter(classes=tuple('abcd'))
    pages = make_pages([Column('student', shots)], of_four, class_names(model))
    assert list(pages) == ['predictions']
    assert pages['predictions'].width == 3 * (384 + GAP) + GAP


def objects(**scores: Any) -> Any:
    sample = DetDataSample(metainfo=dict(img_shape=(50, 50), ori_shape=(100, 200)))
    instances = InstanceData(
        bboxes=torch.tensor([[20.0, 10.0, 60.0, 50.0]]), labels=torch.tensor([1])
    )
    for name, value in scores.items():
        setattr(instances, name, value)
    setattr(sample, 'pred_instances' if scores else 'gt_instances', instances)
    return sample


def test_boxes_move_from_the_original_image_to_its_panel() -> None:
    fitted = fit_sample(objects(), (50, 400), 'gt')
    assert fitted.gt_instances.bboxes.tolist() == [[40, 5, 120, 25]]
    assert 'pred_instances' not in fitted


def test_masks_and_label_maps_are_resized() -> None:
    masks = torch.zeros(1, 100, 200, dtype=torch.bool)
    masks[:, :50] = True
    sample = objects(scores=torch.tensor([0.9]), masks=masks)
    fitted = fit_sample(sample, (50, 50), 'pred').pred_instances.masks
    assert fitted.shape == (1, 50, 50) and fitted[:, :25].all() and fitted.sum() == 1250
    labels = torch.arange(4).view(1, 2, 2)
    segments = SegDataSample(metainfo=dict(img_shape=(2, 2)))
    segments.pred_sem_seg = PixelData(data=labels)
    found = fit_sample(segments, (4, 4), 'pred').pred_sem_seg.data
    assert torch.equal(found[0, ::2, ::2], labels[0])
    assert found.dtype == labels.dtype


def test_boxes_are_judged_where_the_truth_is_known() -> None:
    image = Image.new('RGB', (200, 100))
    found, truth = objects(scores=torch.tensor([0.9])), objects()
    of_two = painter(classes=('cat', 'dog'))
    panel, legend = of_two.paint(image, found, 'pred', None, truth)
    assert panel.getpixel((20, 30)) == COLOURS['right']
    assert 'missed' in legend
    truth.gt_instances.labels[:] = 0
    panel, _ = of_two.paint(image, found, 'pred', None, truth)
    assert panel.getpixel((20, 30)) == COLOURS['wrong']
    faint = objects(scores=torch.tensor([0.2]))  # below the threshold
    panel, _ = of_two.paint(image, faint, 'pred', None, truth)
    assert panel.getpixel((20, 15)) in (COLOURS['missed'], (0, 0, 0))
    assert (np.asarray(panel) != COLOURS['wrong']).any(axis=-1).all()


def test_without_truth_or_with_other_classes_the_hosts_visualizer_draws() -> None:
    image = Image.new('RGB', (200, 100))
    found = objects(scores=torch.tensor([0.9]))
    of_two = painter(classes=('cat', 'dog'))
    for names, truth in ((None, None), (('dog', 'bird'), objects())):
        panel, legend = of_two.paint(image, found, 'pred', names, truth)
        assert legend == {} and panel.size == (200, 100)
        assert np.asarray(panel)[8:52, 18:62].any()


def test_a_label_map_has_a_legend_and_a_class_its_colour_in_every_model() -> None:
    segments = SegDataSample(metainfo=dict(img_shape=(2, 2)))
    segments.pred_sem_seg = PixelData(data=torch.tensor([[[0, 0], [1, 255]]]))
    image, palette = Image.new('RGB', (8, 8)), [[1, 2, 3], [9, 8, 7]]
    palette_painter = painter(classes=('road', 'sky'), palette=palette)
    assert palette_painter.paint(image, segments, 'pred')[1] == dict(
        road=(1, 2, 3), sky=(9, 8, 7)
    )
    colours = palette_painter.paint(image, segments, 'pred', classes=('sky', 'car'))[1]
    assert list(colours) == ['sky', 'car'] and colours['sky'] == (9, 8, 7)


def test_the_runs_own_visualizer_draws_and_keeps_its_options() -> None:
    from mmseg.visualization import SegLocalVisualizer

    segments = SegDataSample(metainfo=dict(img_shape=(2, 2)))
    segments.pred_sem_seg = PixelData(data=torch.zeros(1, 2, 2, dtype=torch.long))
    cfg = dict(type='SegLocalVisualizer', name='a', vis_backends=['none'], alpha=0.5)
    metainfo = dict(classes=('road',), palette=[[200, 100, 0]])
    made = PredictionPainter(SegLocalVisualizer, cfg, metainfo, 0.3)
    panel, _ = made.paint(Image.new('RGB', (8, 8)), segments, 'pred')
    assert panel.getpixel((4, 4)) == (100, 50, 0)


def test_a_teacher_of_other_classes_is_drawn_with_its_own_names() -> None:
    class_map = SimpleNamespace(teacher=('sky', 'car'))
    teachers = dict(
        one=SimpleNamespace(class_map=None), two=SimpleNamespace(class_map=class_map)
    )
    found = class_names(SimpleNamespace(teachers=teachers))  # type: ignore[arg-type]
    assert found == dict(one=None, two=('sky', 'car'))
