"""A schedule stretched with its training keeps its shape."""

import pytest
from mmengine.config import Config

from kd_plugins.benchmark.longer import length_key_of, scaled_options
from kd_plugins.errors import ConfigError


def test_the_cosine_of_an_iteration_based_training_ends_with_it():
    cfg = Config(
        dict(
            train_cfg=dict(type='IterBasedTrainLoop', max_iters=1500, val_interval=500),
            param_scheduler=[
                dict(type='LinearLR', start_factor=0.01, begin=0, end=101),
                dict(type='CosineAnnealingLR', begin=101, end=1500, T_max=1399),
            ],
        )
    )
    assert scaled_options(cfg, 1.95) == {
        'train_cfg.max_iters': 2925,
        'train_cfg.val_interval': 975,
        'param_scheduler.0.end': 197,
        'param_scheduler.1.begin': 197,
        'param_scheduler.1.end': 2925,
        'param_scheduler.1.T_max': 2728,  # from 197 to 2925
    }


def test_milestones_of_epochs_move_and_a_warm_up_of_iterations_too():
    cfg = Config(
        dict(
            train_cfg=dict(type='EpochBasedTrainLoop', max_epochs=12, val_interval=1),
            param_scheduler=[
                dict(type='LinearLR', by_epoch=False, begin=0, end=500),
                dict(type='MultiStepLR', begin=0, end=12, milestones=[8, 11]),
            ],
        )
    )
    assert scaled_options(cfg, 1.5) == {
        'train_cfg.max_epochs': 18,
        'train_cfg.val_interval': 2,
        'param_scheduler.0.end': 750,
        'param_scheduler.1.end': 18,
        'param_scheduler.1.milestones': [12, 17],
    }


def test_schedulers_by_optimiser_and_one_alone():
    train_cfg = dict(max_iters=100)
    step = dict(type='StepLR', step_size=30)
    assert scaled_options(
        Config(
            dict(
                train_cfg=train_cfg,
                param_scheduler=dict(student=[step], critic=dict(type='PolyLR', end=9)),
            )
        ),
        2.0,
    ) == {
        'train_cfg.max_iters': 200,
        'param_scheduler.student.0.step_size': 60,
        'param_scheduler.critic.end': 18,
    }
    decay = dict(type='ExponentialLR', gamma=0.81)
    alone = scaled_options(Config(dict(train_cfg=train_cfg, param_scheduler=decay)), 2)
    assert alone['param_scheduler.gamma'] == pytest.approx(0.9)


def test_a_config_without_a_length():
    with pytest.raises(ConfigError, match='train_cfg needs max_iters or max_epochs'):
        length_key_of(Config(dict(train_cfg=dict(type='Loop'))))
