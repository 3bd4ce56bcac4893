from pathlib import Path
from typing import Any

import pytest
import torch
from mmengine.config import Config
from mmengine.hooks import CheckpointHook
from mmengine.model import BaseDataPreprocessor
from mmengine.registry import MODELS, RUNNERS, DefaultScope
from mmengine.runner import Runner

import kd_plugins
from kd_plugins.distillers.student import student_config
from kd_plugins.engine.hooks import (
    AtomicCheckpointHook,
    ClockHook,
    RandomStateHook,
    SummaryHook,
)
from kd_plugins.engine.runner import DistillRunner
from tests.engine.hooks.toy import (
    ToyStudent,
    build,
    names,
    same_state,
    toy_config,
    train,
)

pytestmark = [
    pytest.mark.host,
    # The original family's own way of reading checkpoints.
    pytest.mark.filterwarnings('ignore:You are using `torch.load`:FutureWarning'),
]
PLAIN = {'_delete_': True, 'type': 'ToyStudent'}
CONFIGS = Path(kd_plugins.__file__).parents[1] / 'configs'


def by_the_host(work_dir: Path, **changes: Any) -> Runner:
    runner = Runner.from_cfg(toy_config(work_dir, **changes))
    runner.train()
    return runner


@pytest.mark.parametrize('by_epoch', [False, True], ids=['iterations', 'epochs'])
def test_a_plain_model_ends_as_with_the_host_s_runner(
    tmp_path: Path, by_epoch: bool
) -> None:
    changes: dict[str, Any] = {'model': PLAIN}
    if by_epoch:
        changes['train_cfg'] = {'_delete_': True, 'by_epoch': True, 'max_epochs': 2}
        changes['train_dataloader.sampler'] = {
            '_delete_': True,
            'type': 'DefaultSampler',
        }
        changes['default_hooks.checkpoint'] = {'by_epoch': True}
        changes['param_scheduler'] = {'by_epoch': True}
    host = by_the_host(tmp_path / 'host', **changes)
    ours = train(tmp_path / 'ours', **changes)
    assert isinstance(ours, DistillRunner)
    assert same_state(ours.model.state_dict(), host.model.state_dict())
    scores = [run.message_hub.get_info('best_score') for run in (ours, host)]
    assert scores[0] == scores[1]
    assert names(tmp_path / 'ours') == names(tmp_path / 'host')


