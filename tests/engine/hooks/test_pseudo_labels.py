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
from tests.engine.stages.toys import page, run

MAKE = 'kd_plugins.engine.hooks.pseudo_labels.make_pseudo_labels'
HOOK: dict[str, Any] = dict(
    type='kd_plugins.PseudoLabelsHook',
    images='images',
    out='labels',
    teachers=dict(cfg='a.py', checkpoint='a.pth'),
    without='labelled.json',
    threshold=0.75,
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


def test_a_stage_takes_its_teacher_from_an_earlier_one(tmp_path: Path) -> None:
    taken: list[Any] = []

    def make(images: str, out: str, teachers: Any, **_: Any) -> PseudoLabels:
        taken.append((out, teachers['checkpoint']))
        return PseudoLabels(Path(out), 3, {'images': 3}, before=False)

    teachers = dict(cfg='a.py', checkpoint='{teacher.student}')
    hook = {**HOOK, 'teachers': teachers, 'out': '{teacher.work_dir}/pseudo'}
    stages = {'teacher': {}, 'student': {'options': {'custom_hooks': [hook]}}}
    with mock.patch(MAKE, make):
        run(page(tmp_path, stages))
    folder = tmp_path / 'teacher'
    assert taken == [(f'{folder}/pseudo', str(folder / 'student_iter_4.pth'))]


def test_wrong_options() -> None:
    with pytest.raises(ConfigError, match=r'PseudoLabelsHook: threshold must be at mo'):
        PseudoLabelsHook('i', 'o', HOOK['teachers'], threshold=2)
    with pytest.raises(ConfigError, match=r'PseudoLabelsHook: num_workers must be a w'):
        PseudoLabelsHook('i', 'o', HOOK['teachers'], num_workers=-1)
