"""What the tools make of a config with stages: options for all, the last one shown."""

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from mmengine.config import Config

from kd_plugins.apis.distill_checks import check_sources
from kd_plugins.apis.distill_config import Sources
from kd_plugins.apis.export import export_student
from kd_plugins.apis.test import evaluate
from kd_plugins.apis.train import prepare_config
from kd_plugins.engine.stages import give_options, last_stage, read_stages
from kd_plugins.errors import ConfigError
from tests.engine.hooks.toy import build, same_state, unformatted

from .toys import TWO, page, pretend, quick

# The last has another student, to be told from the page's.
STAGES = copy.deepcopy(TWO)
STAGES['second']['options']['model.student.width'] = 3


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Of a page with stages."""
    path = tmp_path / 'page.py'
    cfg = page(tmp_path / 'work', STAGES, **{'model.student.width': 6})
    for part in ('dataloader', 'cfg', 'evaluator'):
        cfg[f'test_{part}'] = copy.deepcopy(cfg[f'val_{part}'])
    with unformatted():
        text = repr(cfg.to_dict())
    path.write_text(f'globals().update({text})')
    return path


def test_options_hold_for_every_stage_or_for_one(path: Path) -> None:
    options = {
        'randomness.seed': 9,
        'stages.first.options.train_cfg.max_iters': 8,
        'train_cfg.val_interval': 1,
        'work_dir': 'elsewhere',
    }
    first, second = read_stages(prepare_config(path, options=options))
    # They win over what is written, wherever it stands.
    nested = prepare_config(path)
    nested.stages.second.options.train_cfg = dict(max_iters=7)
    give_options(nested, {'train_cfg.max_iters': 5})
    assert read_stages(nested)[-1].cfg.train_cfg.max_iters == 5
    assert (first.cfg.randomness.seed, second.cfg.randomness.seed) == (9, 9)
    assert first.cfg.train_cfg == dict(by_epoch=False, max_iters=8, val_interval=1)
    assert second.cfg.train_cfg == dict(by_epoch=False, max_iters=6, val_interval=1)
    assert first.cfg.work_dir == 'elsewhere/first'


@pytest.mark.parametrize(
    ('key', 'message'),
    [
        (
            'train_cfg.max_itres',
            r"stages.first: train_cfg.max_itres: train_cfg has no 'max_itres'. .*"
            '--cfg-options are of every stage; of one alone: stages.first.options.<k',
        ),
        (
            'load_from',
            '^stages.second: load_from is taken from another stage, and an option w',
        ),
        ('stages.frist.options.log_level', "there is no stage 'frist'. Close: 'first'"),
        ('stages.first.cgf', r"stages.first: a stage has no 'cgf'. Close: 'cfg'"),
    ],
)
def test_an_option_that_cannot_be_is_told(path: Path, key: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        read_stages(prepare_config(path, options={key: 'x'}))


def test_the_last_stage_is_a_config_of_its_own(path: Path, tmp_path: Path) -> None:
    cfg = prepare_config(path)
    before = last_stage(cfg)
    # Nothing has run: what the teacher would be is not known, and not needed.
    assert before.load_from == '{first.best}'
    assert before.model.student.width == 3
    assert before.work_dir == str(tmp_path / 'work' / 'second')
    pretend(cfg)
    best = tmp_path / 'work' / 'first' / 'best_acc_iter_2.pth'
    assert last_stage(cfg).load_from == str(best)
    assert cfg.stages.second.options.load_from == '{first.best}'
    best.with_name('stage.json').unlink()
    assert last_stage(cfg).load_from == '{first.best}'
    plain = Config({'model': {}})
    assert last_stage(plain) is plain


@pytest.mark.host
@pytest.mark.filterwarnings('ignore:You are using `torch.load`:FutureWarning')
def test_a_student_of_the_last_stage_is_tested_and_exported(
    path: Path, tmp_path: Path
) -> None:
    cfg = last_stage(prepare_config(path))
    cfg.load_from, cfg.train_cfg.max_iters = None, 2
    cfg.visualizer.name = str(tmp_path)  # the host keeps it for the whole process
    with quick():
        runner = build(cfg)
        runner.train()
    checkpoint = str(tmp_path / 'work' / 'second' / 'iter_2.pth')
    out = export_student(checkpoint, tmp_path / 'out.pth', config=str(path))
    assert Config.fromfile(out).model == {'type': 'ToyStudent', 'width': 3}
    exported = torch.load(tmp_path / 'out.pth', weights_only=True)['state_dict']
    assert same_state(exported, runner.model.student.state_dict())
    tested = prepare_config(path, work_dir=str(tmp_path / 'test'))
    tested.visualizer.name = str(tmp_path / 'test')
    tested.experiment_name = 'tested'  # both within a second would share one
    with quick():
        assert evaluate(tested, checkpoint).keys() == {'acc'}
    assert (tmp_path / 'test' / 'second').is_dir()


@pytest.mark.parametrize('argument', ['STUDENT', 'TEACHER'])
def test_one_command_wants_one_training(
    path: Path, tmp_path: Path, argument: str
) -> None:
    single = tmp_path / 'single.py'
    single.write_text("model = dict(type='ToyStudent')")
    names: dict[str, Any] = {'student': str(single), 'teacher': str(single)}
    names[argument.lower()] = str(path)
    with pytest.raises(
        ConfigError,
        match=rf"^{argument}: '.*page.py' is of several stages \(first, second\): ",
    ):
        check_sources(Sources(**names, checkpoint='x.pth'))