def test_a_distiller_of_weight_0_ends_as_the_student_with_the_host_s_runner(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours = train(tmp_path / 'ours', **{'model.weight': 0.0})
    forward = ToyStudent.forward

    def twice(self: ToyStudent, inputs: Any, mode: str = 'tensor') -> Any:
        result = forward(self, inputs, mode)
        if mode == 'loss':  # as the toy distiller does: batch norm sees it
            self.backbone(torch.stack(inputs))
        return result

    monkeypatch.setattr(ToyStudent, 'forward', twice)
    host = by_the_host(tmp_path / 'host', model=PLAIN)
    assert same_state(ours.model.student.state_dict(), host.model.state_dict())


def test_a_plain_model_gets_no_hook_of_distillation(tmp_path: Path) -> None:
    runner = build(toy_config(tmp_path, model=PLAIN))
    kinds = [type(hook) for hook in runner.hooks]
    assert kinds.count(AtomicCheckpointHook) == kinds.count(RandomStateHook) == 1
    assert ClockHook not in kinds
    assert SummaryHook not in kinds
    assert CheckpointHook not in kinds


def test_hooks_named_in_the_config_are_not_doubled(tmp_path: Path) -> None:
    named = ('ClockHook', 'SummaryHook', 'RandomStateHook')
    hooks = [{'type': f'kd_plugins.{name}'} for name in named]
    runner = build(toy_config(tmp_path, custom_hooks=hooks))
    kinds = [type(hook).__name__ for hook in runner.hooks]
    assert sorted(kinds) == sorted(set(kinds))


def test_the_host_s_arguments_of_the_checkpoint_hook_are_kept(tmp_path: Path) -> None:
    runner = build(toy_config(tmp_path))
    (hook,) = (hook for hook in runner.hooks if isinstance(hook, CheckpointHook))
    assert (hook.interval, hook.max_keep_ckpts, hook.save_best) == (2, 2, ['acc'])
    assert hook.priority == CheckpointHook.priority


def test_a_clock_for_a_model_without_one(tmp_path: Path) -> None:
    hooks = [{'type': 'kd_plugins.ClockHook'}]
    runner = build(toy_config(tmp_path, model=PLAIN, custom_hooks=hooks))
    with pytest.raises(kd_plugins.ConfigError, match='Distiller, got ToyStudent'):
        runner.train()


@pytest.mark.parametrize('scope', ['mmdet', 'mmseg', 'mmengine'])
def test_the_runner_is_found_from_every_host(scope: str) -> None:
    with DefaultScope.overwrite_default_scope(scope):
        assert RUNNERS.get('kd_plugins.DistillRunner') is DistillRunner
    if scope == 'mmseg':  # whose tools build it by their own registry
        from mmseg.registry import RUNNERS as MMSEG_RUNNERS

        assert MMSEG_RUNNERS.get('kd_plugins.DistillRunner') is DistillRunner


@pytest.mark.parametrize(
    'base',
    [
        'mmdet::faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py',
        'mmseg::pspnet/pspnet_r50-d8_4xb2-40k_cityscapes-512x1024.py',
    ],
)
def test_the_base_config_goes_with_those_of_both_hosts(
    tmp_path: Path, base: str
) -> None:
    path = tmp_path / 'config.py'
    path.write_text(f'_base_ = [{base!r}, {str(CONFIGS / "_base_/distill.py")!r}]\n')
    cfg = Config.fromfile(path)
    assert cfg.runner_type == 'kd_plugins.DistillRunner'
    plain = Config.fromfile(path)
    for key in ('runner_type', 'custom_imports'):
        plain.pop(key)
    path.write_text(f'_base_ = [{base!r}]\n')
    host = Config.fromfile(path)._cfg_dict.to_dict()
    host.pop('custom_imports', None)
    assert plain._cfg_dict.to_dict() == host


class TestResume:
    def test_auto_starts_anew_from_given_weights(self, tmp_path: Path) -> None:
        given = train(tmp_path / 'given').model.state_dict()
        start = str(tmp_path / 'given' / 'iter_10.pth')
        short = {'optim_wrapper.optimizer.lr': 0.0, 'load_from': start}
        runner = train(tmp_path / 'run', resume='auto', **short)
        weight = 'student.head.1.weight'
        assert torch.equal(runner.model.state_dict()[weight], given[weight])
        assert runner.iter == 10

    def test_auto_prefers_what_the_run_has_saved(self, tmp_path: Path) -> None:
        whole = train(tmp_path / 'run').model.state_dict()
        (tmp_path / 'run' / 'iter_10.pth').unlink()
        other = str(tmp_path / 'run' / 'iter_8.pth')
        runner = train(tmp_path / 'run', resume='auto', load_from=other)
        assert same_state(runner.model.state_dict(), whole)

    def test_a_named_checkpoint_is_taken_as_the_host_takes_it(
        self, tmp_path: Path
    ) -> None:
        whole = train(tmp_path / 'run').model.state_dict()
        named = str(tmp_path / 'run' / 'iter_8.pth')
        runner = train(tmp_path / 'elsewhere', resume=True, load_from=named)
        assert same_state(runner.model.state_dict(), whole)
        assert names(tmp_path / 'elsewhere') >= {'iter_10.pth'}

    def test_nothing_to_resume_is_a_new_run(self, tmp_path: Path) -> None:
        whole = train(tmp_path / 'whole').model.state_dict()
        runner = train(tmp_path / 'run', resume=True, log_level='INFO')
        assert same_state(runner.model.state_dict(), whole)
        log = next((tmp_path / 'run').rglob('*.log')).read_text()
        assert 'No whole checkpoint to resume' in log

    @pytest.mark.parametrize('pointer', ['', 'nowhere/iter_4.pth', None])
    def test_last_checkpoint_may_be_wrong(
        self, tmp_path: Path, pointer: str | None
    ) -> None:
        whole = train(tmp_path).model.state_dict()
        newest = tmp_path / 'iter_10.pth'
        newest.write_bytes(newest.read_bytes()[:-50])
        (tmp_path / 'last_checkpoint').unlink()
        if pointer is not None:
            (tmp_path / 'last_checkpoint').write_text(pointer)
        runner = train(tmp_path, resume=True)
        assert same_state(runner.model.state_dict(), whole)


def test_a_data_preprocessor_of_the_whole_config_is_the_student_s(
    tmp_path: Path,
) -> None:
    @MODELS.register_module(force=True)
    class ToyPreprocessor(BaseDataPreprocessor):
        pass

    cfg = toy_config(tmp_path)
    cfg.data_preprocessor = {'type': 'ToyPreprocessor'}
    runner = build(cfg)
    assert isinstance(runner.model.student.data_preprocessor, ToyPreprocessor)


def test_the_configured_constructor_is_the_student_s(tmp_path: Path) -> None:
    wrapper = {
        'constructor': 'DefaultOptimWrapperConstructor',
        'paramwise_cfg': {'custom_keys': {'head': {'lr_mult': 0.0}}},
        'adapter_cfg': {'lr_mult': 3.0},
    }
    runner = train(tmp_path, optim_wrapper=wrapper, train_cfg={'max_iters': 1})
    groups = runner.optim_wrapper.optimizer.param_groups
    assert groups[-1]['initial_lr'] == pytest.approx(0.15)
    head = {id(parameter) for parameter in runner.model.student.head.parameters()}
    frozen = {id(group['params'][0]) for group in groups if group['initial_lr'] == 0}
    assert frozen == head


class TestStudentConfig:
    def test_leaves_out_what_is_ours(self) -> None:
        cfg = Config(
            {
                'model': {'type': 'kd_plugins.Distiller', 'student': {'type': 'A'}},
                'runner_type': 'kd_plugins.DistillRunner',
                'custom_imports': {'imports': ['kd_plugins', 'mmpretrain.models']},
                'custom_hooks': [{'type': 'kd_plugins.ClockHook'}, {'type': 'EMAHook'}],
                'optim_wrapper': {
                    'type': 'OptimWrapper',
                    'constructor': 'kd_plugins.DistillOptimWrapperConstructor',
                    'adapter_cfg': {'lr_mult': 2.0},
                },
            }
        )
        assert student_config(cfg)._cfg_dict.to_dict() == {
            'model': {'type': 'A'},
            'custom_imports': {'imports': ['mmpretrain.models']},
            'custom_hooks': [{'type': 'EMAHook'}],
            'optim_wrapper': {'type': 'OptimWrapper'},
        }

    def test_keeps_the_import_where_something_needs_it(self) -> None:
        cfg = Config(
            {
                'model': {'type': 'A'},
                'custom_imports': {'imports': ['kd_plugins']},
                'train_dataloader': {'dataset': {'type': 'kd_plugins.Data'}},
            }
        )
        assert student_config(cfg)._cfg_dict == cfg._cfg_dict
