"""Pseudo-labels that a training makes before it opens its data."""

from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from mmengine.runner import Runner

from kd_plugins.engine.hooks import PseudoLabelsHook
from kd_plugins.engine.pseudo_labels import PseudoLabels
from kd_plugins.errors import ConfigError
from tests.engine.hooks.toy import ToyDataset, build, toy_config

MAKE = 'kd_plugins.engine.hooks.pseudo_labels.make_pseudo_labels'
HOOK = dict(
    type='kd_plugins.PseudoLabelsHook',
    images='images',
    out='labels',
    teachers=dict(cfg='a.py', checkpoint='a.pth'),
    without='labelled.json',
    options=dict(threshold=0.75),
)


def test_they_are_made_before_the_data_are_opened(tmp_path: Path) -> None:
    order: list[str] = []

    def make(images: str, out: str, teachers: Any, **options: Any) -> PseudoLabels:
        assert (images, out, teachers) == ('images', 'labels', HOOK['teachers'])
        assert options.pop('options').threshold == 0.75
        assert options == dict(without='labelled.json', num_workers=0)
        order.append('made')
        return PseudoLabels(Path(out), 3, {'images': 3}, before=False)

    class Watched(ToyDataset):
        def __init__(self) -> None:
            order.append('opened')
            super().__init__()

    changes = {'custom_hooks': [HOOK], 'train_dataloader.dataset': dict(type=Watched)}
    with mock.patch(MAKE, make):
        runner: Any = build(toy_config(tmp_path, **changes))
        assert order == []  # a test makes none
        runner.train()
    assert order[:2] == ['made', 'opened'] and order.count('made') == 1


def test_the_hosts_own_runner_is_refused() -> None:
    hook = PseudoLabelsHook('images', 'labels', HOOK['teachers'])
    runner = object.__new__(Runner)
    with pytest.raises(
        ConfigError, match=r"runner_type='kd_plugins.DistillRunner', w.*Runner"
    ):
        hook.before_train(runner)


def test_wrong_options() -> None:
    with pytest.raises(ConfigError, match=r"options: no argument 'tau'. There are: 't"):
        PseudoLabelsHook('i', 'o', HOOK['teachers'], options=dict(tau=1))
    with pytest.raises(ConfigError, match=r'PseudoLabelsHook.options: threshold must'):
        PseudoLabelsHook('i', 'o', HOOK['teachers'], options=dict(threshold=2))
