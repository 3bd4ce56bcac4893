"""Step cost of shipped recipes on a tiny data set: what is measured, not how long."""

import json
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from mmengine.config import Config

from kd_plugins.benchmark import cost as cost_module
from kd_plugins.benchmark import cost_stages
from kd_plugins.benchmark.cost import (
    ADAPTERS,
    CACHED,
    DISTILLING,
    FAST,
    IDLE,
    STUDENT,
    TEACHER,
    Cost,
    busiest_moment,
    measure_cost,
    moment_without_pairs,
)
from kd_plugins.benchmark.cost_cached import with_caches
from kd_plugins.benchmark.cost_stages import AUXILIARY, LOSSES, WHOLE
from kd_plugins.benchmark.cost_table import cost_json, cost_markdown, with_rest
from kd_plugins.benchmark.main import cost
from kd_plugins.benchmark.protocol import read_protocol
from kd_plugins.benchmark.stopwatch import Stopwatch, time_in_turn
from kd_plugins.engine.opening import first_batch, open_config
from kd_plugins.errors import ConfigError
from kd_plugins.schedules import Clock

CONFIGS = Path(__file__).parents[2] / 'configs'
TINY = {
    'custom_hooks.0.train': 8,
    'custom_hooks.0.val': 4,
    'train_dataloader.batch_size': 2,
}
RANDOM_TEACHER = {
    'model.teacher.cfg': str(
        CONFIGS / 'digits' / 'faster-rcnn_r18-w32_fpn_4k_digits.py'
    ),
    'model.teacher.checkpoint': None,
    'model.teacher.allow_random': True,
}
MACHINE = {'processor': 'abacus', 'cores': 2, 'device': 'CPU'}


@pytest.fixture
def data(tiny_digits, monkeypatch) -> None:
    monkeypatch.setenv('KD_PLUGINS_DATA', str(tiny_digits.parent))
    monkeypatch.setattr(cost_stages, '_ROUNDS', 1)


def test_parts_take_turns_and_warm_up_does_not_count():
    calls = []
    seconds = time_in_turn(
        {'a': lambda: calls.append('a'), 'b': lambda: calls.append('b')},
        steps=2,
        warmup=1,
    )
    assert calls == ['a', 'b'] * 3
    assert {name: len(found) for name, found in seconds.items()} == {'a': 2, 'b': 2}


def test_ratios_by_hand():
    seconds = {
        STUDENT: [4.0, 4.0, 8.0],
        TEACHER: [1.0, 1.0, 2.0],
        ADAPTERS: [0.0, 0.0, 0.0],
        DISTILLING: [6.0, 5.0, 30.0],
    }
    found = Cost('hint', seconds)
    assert found.ratio == pytest.approx(6 / (4 + 1 + 0))  # of the medians
    assert found.paired_ratio == pytest.approx(1.2)  # median of 1.2, 1.0, 3.0
    assert found.step_ratio == pytest.approx(1.5)  # median of 1.5, 1.25, 3.75


def test_the_fast_teacher_has_a_column_and_no_part_in_the_ratio():
    seconds = {STUDENT: [4.0], TEACHER: [2.0], ADAPTERS: [0.0], DISTILLING: [4.5]}
    fast = Cost('fast', {**seconds, FAST: [0.5]}, {WHOLE: (4, 4.5)}, 0.8)
    plain = Cost('plain', seconds, {WHOLE: (4, 4.5)})
    assert fast.ratio == plain.ratio == 0.75
    assert fast.paired_ratio == 0.75
    rows = cost_markdown([plain, fast], MACHINE, {}, 1).splitlines()
    cells = {row.split()[1]: row.split('|') for row in rows if row.startswith('| ')}
    assert cells['recipe'][4].strip() == 'fast teacher forward'
    assert cells['plain'][4].strip() == '-'
    assert cells['fast'][4].strip() == '500.0'


