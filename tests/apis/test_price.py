"""The price is measured on copies: the training does not notice."""

import copy
import itertools
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
import torch
from mmengine.model import BaseModel
from mmengine.registry import DATASETS
from mmengine.runner import Runner

from kd_plugins.apis import copies
from kd_plugins.apis.price import DISTILLED, STUDENT, Price, PriceHook, measure_price
from kd_plugins.apis.train import build_runner
from kd_plugins.distillers import Distiller
from kd_plugins.random_stream import get_random_state
from tests.distillers.runs import TinyImages, assert_same_weights, run_config
from tests.distillers.tiny import all_pairs, config
from tests.engine.hooks.toy import unformatted

_run = itertools.count()
RAMP = dict(type='LinearRamp', start=0.0, end=1.0, begin=0, until=4)


@DATASETS.register_module()
class CountingImages(TinyImages):
    """Remembers what was read, as mosaics and caches do."""

    def __init__(self) -> None:
        super().__init__()
        self.read: list[int] = []

    def __getitem__(self, index: int) -> dict[str, Any]:
        self.read.append(index)
        item = super().__getitem__(index)
        item['inputs'] = (item['inputs'].long() + len(self.read)).clamp(max=255).byte()
        return item


@pytest.fixture(autouse=True)
def _quick() -> Iterator[None]:
    # It asks the compiler, and formats the config: seconds.
    with mock.patch.object(Runner, '_log_env'), unformatted():
        yield


def run(
    folder: Path, *hooks: Any, **changes: Any
) -> tuple[Any, dict[str, list[float]]]:
    """A runner after training, and what it logged."""
    runner = built(folder, *hooks, **changes)
    runner.train()
    logged = {
        key: buffer.data[0].tolist()
        for key, buffer in runner.message_hub.log_scalars.items()
        if not key.endswith('time')
    }
    return runner, logged


def built(
    folder: Path,
    *hooks: Any,
    weight: Any = 1.0,
    pairs: Any = None,
    fast: Any = 'auto',
    dataset: str = 'CountingImages',
    compiled: bool = False,
    **changes: Any,
) -> Any:
    two = {name: all_pairs(weight)[name] for name in ('hint', 'rcn_cls')}
    cfg = run_config(config(pairs or two), folder, **changes)
    cfg.experiment_name = f'price_{os.getpid()}_{next(_run)}'
    cfg.train_dataloader.dataset.type = dataset
    cfg.compile = compiled
    cfg.model.teacher.fast = fast
    cfg.optim_wrapper.clip_grad = dict(max_norm=0.5)
    cfg.runner_type = 'kd_plugins.DistillRunner'
    runner = build_runner(cfg)
    for hook in hooks:
        runner.register_hook(hook)
    return runner


@pytest.mark.parametrize('weight', [1.0, RAMP], ids=['constant', 'ramp'])
def test_weights_and_logs_are_those_of_a_run_without_it(
    weight: Any, tmp_path: Path
) -> None:
    hook = PriceHook()
    plain, logged = run(tmp_path / 'plain', weight=weight)
    priced, told = run(tmp_path / 'priced', hook, weight=weight)
    assert_same_weights(plain.model.state_dict(), priced.model.state_dict())
    assert told == logged
    assert plain.train_dataloader.dataset.read == priced.train_dataloader.dataset.read
    assert_same_optimiser(plain, priced)
    assert hook.price is not None
    assert hook.price.iterations == 4


def assert_same_optimiser(plain: Any, priced: Any) -> None:
    states = [item.optim_wrapper.state_dict()['state'] for item in (plain, priced)]
    assert states[0].keys() == states[1].keys()
    for key, state in states[0].items():
        other = states[1][key]
        assert all(torch.equal(value, other[name]) for name, value in state.items())


def test_the_random_states_after_it_are_those_before(tmp_path: Path) -> None:
    states: list[Any] = []
    hook = PriceHook()

    def stopped(runner: Any) -> None:
        states.append(get_random_state())
        PriceHook.before_train(hook, runner)
        states.append(get_random_state())

    with mock.patch.object(hook, 'before_train', stopped):
        run(tmp_path, hook)
    before, after = states
    assert before['python'] == after['python']
    assert torch.equal(before['torch'], after['torch'])
    assert torch.equal(before['numpy'][1], after['numpy'][1])


def test_a_loss_that_trains_something_by_itself_is_copied_too(tmp_path: Path) -> None:
    critic = dict(critic=critic_pair())
    runs = [
        run(tmp_path / name, *hooks, pairs=critic)
        for name, hooks in (('plain', ()), ('priced', (PriceHook(),)))
    ]
    assert_same_weights(*(runner.model.state_dict() for runner, _ in runs))
    assert runs[0][1] == runs[1][1]


def critic_pair() -> dict[str, Any]:
    loss = dict(type='HolisticLoss', maps='raw', base_channels=4)
    return dict(layer='neck', levels=[0], loss=loss)


def test_steps_take_turns_on_real_batches(tmp_path: Path) -> None:
    stepped: list[tuple[str, int]] = []
    runner = built(tmp_path, fast=dict(fold_bn=True))

    def measure() -> None:
        runner.call_hook('before_train')
        with watched(stepped):
            prices.append(measure_price(runner))
        state = runner.model.teachers['teacher'].fast
        fast.append((state.is_used(torch.device('cpu')), state.prepared))

    prices: list[Price] = []
    fast: list[tuple[bool | None, bool]] = []
    runner.build_train_loop = looped(runner, measure)
    runner.train()
    (price,) = prices
    assert [name for name, _ in stepped] == ['FasterRCNN', 'Distiller'] * 6
    assert {images for _, images in stepped} == {2}
    assert price.batch_size == 2
    assert [len(times) for times in price.seconds.values()] == [5, 5]
    teacher = runner.model.teachers['teacher'].model
    assert price.parameters == sum(item.numel() for item in teacher.parameters())
    assert price.weights >= 4 * price.parameters
    assert price.peaks == {}
    # Which copy of the teacher the training runs, its own first batch decides.
    assert fast == [(None, False)]


