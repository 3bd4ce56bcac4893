"""The tools one after the other, as a user calls them, on the main job made small."""

import pickle
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import MODELS, DefaultScope
from torch import nn

from kd_plugins.apis.test import _compare
from kd_plugins.checkpoints import read_checkpoint
from kd_plugins.errors import CheckpointError, ConfigError

train, test, export_student = (
    import_module(f'tools.{name}') for name in ('train', 'test', 'export_student')
)
ROOT = Path(__file__).parents[2]
CONFIG = ROOT / 'configs' / 'frcnn_kd.py'
STUDENT = ROOT / 'configs/digits/faster-rcnn_r18-w16_fpn_1k_digits-300.py'
SMALL = (
    'train_cfg.max_iters=2',
    'train_cfg.val_interval=2',
    'train_dataloader.batch_size=2',
    'train_dataloader.dataset.ann_file=annotations/train.json',
    'val_dataloader.batch_size=2',
    'test_dataloader.batch_size=2',
    'default_hooks.checkpoint.interval=2',
    'default_hooks.logger.interval=1',
    'custom_hooks=[]',
    'log_level=WARNING',
    # a teacher of the student's own size, untrained
    f'model.teacher.cfg={ROOT}/configs/digits/faster-rcnn_r18-w16_fpn_1k_digits-300.py',
    'model.teacher.checkpoint=None',
    'model.teacher.allow_random=True',
    # an adapter, to see that it stays out of the student's checkpoint
    'model.pairs.hint.adapter.type=ConvAdapter',
)
# Testing needs no teacher: these paths lead nowhere.
NO_TEACHER = (
    *(o for o in SMALL if not o.startswith(('model.teacher', 'train_cfg'))),
    'model.teacher.checkpoint=nowhere.pth',
)


def options(name: str, *others: str, base: tuple[str, ...] = SMALL) -> list[str]:
    # The hosts keep loggers, hubs and visualizers by name, for the whole process.
    names = (f'experiment_name={name}', f'visualizer.name={name}')
    return ['--cfg-options', *base, *names, *others]


@pytest.fixture(scope='module')
def trained(
    tiny_digits: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Path]:
    """Work dir of two iterations of the main job."""
    folder = tmp_path_factory.mktemp('trained')
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv('KD_PLUGINS_DATA', str(tiny_digits.parent))
        train.main([str(CONFIG), '--work-dir', str(folder), *options('trained')])
        yield folder


def plain_model(config: Path) -> nn.Module:
    cfg = Config.fromfile(config)
    with DefaultScope.overwrite_default_scope(cfg.default_scope):
        model: nn.Module = MODELS.build(cfg.model)
    return model


Predictions = list[dict[str, torch.Tensor]]


def predict(
    folder: Path, config: Path, checkpoint: Path, *others: str, base: Any = NO_TEACHER
) -> Predictions:
    """What tools/test.py dumps: every box, however improbable."""
    out = folder / f'{checkpoint.stem}{checkpoint.suffix[1:]}.pkl'
    arguments = ['--work-dir', str(folder), '--out', str(out)]
    name = f'test_{folder.name}_{out.stem}'
    metrics = test.main(
        [str(config), str(checkpoint), *arguments, *options(name, *others, base=base)]
    )
    assert 'coco/bbox_mAP' in metrics
    with out.open('rb') as file:
        dumped = pickle.load(file)
    return [image['pred_instances'] for image in dumped]


def assert_same(predictions: Predictions, others: Predictions) -> None:
    assert len(predictions) == len(others) == 4
    for mine, yours in zip(predictions, others, strict=True):
        assert len(mine['scores']) > 0
        for part in ('bboxes', 'scores', 'labels'):
            assert torch.equal(mine[part], yours[part])


EVERY_BOX = 'model.student.test_cfg.rcnn.score_thr=0'