class Scheduled:
    """As much of a pair as has a weight."""

    def __init__(self, *weights: float) -> None:
        self.weights = weights
        self.loss = SimpleNamespace(loss_weight=1.0)
        self.schedule = len(weights) > 1 or None

    def set_weight(self, clock: Clock) -> None:
        step, last = (
            (clock.epoch, clock.max_epochs)
            if clock.by_epoch
            else (clock.iteration, clock.max_iterations)
        )
        self.loss.loss_weight = self.weights[step * len(self.weights) // last]


@pytest.mark.parametrize('loop', ['max_iters', 'max_epochs'])
@pytest.mark.parametrize(
    ('pairs', 'quarter'),
    [
        ([], 0),
        ([Scheduled(1.0), Scheduled(0.1, 0.2)], 0),
        ([Scheduled(1.0), Scheduled(0.0, 0.2, 0.2)], 2),
        ([Scheduled(0.1, 0.0, 0.0), Scheduled(0.0, 1.0, 1.0)], 0),
        ([Scheduled(0.1, 0.1, 0.0), Scheduled(0.0, 0.0, 1.0)], 0),
        ([Scheduled(*[0.0] * 9, 1.0)], 4),
    ],
)
def test_the_moment_at_which_most_pairs_are_at_work(loop, pairs, quarter):
    clock = busiest_moment(Config(dict(train_cfg={loop: 41})), pairs)
    counted = (clock.iteration, clock.epoch)
    assert counted == ((10 * quarter, 0) if loop == 'max_iters' else (0, 10 * quarter))
    assert clock.by_epoch == (loop == 'max_epochs')


@pytest.mark.parametrize(
    ('pairs', 'quarter'),
    [
        ([], None),
        ([Scheduled(0.0)], None),  # no phase is over: it never begins
        ([Scheduled(1.0, 0.5)], None),
        ([Scheduled(1.0, 0.0)], 3),
        ([Scheduled(1.0, 0.0, 0.0), Scheduled(0.0, 0.0, 1.0)], 2),
    ],
)
def test_the_moment_at_which_no_pair_is_at_work(pairs, quarter):
    cfg = Config(dict(train_cfg=dict(max_iters=41)))
    clock = moment_without_pairs(cfg, SimpleNamespace(pairs=pairs))
    assert (clock and clock.iteration) == (quarter and 10 * quarter)


def test_a_step_without_pairs_counts_for_no_other_ratio():
    seconds = {
        STUDENT: [4.0, 4.0, 8.0],
        TEACHER: [1.0, 1.0, 2.0],
        ADAPTERS: [0.0, 0.0, 0.0],
        DISTILLING: [6.0, 5.0, 30.0],
    }
    plain = Cost('hint', seconds)
    assert plain.idle_ratio is None
    idle = Cost('hint', {**seconds, IDLE: [4.2, 4.0, 8.8]})
    assert idle.idle_ratio == pytest.approx(1.05)  # median of 1.05, 1.0, 1.1
    assert (idle.ratio, idle.paired_ratio) == (plain.ratio, plain.paired_ratio)
    text = cost_markdown([Cost('ab', idle.seconds, {WHOLE: (4, 6)})], MACHINE, {}, 1)
    assert '| step without pairs   | over the student   |' in text
    assert '| 4200.0               | 1.050              |' in text


def test_stopwatch_adds_up_within_a_round_and_lets_go():
    class Model:
        def forward(self, number):
            return number + 1

    model, stopwatch = Model(), Stopwatch()
    with stopwatch.timing_method(model, 'forward', 'forward'):
        stopwatch.next_round()
        assert model.forward(1) == 2
        stopwatch.next_round()
    assert list(stopwatch.medians()) == ['forward']
    assert 'forward' not in vars(model)


def test_stopwatch_counts_a_part_within_its_whole_and_after_it():
    class Model:
        def whole(self):
            return self.part()

        def part(self):
            return 1

    model, stopwatch = Model(), Stopwatch()
    with (
        stopwatch.timing_method(model, 'part', '- part', within='whole'),
        stopwatch.timing_method(model, 'whole', 'whole'),
    ):
        stopwatch.next_round()
        assert model.part() == 1  # outside: not counted
        assert '- part' not in stopwatch.medians()
        assert model.whole() == 1
    assert list(stopwatch.medians()) == ['whole', '- part']


@pytest.mark.slow
@pytest.mark.host
@pytest.mark.usefixtures('data')
def test_full_system_runs_each_part_alone(monkeypatch):
    cfg = open_config(CONFIGS / 'frcnn_kd.py', {**TINY, **RANDOM_TEACHER})
    work = {}

    def remember(parts, **options):
        work.update(parts)
        return time_in_turn(parts, **options)

    monkeypatch.setattr(cost_module, 'time_in_turn', remember)
    found = measure_cost('full', cfg, first_batch(cfg), steps=2, warmup=1, bound=1.1)
    assert list(found.seconds) == [STUDENT, TEACHER, ADAPTERS, DISTILLING, CACHED]
    assert all(len(rounds) == 2 for rounds in found.seconds.values())
    assert all(median > 0 for median in found.medians.values())
    # The teacher's features and both its heads: nothing of it runs in a student's step.
    alone, distilling = found.stages['teacher features']
    assert alone == 0 < distilling
    assert found.stages['- teacher heads'][1] > 0
    assert found.stages['backward'][0] > 0
    distiller = work[DISTILLING].__self__.model
    calls = []
    teacher = distiller.teachers['teacher'].model
    for part in ('backbone', 'rpn_head.rpn_conv', 'roi_head.bbox_head.fc_cls'):
        teacher.get_submodule(part).register_forward_hook(
            lambda *_, part=part: calls.append(part)
        )
    work[TEACHER]()
    # Once each; the RPN's convolution on each of the four levels.
    counts = {part: calls.count(part) for part in calls}
    assert counts == {
        'backbone': 1,
        'rpn_head.rpn_conv': 4,
        'roi_head.bbox_head.fc_cls': 1,
    }
    cached = work[CACHED].__self__.model.teachers['teacher'].model
    cached.backbone.register_forward_hook(lambda *_: calls.append('cached'))
    work[CACHED]()
    assert 'cached' not in calls
    hooks = [hook for one in distiller.modules() for hook in one._forward_hooks]
    assert not hooks  # nothing stays attached


@pytest.mark.slow
@pytest.mark.host
@pytest.mark.fast_teacher
@pytest.mark.usefixtures('data')
def test_plain_teacher_and_fast_copy_are_timed_apart(monkeypatch):
    fast = {'model.teacher.fast': {'fold_bn': True, 'tolerance': 1.0}}
    cfg = open_config(CONFIGS / 'frcnn_kd.py', {**TINY, **RANDOM_TEACHER, **fast})
    work = {}

    def remember(parts, **options):
        work.update(parts)
        return time_in_turn(parts, **options)

    monkeypatch.setattr(cost_module, 'time_in_turn', remember)
    found = measure_cost('full', cfg, first_batch(cfg), steps=1, warmup=0)
    parts = [STUDENT, TEACHER, FAST, ADAPTERS, DISTILLING]
    assert list(found.seconds)[:5] == parts
    distiller, student = (work[part].__self__.model for part in (DISTILLING, STUDENT))
    for name, parameter in student.named_parameters():  # neither learns
        assert torch.equal(parameter, distiller.student.get_parameter(name))
    teacher = distiller.teachers['teacher']
    calls = []
    for name, model in (('plain', teacher.model), ('fast', teacher.running())):
        for part in ('backbone', 'rpn_head', 'roi_head.bbox_head'):
            model.get_submodule(part).register_forward_hook(
                lambda *_, name=name: calls.append(name)
            )
    for part, ran in ((TEACHER, 'plain'), (FAST, 'fast'), (DISTILLING, 'fast')):
        calls.clear()
        work[part]()
        assert calls == [ran] * 3
    assert found.stages['- teacher heads'][1] > 0


@pytest.mark.host
@pytest.mark.usefixtures('data')
def test_a_teacher_that_cannot_be_cached_has_no_cached_step(monkeypatch):
    def refuse(cfg, folder):
        raise ConfigError('of images of many sizes')

    monkeypatch.setattr(cost_module, 'with_caches', refuse)
    cfg = open_config(CONFIGS / 'frcnn_kd.py', {**TINY, **RANDOM_TEACHER})
    found = measure_cost('many', cfg, first_batch(cfg), steps=1, warmup=0)
    assert CACHED not in found.seconds and found.cached_ratio is None
    (entry,) = cost_json([found], MACHINE, {}, 1, {'many': ''})['recipes']
    assert entry['cached_ratio'] is None


def test_a_cached_step_is_compared_with_the_student():
    seconds = {part: [2.0, 4.0] for part in (STUDENT, TEACHER, DISTILLING)}
    found = Cost('hint', {**seconds, CACHED: [2.1, 4.4]}, {WHOLE: (1.0, 2.0)})
    assert found.cached_ratio == pytest.approx(1.075)
    table = cost_markdown([found], MACHINE, {}, 1)
    head, _, row = (line.split() for line in table.splitlines()[4:7])
    assert head[head.index('cached') :][:2] == ['cached', 'step']
    assert ' '.join(row).endswith('| 3250.0 | 1.075 | - | - |')


def test_every_teacher_of_a_cached_step_has_a_cache_and_no_fast_copy():
    named = dict(big=dict(cfg='a.py', fast=dict(dtype='float32')), small=dict(cfg='b'))
    cfg = Config(dict(model=dict(teacher=named)))
    changed = with_caches(cfg, 'here').model.teacher
    assert [teacher.cache.folder for teacher in changed.values()] == ['here'] * 2
    assert 'fast' not in changed.big and 'cache' not in cfg.model.teacher.big
    single = with_caches(Config(dict(model=dict(teacher=dict(cfg='a.py')))), 'here')
    assert single.model.teacher.cache.folder == 'here'


@pytest.mark.host
@pytest.mark.usefixtures('data')
def test_a_balanced_weight_is_timed_at_work():
    options = {**TINY, **RANDOM_TEACHER}
    weight = dict(_delete_=True, type='GradientShare')
    options['model.pairs.hint.loss.loss_weight'] = weight
    cfg = open_config(CONFIGS / 'frcnn_kd.py', options)
    found = measure_cost('balanced', cfg, first_batch(cfg), steps=1, warmup=0)
    assert found.idle_ratio is None
    assert found.medians[ADAPTERS] > 0


@pytest.mark.host
def test_of_a_critic_the_table_shows_where_its_time_goes(tiny_mosaics, monkeypatch):
    monkeypatch.setenv('KD_PLUGINS_DATA', str(tiny_mosaics.parent))
    monkeypatch.setattr(cost_stages, '_ROUNDS', 1)
    teacher = str(CONFIGS / 'mosaics' / 'pspnet_r18-w24-d8_4k_mosaics-128x128.py')
    options = {**TINY, **RANDOM_TEACHER, 'model.teacher.cfg': teacher}
    cfg = open_config(CONFIGS / 'seg_skd.py', options)
    found = measure_cost('full', cfg, first_batch(cfg), steps=1, warmup=1)
    labels = list(found.stages)
    losses, auxiliary = labels.index(LOSSES), labels.index(AUXILIARY)
    # Each part below the stage that it is part of.
    assert labels[losses + 1] == '- critic: forward, for the student'
    assert labels[auxiliary + 1 : auxiliary + 4] == [
        '- critic: its own loss',
        '- critic: backward',
        '- critic: optimiser step',
    ]
    for whole, parts in ((losses, 1), (auxiliary, 3)):
        times = [found.stages[label][1] for label in labels[whole : whole + parts + 1]]
        assert 0 < sum(times[1:]) <= times[0]
    assert '| as measured |' in cost_markdown([found], MACHINE, {}, 1)
    assert labels.index('- teacher heads') == 1 + labels.index(
        'matching, teacher heads in it'
    )


@pytest.mark.host
@pytest.mark.usefixtures('data')
def test_cost_command_writes_tables(tmp_path):
    protocol = read_protocol(CONFIGS / 'benchmarks' / 'chen2017_digits.py')
    text = cost(
        protocol,
        tmp_path / 'work',
        recipes=['hint'],
        options={**TINY, **RANDOM_TEACHER},
        steps=1,
        warmup=0,
    )
    assert torch.get_num_threads() == 1
    assert (tmp_path / 'work' / 'cost.md').read_text() == text
    assert '| hint     |' in text
    (recipe,) = json.loads((tmp_path / 'work' / 'cost.json').read_text())['recipes']
    assert recipe['bound'] == protocol.cost['hint']
    assert recipe['ratio'] == pytest.approx(recipe['paired_ratio'])  # one round


@pytest.mark.host
@pytest.mark.usefixtures('data')
def test_a_student_alone_is_refused():
    name = 'faster-rcnn_r18-w16_fpn_1k_digits-300.py'
    cfg = open_config(CONFIGS / 'digits' / name, TINY)
    with pytest.raises(
        ConfigError, match="'baseline' has a model of type 'FasterRCNN'"
    ):
        measure_cost('baseline', cfg, {})


def test_nothing_to_measure_is_an_error(folder):
    with pytest.raises(ConfigError, match="'cost' names no recipe"):
        cost(read_protocol(folder / 'protocol.py'), folder / 'work')


def test_table_says_whether_the_bound_is_kept():
    seconds = {STUDENT: [1.0], TEACHER: [0.5], ADAPTERS: [0.5], DISTILLING: [2.1]}
    stages = {'backward': (0.25, 0.5), WHOLE: (1.0, 2.1)}
    costs = [Cost('hint', seconds, stages, 1.05), Cost('full', seconds, stages, 1.04)]
    text = cost_markdown(costs, MACHINE, {'torch': '2'}, threads=1)
    assert '| 1.050   | 1.050          | 1.05: kept     |' in text
    assert '| 1.04: exceeded |' in text
    assert '| everything else | 750.0           | 1600.0       | 850.0  |' in text
    assert 'Measured with: 1 threads; abacus, 2 cores; torch 2.' in text
    keys = {'hint': 'a', 'full': 'b'}
    hint, _ = cost_json(costs, MACHINE, {}, 1, keys)['recipes']
    assert hint['ratio'] == pytest.approx(1.05)
    assert (hint['key'], hint['step_ratio']) == ('a', pytest.approx(2.1))


def test_parts_of_a_stage_are_not_counted_twice():
    stages = {'match': (0.0, 3.0), '- heads': (0.0, 2.0), WHOLE: (1.0, 4.0)}
    assert with_rest(stages)['everything else'] == (1.0, 1.0)


def test_recipes_measured_before_are_kept_where_all_else_is_equal():
    seconds = {STUDENT: [1.0], TEACHER: [0.5], ADAPTERS: [0.5], DISTILLING: [2.1]}
    stages = {WHOLE: (1.0, 2.1)}

    def measured(names, versions, earlier=None):
        costs = [Cost(name, seconds, stages) for name in names]
        keys = dict.fromkeys(names, 'k')
        return cost_json(costs, MACHINE, versions, 1, keys, earlier)

    def recipes(content):
        return [each['recipe'] for each in content['recipes']]

    first = measured(['a', 'b'], {'torch': '2'})
    assert recipes(measured(['b', 'c'], {'torch': '2'}, first)) == ['a', 'b', 'c']
    assert recipes(measured(['b', 'c'], {'torch': '3'}, first)) == ['b', 'c']
