import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from mmengine.fileio import LocalBackend

from kd_plugins.engine import files

from .toy import ToyDistiller, build, names, same_state, toy_config, train

pytestmark = [
    pytest.mark.host,
    # The original family's own way of reading checkpoints.
    pytest.mark.filterwarnings('ignore:You are using `torch.load`:FutureWarning'),
]


def load(path: Path) -> dict[str, Any]:
    content: dict[str, Any] = torch.load(path, weights_only=False)
    return content


def test_old_files_go_with_their_student(tmp_path: Path) -> None:
    runner = train(tmp_path)
    best = Path(runner.message_hub.get_info('best_ckpt')).name
    kept = {'iter_8.pth', 'iter_10.pth', best}
    assert names(tmp_path) == kept | {f'student_{name}' for name in kept}


@pytest.mark.usefixtures('formatted')
def test_the_student_s_file_is_a_checkpoint_of_the_student(tmp_path: Path) -> None:
    runner = train(tmp_path)
    saved = load(tmp_path / 'student_iter_10.pth')
    assert saved.keys() == {'meta', 'state_dict'}
    assert same_state(saved['state_dict'], runner.model.student.state_dict())
    assert saved['meta']['dataset_meta'] == {'classes': ('zero', 'one')}
    assert "model = dict(type='ToyStudent')" in saved['meta']['cfg']
    assert 'kd_plugins' not in saved['meta']['cfg']


def test_the_student_s_file_holds_averaged_weights_where_the_host_s_does(
    tmp_path: Path,
) -> None:
    runner = train(tmp_path, custom_hooks=[{'type': 'EMAHook', 'momentum': 0.3}])
    saved = load(tmp_path / 'student_iter_10.pth')['state_dict']
    (ema,) = (hook for hook in runner.hooks if hasattr(hook, 'ema_model'))
    assert same_state(saved, ema.ema_model.module.student.state_dict())
    assert not same_state(saved, runner.model.student.state_dict())


def test_a_plain_model_has_no_student_s_file(tmp_path: Path) -> None:
    model = {'_delete_': True, 'type': 'ToyStudent'}
    train(tmp_path, model=model)
    assert not list(tmp_path.glob('student_*'))
    assert (tmp_path / 'iter_10.pth').is_file()


def test_a_run_that_only_validates_saves_nothing(tmp_path: Path) -> None:
    cfg = toy_config(tmp_path)
    cfg.default_hooks.checkpoint.save_best = None  # with it the host's own hook fails
    build(cfg).val()
    assert not list(tmp_path.rglob('*.pth'))


def test_best_of_two_metrics(tmp_path: Path) -> None:
    checkpoint = {'save_best': ['acc', 'toy/acc'], 'rule': ['greater', 'less']}
    evaluator = [{'type': 'ToyMetric'}, {'type': 'ToyMetric', 'prefix': 'toy'}]
    cfg = toy_config(tmp_path, default_hooks={'checkpoint': checkpoint})
    cfg.val_evaluator = evaluator
    build(cfg).train()
    best = {name for name in names(tmp_path) if name.startswith('best_')}
    assert len(best) == 2
    assert names(tmp_path) >= {f'student_{name}' for name in best}


def test_nothing_is_deleted_before_its_successor_is_on_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[set[str]] = []
    put, fsync = LocalBackend.put, os.fsync

    def watched_put(*args: Any) -> None:
        seen.append(names(tmp_path))
        put(*args)
        seen.append(names(tmp_path))

    def watched_fsync(descriptor: int) -> None:
        seen.append(names(tmp_path))
        fsync(descriptor)

    monkeypatch.setattr(LocalBackend, 'put', watched_put)
    monkeypatch.setattr(os, 'fsync', watched_fsync)
    train(tmp_path)
    for wanted, count in (('iter_', 2), ('best_', 1)):
        counts = [sum(name.startswith(wanted) for name in each) for each in seen]
        first = counts.index(count)
        assert min(counts[first:]) == count


