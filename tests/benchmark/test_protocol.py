import re
from pathlib import Path

import pytest

from kd_plugins.benchmark.plan import key_of, plan_runs, teacher_run
from kd_plugins.benchmark.protocol import Recipe, read_protocol
from kd_plugins.errors import ConfigError

SHIPPED = Path(__file__).parents[2] / 'configs' / 'benchmarks'


@pytest.mark.parametrize(
    'path', sorted(SHIPPED.glob('*.py')), ids=lambda path: path.stem
)
def test_shipped_protocol_names_configs_that_are_there(path):
    protocol = read_protocol(path)
    if path.stem.startswith('cost_'):  # timed, not trained
        assert set(protocol.cost) == set(protocol.recipes)
        return
    assert len(protocol.seeds) >= 3
    runs = plan_runs(protocol, Path('work'), protocol.recipes, protocol.seeds)
    # Every recipe, and every seed, is another run.
    planned = [recipe.seeds_of(protocol.seeds) for recipe in protocol.recipes.values()]
    assert len({run.key for run in runs}) == sum(map(len, planned))


@pytest.mark.parametrize(
    ('old', 'new', 'message'),
    [
        ("metric = 'coco/bbox_mAP'", "metrik = ''", "no key 'metrik'. Close: 'metric'"),
        ("metric = 'coco/bbox_mAP'", '', "needs the key 'metric'"),
        ("baseline = 'baseline'", "baseline = 'basline'", "Close: 'baseline'"),
        ('seeds = [0, 1, 2]', 'seeds = [0, 0]', 'seeds must be different'),
        ("'hint.py'", "'hnt.py'", "recipes.hint.config: there is no file '.*hnt.py'"),
        ("dict(config='hint.py')", 'dict()', "recipes.hint: needs the key 'config'"),
        ("'hint': dict(", "'a/b': dict(", "recipes.a/b: a recipe's name is that of"),
        ("[('hint', 'plain')]", "[('hint', 'plan')]", "comparisons names 'plan'"),
        ('workers = 2', "cost = {'all': 1.0}", "cost names 'all'"),
        ('workers = 2', "details = 'IoU.*'", "details must be a list.*got 'IoU"),
        (
            "'baseline.py'",
            "'baseline.py', own_start=True",
            "the baseline 'baseline' is the start that own_start differs from",
        ),
        (", checkpoint='teacher.pth'", '', 'teacher: needs a checkpoint, or its score'),
    ],
)
def test_faults_name_the_key(folder, old, new, message):
    path = folder / 'protocol.py'
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))
    with pytest.raises(ConfigError, match=message):
        read_protocol(path)


def test_a_cost_may_have_no_bound(folder):
    path = folder / 'protocol.py'
    path.write_text(path.read_text() + 'cost = dict(hint=None)\n')
    assert read_protocol(path).cost == {'hint': None}


def test_options_of_the_protocol_are_those_of_every_run_and_of_the_teacher(folder):
    path = folder / 'protocol.py'
    text = path.read_text()
    before = read_protocol(path)
    path.write_text(
        text.replace("'hint.py'", "'hint.py', options={'randomness.deterministic': 1}")
        + "options = {'randomness.deterministic': 0}\n"
    )
    protocol = read_protocol(path)
    numbers = {
        run.recipe: run.options['randomness.deterministic']
        for run in plan_runs(protocol, folder, protocol.recipes, [0])
    }
    assert numbers.pop('hint') == '1'  # its own come after
    assert set(numbers.values()) == {'0'}
    teacher, plain = teacher_run(protocol, folder), teacher_run(before, folder)
    assert teacher is not None and plain is not None
    assert teacher.options == {'randomness.deterministic': '0'}
    assert teacher.key != plain.key


def test_no_protocol():
    with pytest.raises(ConfigError, match=re.escape("no protocol file 'none.py'")):
        read_protocol('none.py')


def test_unknown_recipe_is_named(folder):
    protocol = read_protocol(folder / 'protocol.py')
    with pytest.raises(ConfigError, match=r"no 'hnt'. Close: 'hint'"):
        protocol.select(['hnt'])
    assert list(protocol.select(['hint'])) == ['baseline', 'hint']


def test_key_follows_config_options_and_weights_but_not_the_place_of_the_data(
    folder, monkeypatch
):
    config = folder / 'hint.py'
    weights = folder / 'weights.pth'
    weights.write_bytes(b'1')
    config.write_text(
        f'{config.read_text()}\ndata_root = '
        f"'{{{{$KD_PLUGINS_DATA:data}}}}/digits'\nload_from = {str(weights)!r}\n"
        "teacher = 'kd_plugins::digits/faster-rcnn_r18-w32_fpn_4k_digits.py'\n"
    )
    key = key_of(Recipe('hint', config).written, {})
    monkeypatch.setenv('KD_PLUGINS_DATA', '/elsewhere')
    cfg = Recipe('hint', config).written
    assert key_of(cfg, {}) == key
    assert key_of(cfg, {'train_cfg.max_iters': 7}) != key
    assert key_of(cfg, {}) == key  # options change a copy
    weights.write_bytes(b'2')
    assert key_of(cfg, {}) != key
    weights.unlink()  # the run will say that they are missing
    assert key_of(cfg, {}) != key


def test_option_that_the_command_line_cannot_take(folder):
    path = folder / 'protocol.py'
    path.write_text(
        path.read_text().replace(
            "config='hint.py'", "config='hint.py', options={'randomness': dict(seed=1)}"
        )
    )
    protocol = read_protocol(path)
    with pytest.raises(ConfigError, match="option 'randomness' must be a number"):
        plan_runs(protocol, Path('work'), protocol.select(['hint']), [0])


def test_score_of_the_teacher_may_be_given(folder):
    path = folder / 'protocol.py'
    path.write_text(path.read_text().replace("checkpoint='teacher.pth'", 'score=0.5'))
    assert read_protocol(path).teacher.score == 0.5
