"""What all tests share: one thread, a fixed seed, a tiny data set on disk."""

import gc
import logging
import os
import random
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import mmengine.runner.runner
import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, settings
from mmengine.dataset import base_dataset
from mmengine.model import base_module, weight_init
from mmengine.registry import DefaultScope
from yapf.yapflib.yapf_api import FormatCode

import kd_plugins  # noqa: F401  (first of all: registers mmcv's missing operators)
from kd_plugins.datasets.digits import prepare_digits
from kd_plugins.datasets.mosaics import prepare_mosaics
from kd_plugins.datasets.planes import prepare_planes
from kd_plugins.teachers import fast
from tests.faults.tried import pytest_terminal_summary  # noqa: F401
from tests.quick_configs import read_once
from tests.warm_python import warm_python

# No test may reach what a user keeps there: it would be made anew, smaller.
os.environ.pop('KD_PLUGINS_DATA', None)
settings.register_profile(
    'kd_plugins',
    deadline=None,
    max_examples=20,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile('kd_plugins')
read_once()
torch.set_num_threads(1)


def pytest_collection_finish() -> None:
    """What is there before the first test stays: no collection goes through it."""
    gc.collect()
    gc.freeze()


# Where the hosts look for yapf's function: when it is needed, or once for all.
_FORMATTING = ('yapf.yapflib.yapf_api', 'mmengine.config.config')


@pytest.fixture(scope='session', autouse=True)
def quick_hosts() -> Iterator[None]:
    """What the hosts repeat for every run, seconds each time, is done once, or not.

    Of a process's whole length stay the facts of the machine, for which a compiler is
    asked. Texts of configs are written unformatted (see :func:`formatted`). No one
    waits for a disk: what is written is there for the next who reads. Who reads a data
    set collects no garbage. And nobody notes how each weight began, or what was built.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(base_dataset, 'gc', SimpleNamespace(collect=lambda: 0))
        facts = mmengine.runner.runner.collect_env
        patch.setattr(mmengine.runner.runner, 'collect_env', cache(facts))
        for place in _FORMATTING:
            patch.setattr(f'{place}.FormatCode', _unformatted, raising=False)
        patch.setattr(os, 'fsync', lambda descriptor: None)
        for module in (base_module, weight_init):
            patch.setattr(module, 'update_init_info', lambda module, init_info: None)
        logging.disable(logging.DEBUG)
        yield
        logging.disable(logging.NOTSET)


def _unformatted(text: str, **_: Any) -> tuple[str, bool]:
    return text, True


@pytest.fixture
def formatted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Texts of configs are formatted, as outside of tests."""
    for place in _FORMATTING:
        monkeypatch.setattr(f'{place}.FormatCode', FormatCode, raising=False)


@pytest.fixture(scope='session')
def warm_program() -> Iterator[str]:
    """Of :func:`tests.warm_python.warm_python`."""
    with warm_python() as program:
        yield program


@pytest.fixture
def warm_processes(warm_program: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What this process starts by ``sys.executable`` need not import torch."""
    monkeypatch.setattr(sys, 'executable', warm_program)


@pytest.fixture(autouse=True)
def seed() -> int:
    """The seed that every test starts from."""
    random.seed(0)
    np.random.seed(0)
    # `torch.manual_seed` takes milliseconds where there is no GPU: for each kind of
    # device that may come yet it notes who called it.
    if torch.cuda.is_available():
        torch.manual_seed(0)
    else:
        torch.default_generator.manual_seed(0)
    return 0


@pytest.fixture(autouse=True)
def exact_teachers(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Teachers run as they are, but where a config says how a fast copy differs.

    As on hardware where nothing pays: tests compare with what they compute by hand.
    Marked ``fast_teacher``, a test has those of this machine.
    """
    if request.node.get_closest_marker('fast_teacher') is None:
        monkeypatch.setattr(fast, 'switches_for', lambda device: fast.PLAIN)


@pytest.fixture(autouse=True)
def default_scope() -> Iterator[None]:
    """The scope that a runner sets for the process ends with its test.

    One that a fixture of a whole module left ends before it.
    """
    DefaultScope._instance_dict.clear()
    yield
    DefaultScope._instance_dict.clear()


@pytest.fixture(scope='session')
def tiny_digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Digits in photographs, 8 + 4 images of 128x128, as ``prepare_digits`` lays them.

    ``train/``, ``val/`` and ``annotations/{train,train_300,val}.json``. Read only:
    it is shared by the whole session.
    """
    root = tmp_path_factory.mktemp('data') / 'digits'
    return prepare_digits(root, train=8, val=4)


@pytest.fixture(scope='session')
def tiny_mosaics(tiny_digits: Path) -> Path:
    """Mosaics of photographs, 8 + 4 images of 128x128, laid by ``prepare_mosaics``.

    ``{images,labels}/{train,val}/`` and ``splits/{train,train_300,val}.txt``. Read
    only, and beside ``tiny_digits``: one ``KD_PLUGINS_DATA`` names both.
    """
    return prepare_mosaics(tiny_digits.with_name('mosaics'), train=8, val=4)


@pytest.fixture(scope='session')
def tiny_planes(tiny_digits: Path) -> Path:
    """Planes in haze, 8 + 4 images of 128x128, as ``prepare_planes`` lays them.

    ``{images,annotations}/{train,val}/``. Read only, and beside ``tiny_digits``.
    """
    return prepare_planes(tiny_digits.with_name('planes'), train=8, val=4)