def looped(runner: Any, function: Any) -> Any:
    build = runner.build_train_loop

    def built_loop(loop: Any) -> Any:
        made = build(loop)
        made.run = function
        return made

    return built_loop


@contextmanager
def watched(stepped: list[tuple[str, int]]) -> Iterator[None]:
    step = BaseModel.train_step

    def noted(model: Any, data: Any, wrapper: Any) -> Any:
        stepped.append((type(model).__name__, len(data['inputs'])))
        return step(model, data, wrapper)

    with mock.patch.object(BaseModel, 'train_step', noted):
        yield


def test_a_dry_run_ends_before_the_first_iteration(tmp_path: Path) -> None:
    hook = PriceHook(dry_run=True)
    runner, _ = run(tmp_path, hook)
    assert runner.iter == 0
    assert hook.price is not None
    assert not list(tmp_path.glob('*.pth'))


def test_a_resumed_run_is_priced_for_what_is_left(tmp_path: Path) -> None:
    run(tmp_path, train_cfg=dict(by_epoch=False, max_iters=4, val_interval=9))
    hook = PriceHook()
    run(
        tmp_path,
        hook,
        train_cfg=dict(by_epoch=False, max_iters=10, val_interval=99),
        resume='auto',
    )
    assert hook.price is not None
    assert hook.price.iterations == 6


def test_the_busiest_moment_is_priced(tmp_path: Path) -> None:
    clocks: list[int] = []
    loss = Distiller.loss

    def noted(model: Any, *args: Any) -> Any:
        clocks.append(model.clock.iteration)
        return loss(model, *args)

    late = dict(type='LinearRamp', start=0.0, end=1.0, begin=2, until=3)
    with mock.patch.object(Distiller, 'loss', noted):
        run(tmp_path, PriceHook(dry_run=True), weight=late)
    assert set(clocks) == {3}


@pytest.mark.parametrize(
    ('options', 'reason'),
    [
        (dict(compiled=True), 'a compiled step is that of the model itself'),
        (dict(dataset='LockedImages'), 'a copy of model or data failed (cannot'),
    ],
)
def test_what_cannot_be_copied_goes_without_a_price(
    options: Any, reason: str, tmp_path: Path
) -> None:
    hook = PriceHook(dry_run=True)
    runner = built(tmp_path, hook, **options)
    said = listen(runner)
    runner.train()
    assert hook.price is None
    assert any(f'was not measured: {reason}' in text for text in said)


@DATASETS.register_module()
class LockedImages(TinyImages):
    def __init__(self) -> None:
        super().__init__()
        self.lock = threading.Lock()


def listen(runner: Any) -> list[str]:
    """What a runner logs."""
    said: list[str] = []
    info = runner.logger.info

    def noted(text: str, *args: Any) -> None:
        said.append(str(text))
        info(text, *args)

    runner.logger.info = noted
    return said


def test_a_layer_whose_forward_was_replaced_is_not_copied(tmp_path: Path) -> None:
    runner = built(tmp_path, PriceHook())
    backbone = runner.model.student.backbone
    forward = backbone.forward
    backbone.forward = lambda *args: forward(*args)
    said = listen(runner)
    runner.train()
    assert any('the forward of a layer was replaced' in text for text in said)


def test_checkpointed_activations_are_priced_as_such(tmp_path: Path) -> None:
    runner = built(tmp_path)
    runner.cfg.activation_checkpointing = ['student.backbone.layer1']
    plain = copy.deepcopy(runner.model.state_dict())

    def measure() -> None:
        runner.call_hook('before_train')
        with mock.patch.object(copies, 'turn_on_activation_checkpointing') as turned_on:
            measure_price(runner)
        turned_on.assert_called_once()

    runner.build_train_loop = looped(runner, measure)
    runner.train()
    state = runner.model.state_dict()
    norms = [name for name in state if name.endswith('running_mean')]
    assert all(torch.equal(state[name], plain[name]) for name in norms)


def test_the_price_in_words() -> None:
    seconds = {STUDENT: [0.2, 0.2, 0.5], DISTILLED: [0.3, 0.4, 0.5]}
    price = Price(seconds, 8, 90_000, 3_420_000, 14 * 2**20, {})
    assert price.ratio == pytest.approx(1.5)
    assert price.hours(DISTILLED) == pytest.approx(10.0)
    lines = str(price).splitlines()
    assert lines[1] == '  a step: 0.200 s alone, 0.400 s distilled, 1.50 times as long'
    assert lines[2] == '  90,000 iterations: 5.0 hours alone, 10.0 hours distilled'
    assert lines[3] == '  the teacher: 3.42 M parameters, 14.0 MiB'
    assert lines[4] == '  On a busy machine these times are noisy.'
    assert len(lines) == 5
    peaks = {STUDENT: 100 * 2**20, DISTILLED: 300 * 2**20}
    priced = str(Price(seconds, 8, 90_000, 3_420_000, 14 * 2**20, peaks))
    assert 'GPU memory at most: 100 MiB alone, 300 MiB distilled\n' in priced
