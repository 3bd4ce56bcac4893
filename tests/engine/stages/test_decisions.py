"""Which stages run, continue or are finished; nothing is trained here."""

import copy
import json
from pathlib import Path
from typing import Any

import pytest

from kd_plugins.engine.stages import train_stages
from kd_plugins.errors import CheckpointError, ConfigError
from tests.engine.hooks.toy import names

from .toys import TWO, log, page, pretend

ONE: dict[str, Any] = {'only': {}}


@pytest.mark.parametrize(
    ('reference', 'expected'),
    [
        ('{first.student}', 'iter_4.pth'),
        ('{first.checkpoint}', 'iter_4.pth'),
        ('{first.checkpoints[0]}', 'iter_2.pth'),
        ('{first.checkpoints[-1]}', 'iter_4.pth'),
        ('{first.best}', 'best_acc_iter_2.pth'),
        ('{first.work_dir}/iter_2.pth', 'iter_2.pth'),
    ],
)
def test_each_output_is_a_file_of_the_stage(
    tmp_path: Path, reference: str, expected: str
) -> None:
    second = {'options': {'load_from': reference}}
    last, _ = pretend(page(tmp_path, {'first': {}, 'second': second}))
    assert last.cfg.load_from == str(tmp_path / 'first' / expected)


def test_all_checkpoints_are_a_list(tmp_path: Path) -> None:
    second = {'options': {'custom_hooks': [{'files': '{first.checkpoints}'}]}}
    last, _ = pretend(page(tmp_path, {'first': {}, 'second': second}))
    files = [str(tmp_path / 'first' / f'iter_{step}.pth') for step in (2, 4)]
    assert last.cfg.custom_hooks == [{'files': files}]


def test_what_is_finished_does_not_run_again(tmp_path: Path) -> None:
    cfg = page(tmp_path, TWO)
    assert pretend(cfg)[1] == ['first', 'second']
    assert pretend(cfg, resume='auto') == (None, [])
    assert log(tmp_path).count('finished before.') == 2
    assert log(tmp_path).count('finished\n') == 2  # in the summary
    # Where and how it runs and is watched is no reason.
    cfg.log_level = 'ERROR'
    cfg.default_hooks.logger.interval = 1
    cfg.train_dataloader.pin_memory = False
    cfg.a_variable_of_the_file = 3
    cfg.resume = 'auto'  # as a key
    assert pretend(cfg) == (None, [])


def test_an_interrupted_stage_continues(tmp_path: Path) -> None:
    cfg = page(tmp_path, TWO)
    pretend(cfg)
    record = tmp_path / 'second' / 'stage.json'
    started = json.loads(record.read_text()) | {'gives': None}
    record.write_text(json.dumps(started))
    assert pretend(cfg, resume='auto')[1] == ['second+']
    # Killed before its first checkpoint, it has nothing to continue from.
    record.write_text(json.dumps(started))
    for path in (tmp_path / 'second').glob('*.pth'):
        path.unlink()
    assert pretend(cfg, resume='auto')[1] == ['second']
    assert not list(tmp_path.glob('*.old_*'))


def test_a_stage_that_changed_runs_again_and_what_takes_from_it(tmp_path: Path) -> None:
    cfg = page(tmp_path, {**TWO, 'apart': {}})
    pretend(cfg)
    before = names(tmp_path / 'first')
    cfg.stages.first['options'] = {'optim_wrapper.optimizer.lr': 0.02}
    assert pretend(cfg, resume='auto')[1] == ['first', 'second']
    assert names(tmp_path / 'first.old_1') == before  # nothing is lost
    text = log(tmp_path)
    assert "'first': starts anew, changed since it last ran: optim_wrapper." in text
    assert "'second': starts anew, changed since it last ran: {first.best}." in text
    assert 'starts anew, changed: what it takes' in text  # told before it begins
    assert "'apart': finished before." in text
    assert pretend(cfg, resume='auto')[1] == []


