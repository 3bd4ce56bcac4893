"""What tools and hooks say of a run that has no teacher: one sentence, no error."""

import copy
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from mmengine.config import Config
from mmengine.runner import Runner

from kd_plugins.apis.doctor.checks import CHECKS
from kd_plugins.apis.doctor.examine import diagnose
from kd_plugins.apis.price import PriceHook
from kd_plugins.apis.train import build_runner
from kd_plugins.benchmark.cost import TEACHER, measure_cost
from kd_plugins.engine.overrides import apply_overrides
from kd_plugins.errors import ConfigError
from kd_plugins.evaluation.gradients import gradient_shares
from kd_plugins.registry import MODELS
from kd_plugins.visualization.maps import choose_pairs
from kd_plugins.visualization.pages import Column, class_names, left_out
from kd_plugins.visualization.shots import take_shots
from tests.apis.doctor.made import case, evaluation
from tests.distillers.runs import TinyImages, run_config, train
from tests.distillers.tiny import config, faster_rcnn, hint, raw_batch
from tests.engine.hooks.toy import unformatted

OURS = dict(runner_type='kd_plugins.DistillRunner')
PAIRS = dict(
    sure=dict(view='roi.logits', loss=dict(type='TfNKDLoss')),
    own=dict(view='roi.logits', loss=dict(type='USKDLoss')),
)


def alone(pairs: dict[str, Any] = PAIRS) -> dict[str, Any]:
    return config(pairs) | dict(teacher=None)


@pytest.fixture(autouse=True)
def _quick(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.chdir(tmp_path)  # the doctor leaves the host's files where it stands
    # It asks the compiler, and formats the config: seconds.
    with mock.patch.object(Runner, '_log_env'), unformatted():
        yield


def test_fidelity_is_left_out_with_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    hooks = [dict(type='kd_plugins.FidelityHook')]
    said: list[str] = []
    with mock.patch.object(
        logging.Logger, 'warning', lambda _, text: said.append(text)
    ):
        runner = train(alone(), tmp_path, custom_hooks=hooks, **OURS)
    assert runner.iter == 4
    (told,) = {text for text in said if text.startswith('FidelityHook')}
    assert 'nothing is measured: this run has no teacher to compare with' in told
    assert not [key for key in runner.message_hub.log_scalars if 'fidelity' in key]


def test_the_price_says_that_there_is_none(tmp_path: Path) -> None:
    hook = PriceHook(dry_run=True)
    runner = build_runner(run_config(alone(), tmp_path, **OURS))
    runner.register_hook(hook)
    runner.train()
    assert hook.price is not None and hook.price.parameters == 0
    assert str(hook.price).splitlines()[3] == '  no teacher'


def test_every_pair_has_a_share_of_the_gradient() -> None:
    model = MODELS.build(alone())
    model.init_weights()
    shares = gradient_shares(model.train(), raw_batch())
    assert set(shares.pairs) == set(PAIRS)
    assert all(each.alive and each.reaches for each in shares.pairs.values())


def test_the_doctor_checks_what_needs_no_teacher() -> None:
    known = evaluation()
    made = case(alone(), validation=known, training=known)
    diagnosis = diagnose(made, CHECKS)
    reasons = {item.reason for _, item in diagnosis.not_checked}
    assert 'there is no teacher (model.teacher=None)' in reasons
    without = {
        name for name, item in diagnosis.not_checked if 'no teacher' in item.reason
    }
    assert {'teacher', 'classes', 'normalisation', 'soft targets', 'gap'} <= without
    assert 'labels' in {name for name, _ in diagnosis.findings}


def test_pictures_are_of_the_student_alone() -> None:
    model = MODELS.build(alone())
    model.init_weights()
    item = copy.deepcopy(TinyImages().items[0])
    pairs = choose_pairs(model, None)
    (shot,) = take_shots(model, [item], pairs)
    assert shot.teachers == {} and shot.heats == []
    assert class_names(model) == {}
    message = left_out(pairs, Column('student', [shot]))
    assert message == 'No maps of own, sure: there is no teacher to compare with.'
    model = MODELS.build(config(PAIRS | dict(hint=hint())))
    pairs = choose_pairs(model, None)
    (shot,) = take_shots(model, [item], pairs)
    assert {heat.pair for heat in shot.heats} == {'hint'}


def test_a_step_is_timed_without_a_teachers_part() -> None:
    cfg = Config(
        dict(
            model=alone(),
            optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.1)),
            train_cfg=dict(by_epoch=False, max_iters=4),
        )
    )
    cost = measure_cost('alone', cfg, raw_batch(), steps=1, warmup=1, with_stages=False)
    assert TEACHER not in cost.seconds and cost.cached_ratio is None
    assert cost.ratio > 0 and cost.paired_ratio > 0


@pytest.mark.parametrize(
    'options',
    [
        {'model.teacher': None},
        {'model.pairs.sure.loss.with_background': True},
        {'model.pairs.noisy.target_transform.share': 0.25},
    ],
)
def test_its_keys_can_be_overridden(options: dict[str, Any]) -> None:
    transform = dict(type='NoisyTeacherTransform', share=0.5)
    noisy = dict(
        view='roi.logits', target_transform=transform, loss=dict(type='LogitL2Loss')
    )
    cfg = Config(dict(model=config(PAIRS | dict(noisy=noisy), faster_rcnn())))
    apply_overrides(cfg, options)
    ((key, value),) = options.items()
    node: Any = cfg
    for part in key.split('.'):
        node = node[part]
    assert node == value


def test_a_misspelt_key_of_a_transform_is_named() -> None:
    transform = dict(type='NoisyTeacherTransform', share=0.5)
    noisy = dict(
        view='roi.logits', target_transform=transform, loss=dict(type='LogitL2Loss')
    )
    cfg = Config(dict(model=config(dict(noisy=noisy))))
    with pytest.raises(ConfigError, match='shar'):
        apply_overrides(cfg, {'model.pairs.noisy.target_transform.shar': 0.25})
