"""What the tools do before a runner is built; whole runs are in tests/tools."""

import argparse
import gc
import os
import re
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from mmengine.config import Config
from mmengine.config.utils import MODULE2PACKAGE
from mmengine.runner import Runner

from kd_plugins.apis.command_line import add_training_options
from kd_plugins.config_files import read_config
from kd_plugins.engine.runner import DistillRunner
from kd_plugins.errors import ConfigError, HostError

running = import_module('kd_plugins.apis.train')
testing = import_module('kd_plugins.apis.test')


def written(folder: Path, **content: Any) -> Path:
    path = folder / 'small.py'
    Config(content).dump(path)
    return path


def test_configs_of_installed_packages_are_found() -> None:
    cfg = read_config('mmdet::faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py')
    assert cfg.model.type == 'FasterRCNN'


@pytest.mark.parametrize('path', ['nowhere.py', 'mmdet::nowhere/nothing.py'])
def test_a_config_that_is_nowhere_is_named(path: str) -> None:
    with pytest.raises(ConfigError, match=rf"--config: there is no config '{path}'"):
        read_config(path, '--config')


@pytest.mark.parametrize('path', ['mmdet::nope.py', 'mmdet::a::b.py', 'nope::a/b.py'])
def test_a_name_of_no_config_is_told_with_its_key(path: str) -> None:
    with pytest.raises(
        ConfigError,
        match=rf"^model.teacher.cfg: '{path}' names no config of a package; expected "
        r"is 'mmdet::<folder>/<file>.py', of mmdet, mmseg or kd_plugins.",
    ):
        read_config(path, 'model.teacher.cfg')


def test_a_package_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(MODULE2PACKAGE, 'mmdet', 'mmdet_nowhere')
    with pytest.raises(HostError, match=r"'mmdet::a/b.py' needs mmdet, .* pip install"):
        read_config('mmdet::a/b.py')


@pytest.mark.host
# of mmengine, which leaves a file open when it refuses a base
@pytest.mark.filterwarnings('ignore::pytest.PytestUnraisableExceptionWarning')
@pytest.mark.parametrize(
    'name',
    [
        'gn+ws/faster-rcnn_r50_fpn_gn-ws-all_1x_coco.py',
        'legacy_1.x/retinanet_r50_fpn_1x_coco_v1.py',
    ],
)
def test_folders_that_mmengine_refuses_are_found(name: str, tmp_path: Path) -> None:
    assert read_config(f'mmdet::{name}').model.backbone.depth == 50
    path = tmp_path / 'inherits.py'
    path.write_text(f"_base_ = ['mmdet::{name}']")
    with pytest.raises(ConfigError, match=r'Give the path of the file') as caught:
        read_config(path)
    written = re.search(r"write '(.*)'", str(caught.value))
    assert written is not None
    del caught
    gc.collect()
    path.write_text(f'_base_ = [{written[1]!r}]')
    assert read_config(path).model.backbone.depth == 50


# of mmengine, which leaves a file open where a config fails
@pytest.mark.filterwarnings('ignore::pytest.PytestUnraisableExceptionWarning')
@pytest.mark.parametrize(
    ('text', 'message'),
    [
        (
            'a = dict(',
            r"line 1 of it, or of a base of it, is no Python: 'a = dict\(' .*closed\)",
        ),
        ('a = b', r"'.*config.py', line 1: NameError\(.*'b'"),
        (
            "_base_ = ['./base.py']\nb = {{_base_.modle.x}}",
            r"names by {{_base_. ...}} a key 'modle', which is in no base\.",
        ),
        ("_base_ = ['./base.py']\nmodel = dict(x=dict(y=2))", r'_delete_=True'),
    ],
)
def test_a_mistake_in_a_config_is_told_with_its_line(
    text: str, message: str, tmp_path: Path
) -> None:
    (tmp_path / 'base.py').write_text('model = dict(x=1)\n')
    path = tmp_path / 'config.py'
    path.write_text(text)
    with pytest.raises(
        ConfigError, match=rf"^config: '{path}' cannot be read: "
    ) as told:
        read_config(path)
    assert re.search(message, str(told.value))


@pytest.mark.filterwarnings('ignore::pytest.PytestUnraisableExceptionWarning')
def test_an_error_in_what_a_config_imports_is_no_mistake_of_the_config(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / 'broken_import.py').write_text('undefined\n')
    monkeypatch.setattr(sys, 'path', [str(tmp_path), *sys.path])
    path = tmp_path / 'config.py'
    path.write_text("custom_imports = dict(imports=['broken_import'])\n")
    with pytest.raises(NameError, match='undefined'):
        read_config(path)
    gc.collect()


