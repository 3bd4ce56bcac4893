"""A cache that is right or says why not: sizes, identity, damage, bounds, bypasses."""

import copy
import errno
import os
import shutil
from collections import namedtuple
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from kd_plugins.errors import ConfigError, DistillationError
from kd_plugins.random_stream import get_random_state
from kd_plugins.registry import MODELS
from kd_plugins.schedules import Clock
from tests.distillers.tiny import config, faster_rcnn, teacher_of
from tests.distillers.tiny_seg import segment_batch, segmentor
from tests.teachers.cache.marks import exact, mark, marked

KD = dict(type='KDLoss')
CWD = dict(type='CWDLoss')
CONV = dict(type='ConvAdapter')
LOGITS = dict(logits=dict(view='seg.logits', loss=CWD))


def distiller(pairs: Any, cache: Any, teacher: Any = None, **options: Any) -> Any:
    torch.manual_seed(0)
    teacher = teacher_of(teacher or segmentor(8), cache=cache, fast=False)
    model = MODELS.build(config(pairs, segmentor(), teacher, **options))
    model.init_weights()
    return model.train()


def step(model: Any, *items: int, images: int = 2) -> dict[str, float]:
    """Losses of one batch: of the first of these images, marked as these items."""
    prepared = marked(segment_batch(model, images), *(items or range(images)))
    torch.manual_seed(3)
    parsed = model.parse_losses(model(**prepared, mode='loss'))[1]
    return {key: float(value.detach()) for key, value in parsed.items()}


def shelf_of(model: Any) -> Any:
    (shelf,) = model.teachers['teacher'].cache.shelves
    return shelf


