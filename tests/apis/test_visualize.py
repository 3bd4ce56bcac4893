"""tools/visualize.py as a user calls it, on tiny models with data from memory."""

import itertools
import os
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from mmengine.dataset import Compose
from PIL import Image

from kd_plugins.errors import CheckpointError, ConfigError
from kd_plugins.registry import MODELS
from kd_plugins.visualization.images import image_files
from tests.distillers.runs import run_config
from tests.distillers.tiny import faster_rcnn
from tests.visualization.made import TASKS

pytestmark = pytest.mark.host
tool = import_module('tools.visualize')
_run = itertools.count()


def write(folder: Path, task: str = 'segmentation', **changes: Any) -> str:
    """A config file."""
    model, dataset, scope, _ = TASKS[task]
    content = run_config(model(), folder).to_dict()
    content |= dict(
        default_scope=scope,
        test_dataloader=dict(dataset=dict(type=dataset)),
        experiment_name=f'visualize_{os.getpid()}_{next(_run)}',
    )
    lines = [f'{key} = {value!r}\n' for key, value in (content | changes).items()]
    (folder / 'tiny.py').write_text(''.join(lines))
    return str(folder / 'tiny.py')


def saved(folder: Path, task: str = 'segmentation') -> tuple[str, str]:
    """Checkpoints of a distillation, and of its student."""
    distiller = MODELS.build(TASKS[task][0]())
    distiller.init_weights()
    state = distiller.state_dict()
    student_state = distiller.student_state_dict(state)
    paths = folder / 'iter_4.pth', folder / 'student_iter_4.pth'
    for path, weights in zip(paths, (state, student_state), strict=True):
        torch.save(dict(state_dict=weights, meta=dict(iter=4)), path)
    return str(paths[0]), str(paths[1])


def widths(folder: Path, *names: str) -> list[int]:
    """How many panels of 256 pixels pictures have in a row."""
    found = []
    for name in names:
        with Image.open(folder / f'{name}.png') as picture:
            found.append((picture.width - 6) // 262)
    return found


def test_the_student_before_and_after(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole, student = saved(tmp_path)
    config, out = write(tmp_path), tmp_path / 'out'
    options = ['--checkpoint', whole, '--before', student, '--images', '1']
    tool.main([config, *options, '--out', str(out)])
    names = ['predictions', 'maps_pixels', 'maps_stage']
    printed = capsys.readouterr().out.split()[-3:]
    assert printed == [str(out / f'{name}.png') for name in names]
    assert sorted(path.stem for path in out.iterdir()) == sorted(names)
    # 'stage' has an adapter, whose weights the checkpoint holds.
    assert widths(out, 'maps_pixels', 'maps_stage') == [4, 5]


def test_a_students_checkpoint_says_nothing_of_adapters(tmp_path: Path) -> None:
    whole, student = saved(tmp_path)
    config, out = write(tmp_path, load_from=whole), tmp_path / 'out'
    tool.main([config, '--checkpoint', student, '--pairs', 'stage', '--out', str(out)])
    assert sorted(path.stem for path in out.iterdir()) == ['maps_stage', 'predictions']
    assert widths(out, 'maps_stage') == [4]


@pytest.mark.parametrize('task', TASKS)
def test_the_start_alone(task: str, tmp_path: Path) -> None:
    out = tmp_path / 'out'
    tool.main([write(tmp_path, task), '--images', '1', '--out', str(out)])
    pages = ['predictions', *(f'maps_{name}' for name in TASKS[task][3])]
    assert sorted(path.stem for path in out.iterdir()) == sorted(pages)
    assert set(widths(out, *pages[1:])) == {3}


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (['--pairs', 'stge'], r"pairs: there is no 'stge'\. Close: 'stage'"),
        (['--images', '9'], '--images: 9 images are asked for, the data set has 4'),
        (['--images', '0'], '--images must be a whole number >= 1, got 0'),
        (['--images', 'nowhere.jpg'], "--images: there is no file 'nowhere.jpg'"),
        (['--images', __file__], 'PictureSegments has no pipeline to load a file with'),
        (['--score', '-1'], '--score must be'),
    ],
)
def test_what_cannot_be(options: list[str], message: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=message):
        tool.main([write(tmp_path), *options])


def test_a_checkpoint_that_does_not_fit_and_a_plain_model(tmp_path: Path) -> None:
    other, _ = saved(tmp_path, 'detection')
    with pytest.raises(CheckpointError, match='--checkpoint'):
        tool.main([write(tmp_path), '--checkpoint', other])
    plain = write(tmp_path, 'detection', model=faster_rcnn().to_dict())
    message = "no pairs to show in a model of type 'FasterRCNN'"
    with pytest.raises(ConfigError, match=message):
        tool.main([plain])


def test_files_are_prepared_as_the_test_images_are(tmp_path: Path) -> None:
    from mmcv.transforms import LoadImageFromFile, Resize
    from mmseg.datasets.transforms import LoadAnnotations, PackSegInputs

    path = tmp_path / 'image.png'
    pixels = np.arange(8 * 6 * 3, dtype=np.uint8).reshape(8, 6, 3)
    Image.fromarray(pixels).save(path)
    steps = [LoadImageFromFile(), Resize((12, 16)), LoadAnnotations(), PackSegInputs()]
    dataset = SimpleNamespace(pipeline=Compose(steps))
    wrapped = SimpleNamespace(dataset=SimpleNamespace(datasets=[dataset]))
    (item,) = image_files(wrapped, [str(path)])
    assert item['inputs'].shape == (3, 16, 12)
    assert item['data_samples'].ori_shape == (8, 6)
    assert 'gt_sem_seg' not in item['data_samples']
    # Blue first, as the loader gives them, and as pictures expect them.
    direct = Compose([steps[0]])({'img_path': str(path)})['img']
    assert (direct[..., ::-1] == pixels).all()