@pytest.mark.parametrize('text', ['foo', 'a=[1,2'])
def test_an_option_that_is_no_key_and_value_is_named(
    text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    parser = argparse.ArgumentParser()
    add_training_options(parser, 'any')
    assert parser.parse_args(['--cfg-options', 'a.b=1', 'c=[1,x]']).cfg_options == {
        'a.b': 1,
        'c': [1, 'x'],
    }
    with pytest.raises(SystemExit, match='2'):
        parser.parse_args(['--cfg-options', 'a.b=1', text])
    expected = f"--cfg-options: expected KEY=VALUE, got '{text}'"
    assert expected in capsys.readouterr().err


def test_the_work_dir_is_the_arguments_the_configs_or_of_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv('LOCAL_RANK', raising=False)
    path = written(tmp_path, a=1)
    cfg = running.prepare_config(path, local_rank=3, options={'a': 2}, launcher='mpi')
    assert (cfg.a, cfg.launcher) == (2, 'mpi')
    assert cfg.work_dir == os.path.join('work_dirs', 'small')
    assert os.environ['LOCAL_RANK'] == '3'
    path = written(tmp_path, work_dir='theirs')
    assert running.prepare_config(path).work_dir == 'theirs'
    assert running.prepare_config(path, work_dir='mine').work_dir == 'mine'
    monkeypatch.delenv('LOCAL_RANK')


class _Built:
    """In place of a runner: keeps the config that it was to be built from."""

    def __init__(self, cfg: Config) -> None:
        self.cfg = cfg
        self.model = None

    def train(self) -> None: ...


@pytest.fixture
def built(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(running, 'build_runner', _Built)


@pytest.mark.usefixtures('built')
@pytest.mark.parametrize(
    ('content', 'resume', 'expected'),
    [
        ({}, None, (False, 'start.pth')),
        ({}, 'auto', ('auto', 'start.pth')),
        ({}, 'x.pth', (True, 'x.pth')),
        ({'runner_type': 'kd_plugins.DistillRunner'}, 'auto', ('auto', 'start.pth')),
        # the host's runner would load start.pth and call it resuming
        ({'runner_type': 'Runner'}, 'auto', (True, None)),
    ],
)
def test_resuming(content: Any, resume: str | None, expected: Any) -> None:
    cfg = Config(dict(resume=False, load_from='start.pth', **content))
    cfg = running.train(cfg, resume=resume).cfg
    assert (cfg.resume, cfg.load_from) == expected


@pytest.mark.usefixtures('built')
def test_scaling_the_learning_rate_needs_the_batch_size_it_is_for() -> None:
    cfg = Config(dict(auto_scale_lr=dict(base_batch_size=8)))
    assert running.train(cfg, auto_scale_lr=True).cfg.auto_scale_lr.enable
    for content in ({}, {'auto_scale_lr': None}, {'auto_scale_lr': {'enable': False}}):
        with pytest.raises(ConfigError, match=r'auto_scale_lr=dict\(base_batch_size'):
            running.train(Config(content), auto_scale_lr=True)


def test_runners_are_ours_unless_the_config_says_otherwise(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Runner, 'from_cfg', classmethod(lambda cls, cfg: cls))
    assert running.build_runner(Config({})) is DistillRunner
    assert running.build_runner(Config(dict(runner_type='Runner'))) is Runner


def prepared(scope: str, **content: Any) -> Config:
    return Config(
        dict(
            default_scope=scope,
            model=dict(type='Plain'),
            default_hooks=dict(visualization=dict(type='Any')),
            visualizer=dict(type='Any'),
            test_evaluator=dict(type='Any'),
            test_dataloader=dict(
                dataset=dict(
                    type='Wrapper',
                    dataset=dict(type='Any', pipeline=[dict(type='Load'), dict()]),
                )
            ),
            **content,
        )
    )


def test_predictions_of_detectors_go_into_a_pickle() -> None:
    with pytest.raises(ConfigError, match=r"--out must be a .pkl .* got 'x.json'"):
        testing.evaluate(prepared('mmdet'), 'x.pth', out='x.json')


def test_painting_needs_the_hook() -> None:
    cfg = prepared('mmdet')
    cfg.default_hooks = {}
    with pytest.raises(ConfigError, match=r'--show-dir need the visualization hook'):
        testing.evaluate(cfg, 'x.pth', show_dir='x')


def test_augmentation_is_the_configs_of_segmentors() -> None:
    with pytest.raises(ConfigError, match=r"--tta needs 'tta_model' and 'tta_pipel"):
        testing.evaluate(prepared('mmseg'), 'x.pth', tta=True)


@pytest.fixture
def stopped(monkeypatch: pytest.MonkeyPatch) -> list[Config]:
    """Configs that a runner was to be built from, and was not."""
    seen: list[Config] = []

    def stop(cfg: Config) -> None:
        seen.append(cfg)
        raise RuntimeError('stop here')

    monkeypatch.setattr(testing, 'build_runner', stop)
    return seen


def test_segmentors_take_folders(stopped: list[Config]) -> None:
    cfg = prepared('mmseg', tta_model=dict(type='SegTTAModel'), tta_pipeline=['tta'])
    with pytest.raises(RuntimeError, match='stop here'):
        testing.evaluate(cfg, 'x.pth', out='masks', show_dir='painted', tta=True)
    (cfg,) = stopped
    assert cfg.test_evaluator == dict(type='Any', output_dir='masks', keep_results=True)
    assert cfg.visualizer.save_dir == 'painted'
    assert cfg.default_hooks.visualization.draw
    assert cfg.model == dict(type='SegTTAModel', module=dict(type='Plain'))
    assert cfg.test_dataloader.dataset.pipeline == ['tta']


def test_detectors_are_flipped_and_shown(stopped: list[Config]) -> None:
    cfg = prepared('mmdet')
    with pytest.raises(RuntimeError, match='stop here'):
        testing.evaluate(cfg, 'x.pth', show=True, wait_time=3, tta=True)
    (cfg,) = stopped
    hook = cfg.default_hooks.visualization
    assert (hook.show, hook.wait_time, hook.draw) == (True, 3, True)
    assert cfg.model.type == 'DetTTAModel'
    assert [step['type'] for step in cfg.tta_pipeline] == ['Load', 'TestTimeAug']
    assert cfg.load_from == 'x.pth'
