"""Images and annotations as they come: damaged files are named, boxes left out."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from mmengine.runner import Runner

from tests.distillers.main_job import DETECTION, SEGMENTATION, short
from tests.engine.hooks.toy import build, unformatted

pytestmark = pytest.mark.host


@pytest.fixture
def data(
    tmp_path: Path,
    tiny_digits: Path,
    tiny_mosaics: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Path:
    """A copy of the tiny data sets, to be damaged."""
    root = tmp_path / 'data'
    for source in (tiny_digits, tiny_mosaics):
        shutil.copytree(source, root / source.name)
    monkeypatch.setenv('KD_PLUGINS_DATA', str(root))
    return root


def train(job: str, work_dir: Path) -> Runner:
    """Two iterations without validation, and without making the data anew."""
    cfg = short(job, work_dir)
    cfg.custom_hooks = [
        hook for hook in cfg.custom_hooks if 'PrepareData' not in hook.type
    ]
    cfg.update(dict.fromkeys(('val_cfg', 'val_dataloader', 'val_evaluator')))
    cfg.default_hooks.checkpoint.save_best = None
    cfg.train_cfg.pop('val_interval')
    cfg.train_cfg.max_iters = 2
    with unformatted():
        runner = build(cfg)
        runner.train()
    return runner


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:200])


def text(path: Path) -> None:
    path.write_text('<html>404</html>')


def empty(path: Path) -> None:
    path.write_bytes(b'')


DAMAGES = {
    # By mmcv, with the path.
    cut: r'failed to load image: .*digits/train/\d+\.jpg',
    text: r'failed to load image: .*digits/train/\d+\.jpg',
    Path.unlink: r'No such file or directory: .*digits/train/\d+\.jpg',
    # By OpenCV, which knows no path.
    empty: r'!buf\.empty\(\)',
}


@pytest.mark.parametrize('damage', DAMAGES)
def test_an_image_that_does_not_decode_ends_the_run(
    tmp_path: Path,
    data: Path,
    damage: Callable[[Path], None],
    fault: Callable[..., None],
) -> None:
    for path in (data / 'digits' / 'train').iterdir():
        damage(path)
    with pytest.raises(Exception, match=DAMAGES[damage]):
        train(DETECTION, tmp_path / 'run')
    named = 'names no file' if damage is empty else 'names the file'
    fault(f'an image, {damage.__name__}', f'the host stops, its message {named}')


@pytest.mark.parametrize('damage', [cut, empty])
def test_a_map_of_labels_that_does_not_decode_ends_the_run(
    tmp_path: Path,
    data: Path,
    damage: Callable[[Path], None],
    fault: Callable[..., None],
) -> None:
    for path in (data / 'mosaics' / 'labels' / 'train').iterdir():
        damage(path)
    with pytest.raises(Exception, match=r'cannot identify image|truncated|broken PNG'):
        train(SEGMENTATION, tmp_path / 'run')
    fault(f'a map of labels, {damage.__name__}', 'the host stops, with a message')


def shifted(annotation: dict[str, Any]) -> None:
    annotation['bbox'][0] += 500


def without_area(annotation: dict[str, Any]) -> None:
    annotation['bbox'][2] = annotation['area'] = 0


def negative(annotation: dict[str, Any]) -> None:
    annotation['bbox'][2] *= -1


def not_a_number(annotation: dict[str, Any]) -> None:
    annotation['bbox'][0] = float('nan')


def crowd(annotation: dict[str, Any]) -> None:
    annotation['iscrowd'] = 1


def of_unknown_class(annotation: dict[str, Any]) -> None:
    annotation['category_id'] = 99


def annotate(data: Path, change: Callable[[dict[str, Any]], None]) -> None:
    for path in (data / 'digits' / 'annotations').glob('train*.json'):
        content = json.loads(path.read_text())
        for annotation in content['annotations']:
            change(annotation)
        path.write_text(json.dumps(content))


@pytest.mark.slow
@pytest.mark.parametrize('change', [shifted, without_area, negative, not_a_number])
def test_boxes_that_are_none_are_left_out(
    tmp_path: Path,
    data: Path,
    change: Callable[[dict[str, Any]], None],
    fault: Callable[..., None],
) -> None:
    annotate(data, change)
    spoiled = train(DETECTION, tmp_path / 'run').message_hub.log_scalars
    annotate(data, lambda annotation: annotation['bbox'].__setitem__(0, 1e6))
    without = train(DETECTION, tmp_path / 'without').message_hub.log_scalars
    for key in (key for key in spoiled if 'loss' in key):
        assert list(spoiled[key].data[0]) == list(without[key].data[0]), key
    fault(f'boxes, {change.__name__}', 'the host leaves them out, losses are finite')


@pytest.mark.slow
def test_crowds_alone_train_without_boxes(
    tmp_path: Path, data: Path, fault: Callable[..., None]
) -> None:
    annotate(data, crowd)
    logged = train(DETECTION, tmp_path / 'run').message_hub.log_scalars
    assert set(logged['train/loss_bbox'].data[0]) == {0.0}
    assert set(logged['train/loss_kd_rcn_reg'].data[0]) == {0.0}
    assert all(value > 0 for value in logged['train/loss_kd_rcn_cls'].data[0])
    fault('boxes, crowds only', 'the host ignores them, losses are finite')


@pytest.mark.slow
def test_classes_that_no_one_knows_leave_no_image(
    tmp_path: Path, data: Path, fault: Callable[..., None]
) -> None:
    annotate(data, of_unknown_class)
    with pytest.raises(ValueError, match='need at least one array to concatenate'):
        train(DETECTION, tmp_path / 'run')
    fault('boxes, all of an unknown class', 'the host finds no image, and stops')