def test_a_folder_that_is_taken_is_that_of_its_run(tmp_path: Path) -> None:
    second = {'options': {'load_from': '{first.work_dir}/iter_2.pth'}}
    cfg = page(tmp_path, {'first': {}, 'second': second})
    pretend(cfg)
    assert pretend(cfg, resume='auto')[1] == []
    (tmp_path / 'first' / 'stage.json').unlink()
    assert pretend(cfg, resume='auto')[1] == ['first', 'second']


def test_a_file_in_the_place_of_what_was_taken_is_a_change(tmp_path: Path) -> None:
    cfg = page(tmp_path, TWO)
    pretend(cfg)
    (tmp_path / 'first' / 'best_acc_iter_2.pth').write_text('another')
    assert pretend(cfg, resume='auto')[1] == ['second']


def test_a_file_that_is_gone_matters_to_who_needs_it_yet(tmp_path: Path) -> None:
    cfg = page(tmp_path, TWO)
    pretend(cfg)
    (tmp_path / 'first' / 'best_acc_iter_2.pth').unlink()
    assert pretend(cfg, resume='auto')[1] == []
    cfg.stages.second.options['train_cfg.max_iters'] = 8
    with pytest.raises(
        CheckpointError,
        match=r"stages.second.load_from: '{first.best}' is .*, which is gone. Put it "
        r'back; or remove .*/first/stage.json, and --resume runs stage .first. again',
    ):
        pretend(cfg, resume='auto')
    assert names(tmp_path / 'second')  # it was not touched
    (tmp_path / 'first' / 'stage.json').unlink()
    assert pretend(cfg, resume='auto')[1] == ['first', 'second']


def test_without_resume_all_begins_anew(tmp_path: Path) -> None:
    cfg = page(tmp_path, {'first': {}, 'second': {}})
    pretend(cfg)
    (tmp_path / 'second' / 'iter_9.pth').touch()  # as an earlier, longer run leaves
    assert pretend(cfg)[1] == ['first', 'second']
    assert 'iter_9.pth' in names(tmp_path / 'second.old_1')
    assert 'iter_9.pth' not in names(tmp_path / 'second')
    assert pretend(cfg)[1] == ['first', 'second']
    assert sorted(path.name for path in tmp_path.glob('first*')) == [
        *('first', 'first.old_1', 'first.old_2'),
    ]


def test_other_packages_are_told_and_no_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cfg = page(tmp_path, ONE)
    now = 'kd_plugins.engine.stages.{}.versions'
    monkeypatch.setattr(now.format('records'), lambda: {'torch': '0.1'})
    pretend(cfg)
    monkeypatch.setattr(now.format('chain'), lambda: {'torch': '2'})
    assert pretend(cfg, resume='auto')[1] == []
    assert 'finished before. With other packages: torch 0.1, now 2.' in log(tmp_path)


def test_what_was_not_left_is_told(tmp_path: Path) -> None:
    cfg = page(tmp_path, TWO)
    pretend(cfg)
    record = tmp_path / 'first' / 'stage.json'
    content = json.loads(record.read_text())
    del content['gives']['best']
    record.write_text(json.dumps(content))
    with pytest.raises(
        ConfigError,
        match=r"^stages.second.load_from: '{first.best}': stage 'first' left none in "
        '.*: it was never validated.',
    ):
        pretend(cfg, resume='auto')


def test_an_index_that_only_the_run_can_tell(tmp_path: Path) -> None:
    stages = copy.deepcopy(TWO)
    stages['second']['options']['load_from'] = '{first.checkpoints[7]}'
    accumulating = {'optim_wrapper.accumulative_counts': 2}
    with pytest.raises(ConfigError, match=r'keeps 2 checkpoints \(iter_2.pth, iter_4.'):
        pretend(page(tmp_path, stages, **accumulating))


def test_a_checkpoint_to_resume_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"takes no checkpoint then, got 'x.pth'"):
        pretend(page(tmp_path, ONE), resume='x.pth')


def test_nothing_runs_before_all_is_checked(tmp_path: Path) -> None:
    stages = {'first': {}, 'second': {'options': {'load_from': '{third.best}'}}}
    with pytest.raises(ConfigError):
        train_stages(page(tmp_path / 'work', stages), lambda *_: pytest.fail('runs'))
    assert not (tmp_path / 'work').exists()