@pytest.fixture(scope='module')
def predictions(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Predictions:
    """By the distillation's config and training checkpoint."""
    folder = tmp_path_factory.mktemp('predictions')
    return predict(folder, CONFIG, trained / 'iter_2.pth', EVERY_BOX)


@pytest.mark.host
def test_training_leaves_the_checkpoint_and_the_students_own(trained: Path) -> None:
    whole = read_checkpoint(trained / 'iter_2.pth')['state_dict']
    student = read_checkpoint(trained / 'student_iter_2.pth')['state_dict']
    assert any(name.startswith('adapters.') for name in whole)
    for name, value in student.items():
        assert torch.equal(value, whole[f'student.{name}'])


@pytest.mark.host
@pytest.mark.parametrize('suffix', ['.pth', '.safetensors'])
def test_plain_mmdet_loads_the_export_strictly_and_predicts_the_same(
    trained: Path, predictions: Predictions, tmp_path: Path, suffix: str
) -> None:
    out = tmp_path / 'made' / f'student{suffix}'
    export_student.main([str(trained / 'iter_2.pth'), str(out)])
    text = out.with_suffix('.py').read_text()
    assert 'kd_plugins' not in text
    assert str(trained) not in text

    model = plain_model(out.with_suffix('.py'))
    if suffix == '.pth':
        saved = torch.load(out, weights_only=True)  # nothing but data in it
        weights = saved['state_dict']
        assert saved['meta']['dataset_meta']['classes'] == tuple('0123456789')
    else:
        from safetensors.torch import load_file

        weights = load_file(out)
    model.load_state_dict(weights, strict=True)
    student = read_checkpoint(trained / 'student_iter_2.pth')['state_dict']
    assert set(weights) == set(student)
    assert all(torch.equal(weights[name], student[name]) for name in student)

    plain = [option for option in NO_TEACHER if not option.startswith('model.')]
    every_box = EVERY_BOX.replace('.student', '')
    config = out.with_suffix('.py')
    assert_same(predictions, predict(tmp_path, config, out, every_box, base=plain))


@pytest.mark.host
def test_a_distillations_config_takes_the_students_checkpoint_too(
    trained: Path, predictions: Predictions, tmp_path: Path
) -> None:
    student = trained / 'student_iter_2.pth'
    assert_same(predictions, predict(tmp_path, CONFIG, student, EVERY_BOX))


@pytest.mark.host
@pytest.mark.parametrize('averaged', [False, True])
def test_fidelity_is_that_of_the_trained_student(
    trained: Path, tmp_path: Path, averaged: bool
) -> None:
    config = tmp_path / 'compared.py'
    hooks = [dict(type='EMAHook')] * averaged
    config.write_text(f"_base_ = ['{CONFIG}']\ncustom_hooks = {hooks}\n")
    arguments = ('--fidelity', '--work-dir', str(tmp_path / 'work'))

    def measured(name: str, checkpoint: str) -> dict[str, float]:
        path = str(trained / checkpoint)
        base = tuple(option for option in SMALL if option != 'custom_hooks=[]')
        others = options(f'fidelity_{averaged}_{name}', EVERY_BOX, base=base)
        return test.main([str(config), path, *arguments, *others])

    found = measured('whole', 'iter_2.pth')
    assert {'coco/bbox_mAP', 'teacher/coco/bbox_mAP', 'fidelity/roi_kl'} <= set(found)
    assert 0 < found['fidelity/cka_hint'] < 1
    others = measured('student', 'student_iter_2.pth')
    assert {key: found[key] for key in found if 'time' not in key} == {
        key: others[key] for key in others if 'time' not in key
    }
    content = torch.load(trained / 'student_iter_2.pth', weights_only=True)
    bias = content['state_dict']['roi_head.bbox_head.fc_cls.bias']
    bias += torch.arange(len(bias))
    torch.save(content, tmp_path / 'other.pth')
    changed = measured('other', str(tmp_path / 'other.pth'))
    assert changed['fidelity/roi_kl'] != found['fidelity/roi_kl']


def test_fidelity_is_measured_by_one_hook() -> None:
    own = dict(type='FidelityHook', pixels=32)
    for hooks, expected in (
        ({}, 'kd_plugins.FidelityHook'),
        (dict(custom_hooks=[own]), 'FidelityHook'),
    ):
        cfg = Config(dict(model=dict(student={}), **hooks))
        _compare(cfg, {})
        (hook,) = cfg.custom_hooks
        assert hook.type == expected
    cfg = Config(dict(model=dict(student={}), default_hooks=dict(fidelity=own)))
    _compare(cfg, {})
    assert 'custom_hooks' not in cfg


@pytest.mark.parametrize(
    ('config', 'arguments', 'message'),
    [
        (CONFIG, ['--tta'], r'--fidelity compares numbers .* got --tta too'),
        (STUDENT, [], r"--fidelity .* got a model of type 'FasterRCNN'"),
    ],
)
def test_fidelity_needs_a_teacher_and_nothing_else(
    config: Path, arguments: list[str], message: str, tmp_path: Path
) -> None:
    work = ('--work-dir', str(tmp_path))
    with pytest.raises(ConfigError, match=message):
        test.main([str(config), 'any.pth', '--fidelity', *work, *arguments])


@pytest.mark.host
# of numpy, when the host's visualizer clips a tensor
@pytest.mark.filterwarnings('ignore:__array_wrap__:DeprecationWarning')
def test_augmented_predictions_are_painted(trained: Path, tmp_path: Path) -> None:
    test.main(
        [
            *(str(CONFIG), str(trained / 'iter_2.pth'), '--work-dir', str(tmp_path)),
            *('--show-dir', 'painted', '--tta'),
            *options(
                'painted', 'default_hooks.visualization.interval=1', base=NO_TEACHER
            ),
        ]
    )
    assert len([*tmp_path.rglob('painted/*.[jp][pn]g')]) == 4


@pytest.mark.slow
@pytest.mark.host
# of torch 2.4, when the host's runner loads the checkpoint to resume
@pytest.mark.filterwarnings('ignore:You are using `torch.load`:FutureWarning')
def test_a_run_is_resumed_and_amp_and_scaled_rates_are_taken(
    trained: Path, tmp_path: Path
) -> None:
    (tmp_path / 'iter_2.pth').write_bytes((trained / 'iter_2.pth').read_bytes())
    train.main(
        [
            *(str(CONFIG), '--work-dir', str(tmp_path)),
            *('--resume', '--auto-scale-lr', '--amp'),
            *options('resumed', 'train_cfg.max_iters=4', 'train_cfg.val_interval=9'),
        ]
    )
    final = read_checkpoint(tmp_path / 'iter_4.pth')
    assert final['meta']['iter'] == 4
    text = final['meta']['cfg']
    assert 'kd_plugins.BFloat16OptimWrapper' in text


@pytest.mark.host
def test_a_hook_for_averaged_weights_tests_those_in_the_file(
    trained: Path, predictions: Predictions, tmp_path: Path
) -> None:
    config = tmp_path / 'ema.py'
    config.write_text(f"_base_ = ['{CONFIG}']\ncustom_hooks = [dict(type='EMAHook')]\n")
    base = [option for option in NO_TEACHER if not option.startswith('custom_hooks')]
    checkpoint = trained / 'iter_2.pth'
    averaged = predict(tmp_path, config, checkpoint, EVERY_BOX, base=base)
    assert_same(predictions, averaged)


def test_a_checkpoint_of_another_architecture_is_not_tested(
    trained: Path, tmp_path: Path
) -> None:
    other = 'model.student.backbone.base_channels=12'
    with pytest.raises(
        CheckpointError, match=r"checkpoint: '.*iter_2.pth' is of another architecture"
    ):
        predict(tmp_path, CONFIG, trained / 'iter_2.pth', other)


@pytest.mark.usefixtures('trained')
def test_a_misspelt_override_stops_every_tool(tmp_path: Path) -> None:
    wrong = ['--cfg-options', 'model.pairs.hnt.loss.loss_weight=1']
    message = r"model.pairs has no 'hnt'. Close: 'hint'"
    with pytest.raises(ConfigError, match=message):
        train.main([str(CONFIG), *wrong])
    with pytest.raises(ConfigError, match=message):
        test.main([str(CONFIG), 'x.pth', *wrong])


@pytest.mark.parametrize('tool', [train, test, export_student])
def test_help_says_what_the_arguments_are(
    tool: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match='0'):
        tool.main(['--help'])
    assert 'usage:' in capsys.readouterr().out