@pytest.fixture
def log(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is logged of caches."""
    said: list[str] = []
    for name in ('cache', 'shelf'):
        module = f'kd_plugins.teachers.cache.{name}.print_log'
        monkeypatch.setattr(module, lambda text, *_, **__: said.append(text))
    return said


# What a batch must be.


def test_items_that_are_not_marked_are_refused(tmp_path: Path) -> None:
    model = distiller(LOGITS, exact(tmp_path))
    message = r"^model\.teacher\.cache: .* Set train_dataloader.dataset=.*SeededViews'"
    with pytest.raises(ConfigError, match=message):
        model(**segment_batch(model), mode='loss')
    prepared = segment_batch(model)
    mark(prepared['data_samples'][:1], 0)
    with pytest.raises(ConfigError, match=message):
        model(**prepared, mode='loss')


def test_a_batch_of_another_size_is_refused_with_both(tmp_path: Path) -> None:
    model = distiller(LOGITS, exact(tmp_path))
    step(model)
    prepared = marked(segment_batch(model), 2, 3)
    prepared['inputs'] = torch.nn.functional.pad(prepared['inputs'], (0, 32, 0, 0))
    message = (
        r'^model\.teacher\.cache: item 2 \(image 2, view 0\) comes in a batch of '
        r'32 x 64 pixels \(its images: 32 x 32, 32 x 32\), and what is stored came in '
        r'batches of 32 x 32\. .*size=\(32, 32\)'
    )
    with pytest.raises(ConfigError, match=message):
        model(**prepared, mode='loss')
    again = distiller(LOGITS, exact(tmp_path))  # of the files, in a new process
    with pytest.raises(ConfigError, match='comes in a batch of 32 x 64 pixels'):
        again(**prepared, mode='loss')


def test_more_than_is_allowed_is_refused_before_anything_is_stored(
    tmp_path: Path,
) -> None:
    model = distiller(LOGITS, exact(tmp_path, max_gigabytes=3e-6))
    message = (
        r'^model\.teacher\.cache\.max_gigabytes: 12 items \(4 images x 3 views\) x '
        r'256 bytes \(head\.decode_head: 4 x 4 x 4 float32\) = 3\.07 kB, allowed are '
        r'3 kB\. .*train_dataloader\.dataset\.views'
    )
    with pytest.raises(ConfigError, match=message):
        step(model)
    assert list(tmp_path.rglob('*.records')) == []


def test_more_than_the_disk_has_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = namedtuple('usage', 'free')
    monkeypatch.setattr(shutil, 'disk_usage', lambda _: usage(2000))
    with pytest.raises(ConfigError, match=r'cache\.folder: 3\.07 kB are still to be'):
        step(distiller(LOGITS, exact(tmp_path)))


def test_what_is_stored_is_announced_once(tmp_path: Path, log: list[str]) -> None:
    model = distiller(LOGITS, exact(tmp_path))
    for _ in range(2):
        step(model)
    assert len(log) == 1
    assert '12 items (4 images x 3 views) x 256 bytes' in log[0]
    assert log[0].endswith('; 0 of 12 items are there.')
    step(distiller(LOGITS, exact(tmp_path)))
    assert log[1].endswith('; 2 of 12 items are there.')


# Whose records they are.


@pytest.mark.parametrize(
    ('change', 'differing'),
    [
        ('weights', 'teacher.weights'),
        ('config', 'teacher.config, teacher.weights'),
        ('data', 'data'),
        ('precision', 'precision.dtype'),
        ('arithmetic', 'arithmetic.autocast'),
    ],
)
def test_records_of_others_are_left_alone(
    change: str, differing: str, tmp_path: Path, log: list[str]
) -> None:
    step(distiller(LOGITS, exact(tmp_path)))
    wider = segmentor(16) if change == 'config' else None
    dtype = 'float16' if change == 'precision' else 'float32'
    model = distiller(LOGITS, exact(tmp_path, dtype=dtype), wider)
    if change == 'weights':
        teacher = model.teachers['teacher'].prepare(torch.device('cpu'))
        next(iter(teacher.parameters())).data += 1e-3
    prepared = marked(
        segment_batch(model), 0, 1, data='other' if change == 'data' else 'data'
    )
    lower = change == 'arithmetic'
    with torch.autocast('cpu', dtype=torch.bfloat16, enabled=lower):
        model(**prepared, mode='loss')
    assert len(list(tmp_path.glob('*/manifest.json'))) == 2
    assert (shelf_of(model).hits, shelf_of(model).misses) == (0, 2)
    (told,) = [text for text in log if 'are not used' in text]
    assert f'(differs in {differing})' in told


def test_more_views_find_those_that_are_there(tmp_path: Path) -> None:
    step(distiller(LOGITS, exact(tmp_path)))
    model = distiller(LOGITS, exact(tmp_path))
    model(**marked(segment_batch(model), 0, 1, views=5), mode='loss')
    shelf = shelf_of(model)
    assert (shelf.items, shelf.found, shelf.hits) == (20, 2, 2)


def test_two_teachers_share_a_folder(tmp_path: Path) -> None:
    cache = exact(tmp_path)
    teachers = dict(
        big=teacher_of(segmentor(16), cache=cache),
        small=teacher_of(segmentor(8), cache=cache),
    )
    pairs = {name: dict(view='seg.logits', loss=CWD, teacher=name) for name in teachers}
    torch.manual_seed(0)
    model = MODELS.build(config(pairs, segmentor(), teachers)).train()
    first = step(model)
    assert len(list(tmp_path.glob('*/*.index'))) == 2
    assert step(model)['loss_kd_big'] == pytest.approx(first['loss_kd_big'])


# Damage, and what is not what it should be.


def test_a_flipped_bit_is_computed_anew_with_one_warning(
    tmp_path: Path, log: list[str]
) -> None:
    expected = step(distiller(LOGITS, exact(tmp_path)))
    (path,) = tmp_path.rglob('*.records')
    changed = bytearray(path.read_bytes())
    changed[17] ^= 1
    changed[300] ^= 1
    path.write_bytes(changed)
    model = distiller(LOGITS, exact(tmp_path))
    assert step(model) == expected
    warned = [text for text in log if 'is damaged' in text]
    assert len(warned) == 1 and 'item 0 (image 0, view 0)' in warned[0]
    assert (shelf_of(model).hits, shelf_of(model).misses) == (0, 2)
    again = distiller(LOGITS, exact(tmp_path))
    assert step(again) == expected
    assert len([text for text in log if 'is damaged' in text]) == 1


def forge(model: Any, item: int) -> None:
    """A record that is whole, and of another image."""
    file = shelf_of(model).file('head.decode_head.0')
    row = np.empty(file.layout.nbytes, np.uint8)
    file.read(item, row)
    wrong = torch.from_numpy(-row.view(np.float32)).view(torch.uint8)
    file.write([(item, file.image_of(item), wrong)])


@pytest.mark.parametrize('share', [1.0, 0.5])
def test_a_wrong_record_is_found_when_it_is_compared(
    share: float, tmp_path: Path
) -> None:
    model = distiller(LOGITS, exact(tmp_path, recheck=share))
    step(model)
    forge(model, 1)
    message = (
        r'^model\.pairs\.logits: head\.decode_head\.0 of item 1 \(image 1, view 0\) '
        r'differs .* by [12](\.\d+)? of its largest value, allowed is 0\.05\. .*Delete'
    )
    for _ in range(round(1 / share) - 1):
        step(model)
    with pytest.raises(DistillationError, match=message):
        step(model)


def test_without_comparisons_nothing_is_compared(tmp_path: Path) -> None:
    model = distiller(LOGITS, exact(tmp_path, recheck=0))
    expected = step(model)
    forge(model, 1)
    assert step(model) != expected


def test_as_many_batches_are_compared_as_asked(tmp_path: Path) -> None:
    model = distiller(LOGITS, exact(tmp_path, recheck=0.25))
    runs: list[int] = []
    teacher = model.teachers['teacher'].model
    teacher.backbone.register_forward_hook(lambda *_: runs.append(0))
    for _ in range(17):
        step(model)
    assert len(runs) == 5  # the first, and every fourth after it


def test_another_image_under_the_same_number_is_an_error(tmp_path: Path) -> None:
    model = distiller(LOGITS, exact(tmp_path))
    step(model)
    prepared = marked(segment_batch(model), 0, 1, checksum=5)
    message = r'^model\.pairs\.logits: the image of item 0 .* is not the one whose'
    with pytest.raises(DistillationError, match=message):
        model(**prepared, mode='loss')


def test_a_full_disk_ends_the_cache_and_not_the_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, log: list[str]
) -> None:
    expected = [step(distiller(LOGITS, None)) for _ in range(2)]

    def full(*_: Any) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, 'pwrite', full)
    model = distiller(LOGITS, exact(tmp_path))
    assert [step(model) for _ in range(2)][:1] == expected[:1]
    warned = [text for text in log if 'cannot be written' in text]
    assert len(warned) == 1 and 'No space left on device' in warned[0]


def test_nan_of_a_teacher_is_not_stored(tmp_path: Path) -> None:
    model = distiller(LOGITS, exact(tmp_path))
    teacher = model.teachers['teacher'].prepare(torch.device('cpu'))
    teacher.decode_head.conv_seg.bias.data.fill_(float('nan'))
    with pytest.raises(DistillationError, match=r'pairs\.logits: .* holds NaN or inf'):
        step(model)
    assert list(tmp_path.rglob('*.records')) == []


def test_an_error_of_the_step_stores_nothing(tmp_path: Path) -> None:
    model = distiller(LOGITS, exact(tmp_path))
    prepared = marked(segment_batch(model), 0, 1)

    def interrupted() -> None:
        with model.step(*prepared.values()) as one:
            model.task_losses(one)
            model.match(one)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        interrupted()
    assert list(tmp_path.rglob('*.records')) == []


# What goes past it.


def test_steps_of_an_evaluation_do_not_ask_it(tmp_path: Path) -> None:
    model = distiller(LOGITS, exact(tmp_path))
    inputs, samples = segment_batch(model).values()
    with model.step(inputs, samples, frozen=True) as one:
        (pair,) = model.pairs
        maps = pair.view.maps(one.teachers['teacher'], 'teacher')
    assert maps[0].shape == (2, 4, 4, 4)
    assert list(tmp_path.iterdir()) == []


def test_a_copy_of_the_distiller_reads_the_same_records(tmp_path: Path) -> None:
    model = distiller(LOGITS, exact(tmp_path))
    expected = step(model)
    other = copy.deepcopy(model)
    assert step(other)['loss_kd_logits'] == expected['loss_kd_logits']
    assert other.teachers['teacher'].cache is model.teachers['teacher'].cache


def test_a_phase_without_weights_does_not_ask_it(tmp_path: Path) -> None:
    ramp = dict(type='LinearRamp', start=0.0, end=1.0, begin=5, until=6)
    pairs = dict(logits=dict(view='seg.logits', loss=dict(CWD, loss_weight=ramp)))
    model = distiller(pairs, exact(tmp_path))
    for iteration, asked in ((0, 2), (1, 2), (6, 4)):
        model.set_clock(Clock(iteration, 0, 10, None, False))
        step(model)
        assert shelf_of(model).hits + shelf_of(model).misses == asked


def test_nothing_is_drawn_and_the_stream_goes_on_alike(tmp_path: Path) -> None:
    """A loss that draws must draw the same, whether the teacher ran or not."""
    pairs = dict(
        a=dict(
            layer='backbone.layer2',
            adapter=CONV,
            loss=dict(type='MGDLoss'),
        )
    )
    plain = distiller(pairs, None)
    cached = distiller(pairs, exact(tmp_path))
    for _ in range(3):
        assert step(plain) == step(cached)
        states = [model.random_stream.state_dict() for model in (plain, cached)]
        assert torch.equal(states[0]['torch'], states[1]['torch'])
        assert states[0]['python'] == states[1]['python']
    before = get_random_state()['torch']
    with cached.step(*marked(segment_batch(cached), 0, 1).values()):
        pass
    assert torch.equal(before, get_random_state()['torch'])


def test_what_a_teacher_draws_shifts_no_later_draw(tmp_path: Path) -> None:
    """Else a step would differ once the teacher need not run."""
    pairs = dict(
        a=dict(layer='backbone.layer2', loss=dict(type='MGDLoss'), adapter=CONV)
    )

    def draws(*_: Any) -> None:
        torch.rand(3)

    seen = []
    for _ in range(2):  # filling, then reading
        model = distiller(pairs, exact(tmp_path, recheck=0))
        teacher = model.teachers['teacher'].model
        teacher.backbone.register_forward_hook(draws)
        seen.append([step(model, *items) for items in ((0, 1), (2, 3), (4, 5))])
    assert seen[0] == seen[1]


def test_half_precision_changes_a_feature_by_its_rounding(tmp_path: Path) -> None:
    pairs = dict(a=dict(layer='backbone.layer2', loss=CWD))
    exactly = step(distiller(pairs, None, segmentor(4)))['loss_kd_a']
    half = distiller(pairs, dict(folder=str(tmp_path)), segmentor(4))
    (filled, read) = (step(half)['loss_kd_a'] for _ in range(2))
    assert filled == read != exactly
    assert read == pytest.approx(exactly, rel=1e-2)
    (path,) = tmp_path.rglob('*.records')
    assert shelf_of(half).file(path.stem).layout.stored == torch.float16


def test_a_teacher_that_sees_other_inputs_is_cached_as_it_sees_them(
    tmp_path: Path,
) -> None:
    teacher = segmentor(8)
    teacher['data_preprocessor'].update(
        mean=[10.0, 20.0, 30.0], bgr_to_rgb=False, size_divisor=48, size=None
    )
    expected = step(distiller(LOGITS, None, teacher))
    model = distiller(LOGITS, exact(tmp_path), teacher)
    assert step(model) == expected
    assert step(model)['loss_kd_logits'] != 0
    assert shelf_of(model).input_size == (48, 48)


def test_a_few_classes_teach_much_the_same(tmp_path: Path) -> None:
    pairs = dict(logits=dict(view='seg.logits', loss=KD))
    exactly = step(distiller(pairs, None))['loss_kd_logits']
    for classes, close in ((4, 1e-2), (3, 0.1), (1, 1.0)):
        folder = tmp_path / str(classes)
        model = distiller(pairs, dict(folder=str(folder), classes=classes))
        filled, read = (step(model)['loss_kd_logits'] for _ in range(2))
        assert filled == read == pytest.approx(exactly, rel=close)
        layout = shelf_of(model).file('head.decode_head.0').layout
        assert layout.nbytes == 16 * (classes + 2 * (classes + 1))


def test_the_summary_says_where_it_is(tmp_path: Path) -> None:
    assert f'cached in {tmp_path}' in distiller(LOGITS, exact(tmp_path)).summary()


def test_a_checkpoint_holds_nothing_of_it(tmp_path: Path) -> None:
    model = distiller(LOGITS, exact(tmp_path))
    step(model)
    assert not [name for name in model.state_dict() if 'cache' in name]


def test_detectors_are_refused_the_classes_of_pixels(tmp_path: Path) -> None:
    pairs = dict(hint=dict(layer='neck', loss=dict(type='HintLoss')))
    teacher = teacher_of(faster_rcnn(), cache=exact(tmp_path, classes=2))
    message = r"^model\.teacher\.cache\.classes: is of class maps .*view='seg\.logits'"
    with pytest.raises(ConfigError, match=message):
        MODELS.build(config(pairs, teacher=teacher))


@pytest.mark.parametrize('loss', ['CWDLoss', 'HintLoss'])
def test_losses_that_read_logits_are_refused_a_few_classes(
    loss: str, tmp_path: Path
) -> None:
    pairs = dict(logits=dict(view='seg.logits', loss=dict(type=loss)))
    message = rf'cache\.classes: {loss} of model\.pairs\.logits reads more of the'
    with pytest.raises(ConfigError, match=message):
        distiller(pairs, exact(tmp_path, classes=2))


@pytest.mark.parametrize(
    'loss',
    [
        dict(type='KDLoss', temperature=4.0),
        dict(type='PixelWiseLoss'),
        dict(type='DISTLoss'),
        dict(type='NKDLoss'),
    ],
    ids=lambda loss: loss['type'],
)
def test_losses_of_probabilities_take_a_few_classes(loss: Any, tmp_path: Path) -> None:
    pairs = dict(logits=dict(view='seg.logits', loss=loss))
    step(distiller(pairs, dict(folder=str(tmp_path), classes=2)))


def test_classes_of_a_sigmoid_are_refused_a_few_of_them(tmp_path: Path) -> None:
    sigmoid = dict(type='mmseg.CrossEntropyLoss', use_sigmoid=True)

    def model(base: int) -> Any:
        built = segmentor(base)
        built['decode_head']['loss_decode'] = sigmoid
        return built

    teacher = teacher_of(model(8), cache=exact(tmp_path, classes=2))
    pairs = dict(logits=dict(view='seg.logits', loss=KD))
    with pytest.raises(ConfigError, match=r'reads classes of a sigmoid each'):
        MODELS.build(config(pairs, model(4), teacher))
