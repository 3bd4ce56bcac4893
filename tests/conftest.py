"""What all tests share: one thread, a fixed seed, a tiny data set on disk."""

import random
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, settings
from mmengine.registry import DefaultScope

import kd_plugins  # noqa: F401  (first of all: registers mmcv's missing operators)
from kd_plugins.datasets.digits import prepare_digits

settings.register_profile(
    'kd_plugins',
    deadline=None,
    max_examples=20,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile('kd_plugins')
torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def seed() -> int:
    """The seed that every test starts from."""
    random.seed(0)
    np.random.seed(0)
    torch.manual_seed(0)
    return 0


@pytest.fixture(autouse=True)
def default_scope() -> Iterator[None]:
    """The scope that a runner sets for the process ends with its test."""
    before = dict(DefaultScope._instance_dict)
    yield
    DefaultScope._instance_dict.clear()
    DefaultScope._instance_dict.update(before)


@pytest.fixture(scope='session')
def tiny_digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Digits in photographs, 8 + 4 images of 128x128, as ``prepare_digits`` lays them.

    ``train/``, ``val/`` and ``annotations/{train,train_300,val}.json``. Read only:
    it is shared by the whole session.
    """
    root = tmp_path_factory.mktemp('data') / 'digits'
    return prepare_digits(root, train=8, val=4)
