"""Boxes of the ground truth that do not all count the same."""

from pathlib import Path
from typing import Any

import pytest
import torch
from mmengine.hooks import Hook
from torch.testing import assert_close

from kd_plugins.engine.hooks.box_weights import box_heads, weighted_boxes
from kd_plugins.errors import ConfigError
from kd_plugins.registry import HOOKS, MODELS
from tests.distillers import tiny_dense
from tests.distillers.runs import assert_same_weights, train
from tests.distillers.tiny import cascade_rcnn, faster_rcnn, losses_of

WEIGHTS = [torch.tensor([0.25, 0.75]), None]  # boxes of labels 0 and 1; of label 0


def built(config: Any) -> Any:
    torch.manual_seed(0)
    model = MODELS.build(config)
    model.init_weights()
    return model.train()


@pytest.fixture(scope='module')
def detector() -> Any:
    return built(faster_rcnn())


def targets_of(model: Any, weights: Any) -> tuple[list[Any], dict[str, Any]]:
    """What each stage learns from, and the losses."""
    found: list[Any] = []
    heads = box_heads(model, 'this test')
    with weighted_boxes(heads, weights):
        inner = [head.get_targets for head in heads]

        def seen(method: Any) -> Any:
            def get_targets(*args: Any, **kwargs: Any) -> Any:
                found.append((args[0], method(*args, **kwargs)))
                return found[-1][1]

            return get_targets

        for head, method in zip(heads, inner, strict=True):
            head.__dict__['get_targets'] = seen(method)
        losses = losses_of(model)
    return found, losses


@pytest.mark.parametrize('config', [faster_rcnn(), cascade_rcnn()], ids=['one', 'two'])
def test_rows_have_the_weight_of_their_box(config: Any) -> None:
    model = built(config)
    stages, _ = targets_of(model, WEIGHTS)
    assert len(stages) == len(box_heads(model, ''))
    for results, (labels, label_weights, _, delta_weights) in stages:
        rows = [len(each.pos_priors) + len(each.neg_priors) for each in results]
        image = torch.repeat_interleave(torch.arange(2), torch.tensor(rows))
        expected = torch.ones(len(labels))
        expected[(image == 0) & (labels == 0)] = 0.25
        expected[(image == 0) & (labels == 1)] = 0.75
        assert_close(label_weights, expected)
        positive = labels < 3
        assert_close(delta_weights[:, 0], expected * positive)
        assert set(expected[positive].tolist()) == {0.25, 0.75, 1.0}


def test_the_loss_follows_and_the_rpn_does_not(detector: Any) -> None:
    plain = losses_of(detector)
    half = [torch.full((2,), 0.5), torch.full((1,), 0.5)]
    _, losses = targets_of(detector, half)
    assert_close(losses['loss_bbox'], plain['loss_bbox'] / 2)
    assert losses['loss_cls'] < plain['loss_cls']
    for key in ('loss_rpn_cls', 'loss_rpn_bbox'):
        assert_close(losses[key], plain[key], rtol=0, atol=0)


def test_it_ends_with_the_block(detector: Any) -> None:
    (head,) = box_heads(detector, '')
    with weighted_boxes([head], WEIGHTS):
        assert 'get_targets' in head.__dict__
    assert 'get_targets' not in head.__dict__


def test_weights_of_all_images_are_those_of_none(detector: Any) -> None:
    _, losses = targets_of(detector, [torch.ones(2), torch.ones(1)])
    plain = losses_of(detector)
    for key, value in plain.items():
        assert_close(losses[key], value, rtol=0, atol=0)


def test_a_one_stage_detector_has_no_such_head() -> None:
    model = built(tiny_dense.retinanet())
    with pytest.raises(ConfigError, match='BoxWeightsHook weighs boxes in the RoI h'):
        box_heads(model, 'BoxWeightsHook')


@HOOKS.register_module()
class WeighBoxesHook(Hook):
    """Gives the boxes of every batch these weights; after it BoxWeightsHook runs."""

    priority = 'HIGH'

    def __init__(self, weight: float) -> None:
        self.weight = weight

    def before_train_iter(
        self, runner: Any, batch_idx: int, data_batch: Any = None
    ) -> None:
        for sample in data_batch['data_samples']:
            boxes = sample.gt_instances
            boxes.weights = torch.full((len(boxes),), self.weight)


def test_a_run_heeds_the_weights_of_its_samples(tmp_path: Path) -> None:
    def weights(*hooks: Any) -> Any:
        folder = tmp_path / str(len(list(tmp_path.iterdir())))
        runner = train(faster_rcnn(), folder, custom_hooks=list(hooks))
        return {
            name: value.clone() for name, value in runner.model.state_dict().items()
        }

    hook = dict(type='kd_plugins.BoxWeightsHook')
    plain = weights()
    assert_same_weights(weights(hook), plain)
    ones = weights(dict(type='kd_plugins.WeighBoxesHook', weight=1.0), hook)
    assert_same_weights(ones, plain)
    half = weights(dict(type='kd_plugins.WeighBoxesHook', weight=0.5), hook)
    head = 'roi_head.bbox_head.fc_reg.weight'
    assert not torch.equal(half[head], plain[head])
