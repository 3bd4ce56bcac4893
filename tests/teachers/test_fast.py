"""Which switches pay where, and how a configuration sets them."""

from typing import Any

import pytest
import torch

from kd_plugins.errors import ConfigError
from kd_plugins.registry import MODELS
from kd_plugins.teachers import Teacher, fast
from kd_plugins.teachers.fast import PLAIN, Switches, read_fast, switches_for
from tests.distillers.tiny import config, faster_rcnn, hint, teacher_of

CPU = torch.device('cpu')


@pytest.mark.fast_teacher
@pytest.mark.parametrize(
    ('units', 'dtype'), [(True, 'bfloat16'), (False, 'float32')], ids=str
)
def test_auto_on_a_cpu_goes_by_its_bfloat16_units(
    units: bool, dtype: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fast, 'has_bfloat16_units', lambda: units)
    switches = switches_for(CPU)
    assert switches.dtype == dtype
    assert switches.fold_bn and switches.channels_last and not switches.compile


@pytest.mark.fast_teacher
@pytest.mark.parametrize(
    ('capability', 'dtype'),
    [((9, 0), 'bfloat16'), ((8, 0), 'bfloat16'), ((7, 5), 'float16'), ((6, 1), None)],
)
def test_auto_on_a_gpu_goes_by_its_tensor_cores(
    capability: tuple[int, int], dtype: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        torch.cuda, 'get_device_capability', lambda device=None: capability
    )
    switches = switches_for(torch.device('cuda'))
    assert switches.dtype == (dtype or 'float32')
    assert switches.channels_last == (dtype is not None)
    assert not switches.prepack


@pytest.mark.fast_teacher
def test_weights_that_the_cpu_cannot_pack_are_not_packed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(fast, 'can_prepack', lambda dtype: dtype == 'float32')
    monkeypatch.setattr(fast, 'has_bfloat16_units', lambda: False)
    options = read_fast({'dtype': 'bfloat16'})
    assert options is not None and not options.on(CPU).prepack
    assert switches_for(CPU).prepack


@pytest.mark.fast_teacher
def test_elsewhere_the_teacher_runs_as_it_is() -> None:
    assert switches_for(torch.device('meta')) == PLAIN


def test_flags_of_the_processor_tell(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / 'cpuinfo'
    monkeypatch.setattr(fast, 'Path', lambda _path: file)
    for flags, units in (
        ('sse avx512_bf16', True),
        ('sse amx_bf16', True),
        ('', False),
    ):
        file.write_text(f'processor\t: 0\nflags\t\t: fpu {flags}\n')
        assert fast.has_bfloat16_units.__wrapped__() == units
    file.unlink()
    assert not fast.has_bfloat16_units.__wrapped__()


@pytest.mark.fast_teacher
def test_a_dict_sets_single_switches_and_hardware_the_others() -> None:
    options = read_fast(dict(dtype='float32', tolerance=0.2))
    assert options is not None and options.tolerance == 0.2
    automatic = switches_for(CPU)
    assert options.on(CPU) == Switches(
        automatic.fold_bn, automatic.channels_last, automatic.prepack, 'float32', False
    )


def test_false_is_no_copy_anywhere() -> None:
    assert read_fast(False) is None
    teacher = Teacher('teacher', teacher_of(faster_rcnn(), fast=False))
    teacher.fast.require(['backbone'], [])
    assert teacher.fast.is_used(CPU) is False


@pytest.mark.parametrize(
    ('value', 'message'),
    [
        (True, "must be 'auto', False, or a dict of fold_bn, channels_last, prep"),
        ('always', "must be 'auto', False, or a dict"),
        (None, "must be 'auto', False, or a dict"),
        (dict(fold=True), "no key 'fold'. Close: 'fold_bn'"),
        (dict(dtype='half'), "dtype must be 'bfloat16', 'float16' or 'float32', got"),
        (dict(dtype=16), "dtype must be 'bfloat16', 'float16' or 'float32', got 16"),
        (dict(compile='yes'), "compile: must be True or False, got 'yes'"),
        (dict(channels_last=1), 'channels_last: must be True or False, got 1'),
        (dict(tolerance=0), 'tolerance must be a finite number > 0, got 0'),
        (dict(tolerance='5%'), 'tolerance must be a finite number > 0'),
    ],
    ids=str,
)
def test_misuse_is_told_by_its_key(value: Any, message: str) -> None:
    teacher = teacher_of(faster_rcnn(), fast=value)
    with pytest.raises(ConfigError) as caught:
        MODELS.build(config(dict(hint=hint()), teacher=teacher))
    text = str(caught.value)
    assert text.startswith('model.teacher.fast') and message in text


def test_of_named_teachers_the_key_says_which() -> None:
    teachers = {
        'a': teacher_of(faster_rcnn()),
        'b': teacher_of(faster_rcnn(), fast=dict(dtype='half')),
    }
    pairs = dict(hint=dict(hint(), teacher='a'))
    with pytest.raises(ConfigError, match=r'^model\.teacher\.b\.fast: dtype must be'):
        MODELS.build(config(pairs, teacher=teachers))
