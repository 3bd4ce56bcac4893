"""References and stages that cannot be are found before anything runs."""

from pathlib import Path
from typing import Any

import pytest
from mmengine.config import Config

from kd_plugins.engine.stages import read_stages
from kd_plugins.engine.stages.references import find_references, put_in
from kd_plugins.errors import ConfigError

from .toys import page

FIRST = {'first': {}}


def taking(reference: str, **first: Any) -> dict[str, Any]:
    """Two stages, of which the second starts from what a reference says."""
    return {'first': first, 'second': {'options': {'load_from': reference}}}


@pytest.mark.parametrize(
    ('stages', 'message'),
    [
        (
            taking('{third.best}'),
            r"stages.second.load_from: '{third.best}': there is no stage 'third'. Th",
        ),
        (
            taking('{frist.best}'),
            r"'{frist.best}': there is no stage 'frist'. Close: 'first'.",
        ),
        (
            {'first': {'options': {'load_from': '{second.best}'}}, 'second': {}},
            "stages.first.load_from: '{second.best}' is of a stage that comes later; "
            '.*It is the first.',
        ),
        (
            taking('{second.best}'),
            r"'{second.best}' is of this stage itself, .*: first",
        ),
        (
            taking('{first.bets}'),
            "stages.second.load_from: '{first.bets}': a stage leaves no 'bets'. "
            "Close: 'best'.",
        ),
        (taking('{first.best[0]}'), r"'best' is one, .*Write '{first.best}'."),
        (
            taking('{first.checkpoints}.pth'),
            r"is a list of files, with text .* Write .*'{first.checkpoints\[0\]}'",
        ),
        (
            taking('{first.checkpoints[2]}'),
            r"stage 'first' keeps 2 checkpoints \(2, 4\): expected an index from 0 to",
        ),
        (taking('{first.checkpoints[-3]}'), 'keeps 2 checkpoints'),
        (
            taking(
                '{first.best}', options={'default_hooks.checkpoint.save_best': None}
            ),
            "stage 'first' keeps no best checkpoint. Add to its options: default_hook",
        ),
        (
            taking(
                '{first.best}',
                options={'default_hooks.checkpoint.save_best': ['acc', 'loss']},
            ),
            r"keeps a best checkpoint by each of \['acc', 'loss'\]: expected one",
        ),
        (
            taking('{first.student}', options={'default_hooks.checkpoint': None}),
            "stage 'first' saves nothing",
        ),
        (
            {'first': {'cfg': 'nowhere.py'}},
            "stages.first.cfg: there is no config 'nowhere.py'",
        ),
        (
            {'first': {'cgf': 'x.py'}},
            "stages.first: a stage has no 'cgf'. Close: 'cfg'.",
        ),
        ({'first': 3}, 'stages.first: expected a dict, got 3.'),
        ({'first': {'options': 3}}, 'stages.first.options: must be a dict of keys'),
        ({'1st': {}}, 'stages.1st: a stage is named by letters, digits'),
        (
            {'first': {'options': {'train_cfg.max_itres': 3}}},
            "stages.first.options: train_cfg.max_itres: train_cfg has no 'max_itres'.",
        ),
        (
            {'first': {'options': {'model': None}}},
            'stages.first.cfg: the page itself defines no model',
        ),
        (
            {'first': {'options': {'resume': True}}},
            r'stages.first.resume: must be False, got True: --resume is of all stages',
        ),
        ([{'cfg': 'x.py'}], 'stages: must be a dict of stages by name'),
        ({'first': None}, 'stages: holds no stage.'),
    ],
)
def test_what_cannot_be_is_told_with_its_key(
    tmp_path: Path, stages: Any, message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        read_stages(page(tmp_path, stages))


def test_checkpoints_are_nowhere_else(tmp_path: Path) -> None:
    elsewhere = {'default_hooks.checkpoint.out_dir': 'x'}
    message = (
        r"^stages.first.default_hooks.checkpoint.out_dir: must be left out, got 'x'"
    )
    with pytest.raises(ConfigError, match=message):
        read_stages(page(tmp_path, FIRST, **elsewhere))


def test_all_faults_are_told_at_once(tmp_path: Path) -> None:
    stages = {
        'first': {},
        'second': {'options': {'load_from': '{third.best}'}},
        'third': {'options': {'load_from': '{first.checkpoints[9]}'}},
    }
    with pytest.raises(ConfigError) as told:
        read_stages(page(tmp_path, stages))
    assert [line.partition(':')[0] for line in str(told.value).splitlines()] == [
        'stages.second.load_from',
        'stages.third.load_from',
    ]


def test_a_page_with_stages_is_no_stage(tmp_path: Path) -> None:
    inner = tmp_path / 'inner.py'
    page(tmp_path, FIRST).dump(inner)
    with pytest.raises(
        ConfigError, match=r'stages.first.cfg: .* has stages of its own'
    ):
        read_stages(page(tmp_path, {'first': {'cfg': str(inner)}}))


def test_a_stage_is_the_page_or_a_file_with_its_options(tmp_path: Path) -> None:
    file = tmp_path / 'file.py'
    other = page(tmp_path, FIRST, **{'train_cfg.max_iters': 7})
    other.pop('stages')
    other.dump(file)
    stages = {
        'file': {'cfg': str(file), 'options': {'log_level': 'ERROR'}},
        'removed': None,
        'page': {
            # The later one changes what the earlier gave.
            'options': {
                'model.student': {'_delete_': True, 'type': 'ToyStudent', 'width': 3},
                'model': {'student': {'width': 5}},
            }
        },
    }
    cfg = page(tmp_path, stages)
    first, second = read_stages(cfg)
    assert (first.name, first.source, first.cfg.log_level) == (
        'file',
        str(file),
        'ERROR',
    )
    assert (first.cfg.train_cfg.max_iters, second.cfg.train_cfg.max_iters) == (7, 4)
    assert second.cfg.model.student == {'type': 'ToyStudent', 'width': 5}
    assert first.cfg.work_dir == str(tmp_path / 'file')
    assert 'stages' not in second.cfg
    assert cfg.stages.page.options['model.student']['_delete_']  # the page stays


def test_how_many_checkpoints_there_will_be_is_not_guessed(tmp_path: Path) -> None:
    # How many iterations an epoch has, the data will tell.
    epochs = {
        'train_cfg': {'_delete_': True, 'by_epoch': True, 'max_epochs': 2},
        'train_dataloader.sampler': {'_delete_': True, 'type': 'DefaultSampler'},
    }
    cfg = page(tmp_path, taking('{first.checkpoints[9]}', options=epochs))
    assert read_stages(cfg)


def test_references_are_found_and_replaced_wherever_they_stand() -> None:
    content = {
        'load_from': '{a.student}',
        'model': {'teacher': {'checkpoint': '{b.checkpoints[-1]}'}},
        'custom_hooks': [{'files': '{b.checkpoints}'}],
        'data': ({'ann_file': '{a.work_dir}/made.json'},),
        'default_hooks': {'checkpoint': {'filename_tmpl': 'iter_{}.pth'}},
    }
    found = [(each.key, each.stage, each.index) for each in find_references(content)]
    assert found == [
        ('load_from', 'a', None),
        ('model.teacher.checkpoint', 'b', -1),
        ('custom_hooks.0.files', 'b', None),
        ('data.0.ann_file', 'a', None),
    ]
    cfg = Config(content)
    values = {'{a.student}': 's', '{b.checkpoints[-1]}': 'z', '{a.work_dir}': '/a'}
    put_in(cfg, {**values, '{b.checkpoints}': ['x', 'z']})
    assert cfg.load_from == 's'
    assert cfg.model.teacher.checkpoint == 'z'
    assert cfg.custom_hooks[0].files == ['x', 'z']
    assert cfg.data[0].ann_file == '/a/made.json'
    assert cfg.default_hooks.checkpoint.filename_tmpl == 'iter_{}.pth'
