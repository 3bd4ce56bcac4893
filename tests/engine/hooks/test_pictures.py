"""Pictures in the run's visualizer, of a training that does not notice."""

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
import torch
from PIL import Image

from kd_plugins.engine.hooks import DistillationPicturesHook
from kd_plugins.engine.hooks import pictures as hook_module
from kd_plugins.errors import ConfigError
from kd_plugins.visualization import shots as shots_module
from tests.distillers.runs import assert_same_weights, train
from tests.distillers.tiny import faster_rcnn
from tests.visualization.made import TASKS

pytestmark = [
    pytest.mark.host,
    pytest.mark.filterwarnings('ignore:You are using `torch.load`:FutureWarning'),
]
HOOK = dict(type='kd_plugins.DistillationPicturesHook', interval=2, images=1)
NO_VALIDATION = dict.fromkeys(('val_dataloader', 'val_cfg', 'val_evaluator'))


def run(task: str, folder: Path, *hooks: dict[str, Any], **changes: Any) -> Any:
    """Four iterations of a task, validated after the second and the fourth."""
    model, dataset, scope, _ = TASKS[task]
    loader = dict(batch_size=2, num_workers=0, dataset=dict(type=dataset))
    options = dict(
        default_scope=scope,
        train_dataloader=dict(
            **loader, sampler=dict(type='InfiniteSampler', shuffle=True)
        ),
        val_dataloader=dict(
            **loader, sampler=dict(type='DefaultSampler', shuffle=False)
        ),
        custom_hooks=list(hooks),
        runner_type='kd_plugins.DistillRunner',
    )
    return train(model(), folder, **(options | changes))


def drawn(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob('vis_image/*.png'))


@pytest.mark.parametrize('task', TASKS)
def test_pictures_at_the_interval_and_the_training_is_the_same(
    task: str, tmp_path: Path
) -> None:
    ends = []
    for name, hooks in (('with', [dict(HOOK, interval=3)]), ('without', [])):
        runner = run(task, tmp_path / name, *hooks)
        ends.append((runner.model, torch.rand(3)))
    (one, draw), (other, expected) = ends
    assert_same_weights(one.state_dict(), other.state_dict())
    assert torch.equal(draw, expected)  # the default stream stands where it would
    own = [model.random_stream.state_dict()['torch'] for model in (one, other)]
    assert torch.equal(*own)
    pages = ['predictions', *(f'maps_{name}' for name in TASKS[task][3])]
    # At the third iteration, and at the last.
    expected_names = sorted(f'{page}_{step}.png' for page in pages for step in (3, 4))
    assert drawn(tmp_path / 'with') == expected_names
    assert not drawn(tmp_path / 'without')


def drawing_lots(call: Callable[..., Any]) -> Callable[..., Any]:
    """As mmdet does to choose a colour, or a model that predicts at random."""

    def called(*args: Any, **kwargs: Any) -> Any:
        np.random.seed(42)
        random.random()
        torch.rand(3)
        return call(*args, **kwargs)

    return called


def test_random_streams_stand_where_they_would(tmp_path: Path) -> None:
    draws = []
    for name, hooks in (('with', [HOOK]), ('without', [])):
        with (
            patch.object(
                hook_module, 'first_images', drawing_lots(hook_module.first_images)
            ),
            patch.object(
                hook_module, 'make_pages', drawing_lots(hook_module.make_pages)
            ),
            patch.object(shots_module, '_take', drawing_lots(shots_module._take)),
        ):
            run('segmentation', tmp_path / name, *hooks)
        draws.append((random.random(), np.random.rand(), torch.rand(1).item()))
    assert draws[0] == draws[1]


def test_what_is_drawn_is_the_start_beside_the_present(tmp_path: Path) -> None:
    run('detection', tmp_path, dict(HOOK, pairs=['hint'], interval=4, images=2))
    assert drawn(tmp_path) == ['maps_hint_4.png', 'predictions_4.png']
    (file,) = tmp_path.rglob('maps_hint_4.png')
    with Image.open(file) as picture:
        page = picture.copy()
    panel, gap = 256, 6
    # The image, the teacher, the student twice, and behind its adapter; by 2 x 3 rows.
    assert page.width == 5 * (panel + gap) + gap
    assert page.height == 26 + 6 * (panel + gap) + 3 * 24
    panels = [
        page.crop((left, 26, left + panel, 26 + panel)).tobytes()
        for left in range(gap, page.width, panel + gap)
    ]
    assert len(set(panels)) == 5


def test_other_processes_draw_nothing(tmp_path: Path) -> None:
    with patch('kd_plugins.engine.hooks.pictures.is_main_process', lambda: False):
        run('segmentation', tmp_path, HOOK)
    assert not drawn(tmp_path)


def test_the_hosts_visualizer_of_a_run_with_several_backends(tmp_path: Path) -> None:
    pytest.importorskip('tensorboard')
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    cfg = dict(
        type='SegLocalVisualizer',
        name=f'visualizer_{tmp_path}',  # the hosts keep them by name
        vis_backends=[dict(type='LocalVisBackend'), dict(type='TensorboardVisBackend')],
    )
    run('segmentation', tmp_path, HOOK, visualizer=cfg)
    assert len(drawn(tmp_path)) == 6
    (file,) = tmp_path.rglob('events.out.tfevents*')
    events = EventAccumulator(str(file)).Reload()
    names = ['maps_pixels', 'maps_stage', 'predictions']
    assert sorted(events.Tags()['images']) == names
    assert [image.step for image in events.Images('maps_stage')] == [2, 4]


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (dict(interval=0), 'interval must be a whole number >= 1, got 0'),
        (dict(interval=None), 'interval must be a whole number >= 1, got None'),
        (dict(images=1.5), 'images must be a whole number >= 1, got 1.5'),
        (dict(score_thr=-1), 'score_thr must be'),
    ],
)
def test_arguments_that_cannot_be(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        DistillationPicturesHook(**options)


@pytest.mark.parametrize(
    ('hook', 'changes', 'message'),
    [
        (dict(pairs=['hnt']), {}, r"pairs: there is no 'hnt'\. Close: 'hint'"),
        (dict(images=9), {}, 'images: 9 images are asked for, the data set has 4'),
        ({}, NO_VALIDATION, r'this run has none\. Set val_dataloader'),
    ],
)
def test_runs_that_cannot_be(
    hook: dict[str, Any], changes: dict[str, Any], message: str, tmp_path: Path
) -> None:
    if changes:
        changes = changes | dict(train_cfg=dict(by_epoch=False, max_iters=4))
    with pytest.raises(ConfigError, match=message):
        run('detection', tmp_path, HOOK | hook, **changes)


def test_a_plain_model_has_no_pairs(tmp_path: Path) -> None:
    message = 'needs a model of type kd_plugins.Distiller, got FasterRCNN'
    with pytest.raises(ConfigError, match=message):
        train(
            faster_rcnn(),
            tmp_path,
            custom_hooks=[HOOK],
            runner_type='kd_plugins.DistillRunner',
        )