def test_a_file_is_on_disk_before_its_name_and_its_folder_after(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    part, path, done = tmp_path / 'part', tmp_path / 'whole', []
    part.write_bytes(b'content')
    replace = os.replace

    def fsync(descriptor: int) -> None:
        done.append(os.path.samestat(os.fstat(descriptor), tmp_path.stat()))

    def renamed(*names: Any) -> None:
        done.append('renamed')
        replace(*names)

    monkeypatch.setattr(os, 'fsync', fsync)
    monkeypatch.setattr(os, 'replace', renamed)
    files.publish(part, path)
    assert done == [False, 'renamed', True]
    assert path.read_bytes() == b'content'


class Killed(BaseException):
    pass


@pytest.fixture
def killed_in_last_save(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    publish = files.publish

    def publish_or_die(part: Path, path: Path) -> None:
        if path.name == 'iter_10.pth':
            raise Killed
        publish(part, path)

    with monkeypatch.context() as patch:
        patch.setattr(files, 'publish', publish_or_die)
        yield


@pytest.mark.usefixtures('killed_in_last_save')
def test_a_save_that_was_killed_leaves_the_former_ones(tmp_path: Path) -> None:
    with pytest.raises(Killed):
        train(tmp_path)
    assert names(tmp_path) >= {'iter_6.pth', 'iter_8.pth', 'student_iter_8.pth'}
    assert 'iter_10.pth' not in names(tmp_path)


def test_what_a_killed_run_left_is_tidied_up_on_resume(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def die(*args: Any) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        hook = 'kd_plugins.engine.hooks.checkpoint._RemoveLater.remove_waiting'
        patch.setattr(hook, lambda *args: None)
        patch.setattr(
            'kd_plugins.engine.hooks.checkpoint.CheckpointHook.after_train', die
        )
        with pytest.raises(Killed):
            train(tmp_path)
    (tmp_path / '.iter_10.pth.part').touch()
    assert 'iter_2.pth' in names(tmp_path)
    runner = train(tmp_path, resume=True)
    best = Path(runner.message_hub.get_info('best_ckpt')).name
    kept = {'iter_8.pth', 'iter_10.pth', best}
    assert names(tmp_path) == kept | {f'student_{name}' for name in kept}
    assert not list(tmp_path.glob('.*.part'))


@pytest.mark.parametrize('validate', [True, False])
def test_saves_only_at_whole_optimiser_steps(tmp_path: Path, validate: bool) -> None:
    changes: dict[str, Any] = {
        'optim_wrapper': {'accumulative_counts': 3},
        'param_scheduler': None,  # by iterations, the host warns, would step first
    }
    if not validate:
        changes['default_hooks'] = {'checkpoint': {'save_best': None}}
        changes.update(val_dataloader=None, val_cfg=None, val_evaluator=None)
    changes['train_cfg'] = {'max_iters': 11}
    cfg = toy_config(tmp_path)
    cfg.merge_from_dict({**changes, 'default_hooks.checkpoint.max_keep_ckpts': -1})
    build(cfg).train()
    steps = {name for name in names(tmp_path) if name.startswith('iter_')}
    assert steps == {'iter_3.pth', 'iter_6.pth', 'iter_9.pth', 'iter_11.pth'}


def test_other_file_systems_are_left_to_the_host(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runner = build(toy_config(tmp_path))
    written: list[str] = []
    monkeypatch.setattr(
        'mmengine.runner.Runner.save_checkpoint',
        lambda self, out_dir, filename, **options: written.append(
            f'{out_dir}/{filename}'
        ),
    )
    runner.save_checkpoint('s3://bucket/run', 'iter_2.pth')
    assert written == ['s3://bucket/run/iter_2.pth']


def test_checkpoints_in_another_folder_are_found_again(tmp_path: Path) -> None:
    checkpoint = {'checkpoint': {'out_dir': str(tmp_path / 'far')}}
    whole = train(tmp_path / 'run', default_hooks=checkpoint).model.state_dict()
    assert 'student_iter_10.pth' in names(tmp_path / 'far' / 'run')
    (tmp_path / 'far' / 'run' / 'iter_10.pth').unlink()
    again = train(tmp_path / 'run', default_hooks=checkpoint, resume=True)
    assert same_state(again.model.state_dict(), whole)


def test_the_plan_and_the_clock(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    runner = build(toy_config(tmp_path, log_level='INFO'))
    runner.train()
    model = runner.model
    assert isinstance(model, ToyDistiller)
    assert [clock.iteration for clock in model.clocks] == [0, *range(10)]
    assert {clock.max_iterations for clock in model.clocks} == {10}
    assert not any(clock.by_epoch or clock.max_epochs for clock in model.clocks)
    log = next(tmp_path.rglob('*.log')).read_text()
    assert log.count('Distillation:\nhint: backbone') == 1
