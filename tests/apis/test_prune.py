"""A pruned student goes through every tool, and out of the package."""

import subprocess
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from mmengine.config import Config

from kd_plugins.apis.export import build_plain, export_student
from kd_plugins.apis.prune import PrunedStudent, prune_student
from kd_plugins.apis.test import evaluate
from kd_plugins.apis.train import prepare_config, train
from kd_plugins.compression.pruning import Budget
from kd_plugins.config_files import read_config
from kd_plugins.engine.isolation import isolated
from kd_plugins.errors import CheckpointError, ConfigError
from kd_plugins.teachers.checkpoints import load_strictly, load_weights

pytestmark = pytest.mark.filterwarnings('ignore:``build_loss`` would be deprecated')
ROOT = Path(__file__).parents[2]
STUDENT = ROOT / 'configs/mosaics/pspnet_r18-w6-d8_1500it_mosaics-300-128x128.py'
DISTILLED = """
_base_ = ['{student}', 'kd_plugins::_base_/distill.py']
model = dict(
    _delete_=True,
    type='kd_plugins.Distiller',
    student=dict(cfg='{pruned}'),
    teacher=dict(cfg='{teacher}', checkpoint='{weights}'),
    pairs=dict(logits=dict(view='seg.logits', loss=dict(type='KDLoss'))))
load_from = '{start}'
train_dataloader = dict(batch_size=2, num_workers=0, persistent_workers=False,
    dataset=dict(ann_file='splits/train.txt'))
custom_hooks = []
val_cfg = val_dataloader = val_evaluator = None
test_dataloader = dict(num_workers=0, persistent_workers=False)
train_cfg = dict(max_iters=2)
default_hooks = dict(checkpoint=dict(interval=2))
"""


@pytest.fixture(scope='module')
def made(tmp_path_factory: pytest.TempPathFactory, tiny_mosaics: Path) -> Iterator[Any]:
    """A student with random weights, and what it is pruned to."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv('KD_PLUGINS_DATA', str(tiny_mosaics.parent))
        yield pruned_in(tmp_path_factory.mktemp('pruned'))


def pruned_in(folder: Path) -> Any:
    torch.manual_seed(0)
    model = build_plain(read_config(STUDENT))
    whole = folder / 'whole.pth'
    torch.save({'state_dict': model.state_dict(), 'meta': {'iter': 7}}, whole)
    out = folder / 'small.pth'
    pruned = prune_student(
        str(STUDENT), str(whole), out, Budget(flops=0.5, tolerance=0.1)
    )
    return SimpleNamespace(folder=folder, whole=whole, pruned=pruned)


def test_its_config_trains_it_further(made: Any) -> None:
    pruned: PrunedStudent = made.pruned
    assert pruned.config == made.folder / 'small.py'
    cfg = read_config(pruned.config)
    assert cfg.model.type == 'kd_plugins.Narrowed' and cfg.model.of == 'EncoderDecoder'
    assert cfg.load_from == str(pruned.weights) and cfg.train_cfg.max_iters == 1500
    assert 'custom_imports' not in cfg
    weights = load_weights(str(pruned.weights), key='checkpoint')
    load_strictly(build_plain(cfg), weights, 'checkpoint')
    told = pruned.describe()
    share = 100 * pruned.flops[1] / pruned.flops[0]
    assert f'GFLOPs (multiply-adds), {share:.1f} % left' in told
    assert 40 < share <= 50


def test_it_learns_is_tested_and_goes_out(made: Any) -> None:
    path = made.folder / 'taught.py'
    path.write_text(
        DISTILLED.format(
            student=STUDENT,
            pruned=made.pruned.config,
            teacher=STUDENT,
            weights=made.whole,
            start=made.pruned.weights,
        )
    )
    cfg = prepare_config(path, work_dir=str(made.folder / 'run'))
    with isolated():
        runner = train(cfg)
    assert type(runner.model.student).__name__ == 'EncoderDecoder'
    checkpoint = str(made.folder / 'run/student_iter_2.pth')
    assert 'mIoU' in evaluate(prepare_config(path), checkpoint)
    # From the config that is stored beside the weights, which is not run.
    config = export_student(checkpoint, made.folder / 'out.pth')
    text = config.read_text()
    assert 'def narrowed(' in text and 'register_narrowed()' in text
    weights = load_weights(str(made.folder / 'out.pth'), key='checkpoint')
    load_strictly(build_plain(Config.fromfile(config)), weights, 'checkpoint')


@pytest.mark.slow
def test_it_loads_where_this_package_is_not(made: Any) -> None:
    pruned = made.pruned
    outcome = subprocess.run(
        [
            sys.executable,
            str(ROOT / 'tests/apis/alone.py'),
            pruned.config,
            pruned.weights,
        ],
        capture_output=True,
        text=True,
        cwd=made.folder,
    )
    assert outcome.returncode == 0, outcome.stderr
    assert outcome.stdout.split() == ['EncoderDecoder', str(pruned.params[1])]


def test_a_stored_config_names_a_type_that_is_none(made: Any) -> None:
    content = torch.load(made.pruned.weights, weights_only=True)
    content['meta']['cfg'] = content['meta']['cfg'].replace(
        "of='EncoderDecoder'", "of='os.system'"
    )
    path = made.folder / 'evil.pth'
    torch.save(content, path)
    with pytest.raises(CheckpointError, match=r"in no registry.*\['os.system'\]"):
        export_student(str(path), made.folder / 'evil_out.pth')


def test_bad_input(made: Any) -> None:
    half = Budget(flops=0.5, tolerance=0.1)
    arguments = (str(STUDENT), str(made.whole))
    with pytest.raises(ConfigError, match=r'out must end with .pth or .safetensors'):
        prune_student(*arguments, made.folder / 'x.onnx', half)
    with pytest.raises(
        ConfigError, match=r'shape: must be at least 32 pixels, got 8 8'
    ):
        prune_student(*arguments, made.folder / 'x.pth', half, shape=(8, 8))
    other = ROOT / 'configs/mosaics/pspnet_r18-w24-d8_4k_mosaics-128x128.py'
    with pytest.raises(CheckpointError, match='checkpoint'):
        prune_student(str(other), str(made.whole), made.folder / 'x.pth', half)


def test_the_tool_says_what_it_does(made: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    tool = import_module('tools.prune')
    calls: list[Any] = []
    monkeypatch.setattr(tool, 'prune_student', lambda *a, **k: calls.append((a, k)))
    tool.main(
        [
            'a.py',
            'b.pth',
            'c.pth',
            '--params',
            '0.4',
            '--keep',
            'neck*',
            '--shape',
            '64',
            '96',
            '--seed',
            '3',
        ]
    )
    assert calls == [
        (
            ('a.py', 'b.pth', 'c.pth', Budget(params=0.4)),
            dict(importance='magnitude', keep=['neck*'], shape=[64, 96], seed=3),
        )
    ]
    with pytest.raises(ConfigError, match='got neither'):
        tool.main(['a.py', 'b.pth', 'c.pth'])
