"""A cache filled ahead: whole, resumable, by several processes; and trained with."""

import itertools
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from mmengine.config import Config
from mmengine.runner import Runner

from kd_plugins.apis.cache import Filled, _share_of, fill_cache
from kd_plugins.engine.overrides import apply_overrides
from kd_plugins.errors import ConfigError
from kd_plugins.teachers.cache import Shelf
from tests.distillers.runs import assert_same_weights, run_config
from tests.distillers.tiny import config, teacher_of
from tests.distillers.tiny_seg import segmentor
from tests.engine.hooks.toy import build, unformatted

VIEWS = 3
SEGMENTS = dict(type='TinySegments')
_run = itertools.count()


def cached_run(
    folder: Path,
    work_dir: Path,
    cache: Any = None,
    dataset: Any = None,
    workers: int = 0,
    **changes: Any,
) -> Config:
    """Six iterations of a segmentor; a pair whose weight is 0 at first."""
    ramp = dict(type='LinearRamp', start=0.0, end=1.0, begin=2, until=4)
    pairs = dict(
        logits=dict(view='seg.logits', loss=dict(type='CWDLoss')),
        late=dict(
            layer='backbone.layer2',
            adapter=dict(type='ConvAdapter'),
            loss=dict(type='HintLoss', loss_weight=ramp),
        ),
    )
    options = dict(folder=str(folder)) if cache is None else cache
    teacher = teacher_of(segmentor(8), cache=options or None, fast=False)
    seeded = dict(type='kd_plugins.SeededViews', dataset=SEGMENTS, views=VIEWS)
    loader = dict(
        batch_size=2,
        num_workers=workers,
        dataset=seeded if dataset is None else dataset,
        sampler=dict(type='InfiniteSampler', shuffle=True),
    )
    plain: dict[str, Any] = dict(
        default_scope='mmseg',
        runner_type='kd_plugins.DistillRunner',
        train_dataloader=loader,
        train_cfg=dict(by_epoch=False, max_iters=6),
        default_hooks=dict(
            logger=dict(type='LoggerHook', interval=1),
            checkpoint=dict(type='CheckpointHook', by_epoch=False, interval=2),
        ),
        **dict.fromkeys(('val_dataloader', 'val_cfg', 'val_evaluator')),
        # The hosts keep what they name for the whole process.
        experiment_name=f'cached_{os.getpid()}_{next(_run)}_{folder.name}',
    )
    return run_config(config(pairs, segmentor(), teacher), work_dir, **plain | changes)


@pytest.fixture(autouse=True)
def _fast_start() -> Iterator[None]:
    """Neither the compiler is asked for its version, nor is the config formatted."""
    with mock.patch.object(Runner, '_log_env'), unformatted():
        yield


def fill(folder: Path, **options: Any) -> Filled:
    cfg = cached_run(folder, folder / 'unused', **options)
    (filled,) = fill_cache(cfg, progress=False)
    return filled


def weights_after(folder: Path, work_dir: Path, **options: Any) -> dict[str, Any]:
    runner = build(cached_run(folder, work_dir, **options))
    runner.train()
    return {key: value.clone() for key, value in runner.model.state_dict().items()}


# Filling.


@pytest.mark.host
def test_every_item_is_stored_with_all_that_pairs_will_read(tmp_path: Path) -> None:
    filled = fill(tmp_path)
    assert (filled.items, filled.before, filled.computed) == (12, 0, 12)
    names = {path.stem for path in tmp_path.rglob('*.index')}
    assert names == {'head.decode_head.0', 'features.1'}
    assert counted(filled) == '0 were there before (0%), 12 were'
    again = fill(tmp_path)
    assert (again.before, again.computed) == (12, 0)
    assert counted(again) == '12 were there before (100%), 0 were'


def counted(filled: Filled) -> str:
    """Of what is said, how much was there."""
    _, _, rest = filled.describe().partition('are there; ')
    return rest.partition(' computed in ')[0]


@pytest.mark.host
def test_a_training_after_that_never_runs_the_teacher_but_to_compare(
    tmp_path: Path,
) -> None:
    fill(tmp_path)
    runner = build(cached_run(tmp_path, tmp_path / 'run'))
    runs: list[int] = []
    teacher = runner.model.teachers['teacher']
    teacher.model.backbone.register_forward_hook(lambda *_: runs.append(0))
    runner.train()
    (shelf,) = teacher.cache.shelves
    assert (shelf.hits, shelf.misses) == (12, 0)
    assert len(runs) == 1


@pytest.mark.host
def test_an_interrupted_filling_goes_on_where_it_stood(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write, calls = Shelf.write, itertools.count()

    def interrupted(self: Any, *args: Any) -> None:
        if next(calls) == 5:  # of two tensors a batch
            raise KeyboardInterrupt
        write(self, *args)

    with monkeypatch.context() as patch:
        patch.setattr(Shelf, 'write', interrupted)
        with pytest.raises(KeyboardInterrupt):
            fill(tmp_path)
    filled = fill(tmp_path)
    assert (filled.before, filled.computed) == (4, 8)


@pytest.mark.host
def test_a_bar_counts_items(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    fill_cache(cached_run(tmp_path, tmp_path / 'unused'))
    assert '10/10' in capfd.readouterr().out  # beside those of the first batch


@pytest.mark.host
def test_mixed_precision_fills_what_a_training_in_it_reads(tmp_path: Path) -> None:
    fill(tmp_path)
    cfg = cached_run(tmp_path, tmp_path / 'unused')
    (filled,) = fill_cache(cfg, amp=True, progress=False)
    assert filled.computed == 12
    assert len(list(tmp_path.glob('*/manifest.json'))) == 2


def test_shares_are_whole_batches_and_as_many() -> None:
    with mock.patch.multiple(
        'kd_plugins.apis.cache', get_rank=lambda: 1, get_world_size=lambda: 2
    ):
        assert _share_of([3, 5, 6, 8, 9], 2) == [5, 8, 3, 6]
        assert _share_of([], 2) == []
    assert _share_of([3, 5, 6], 2) == [3, 5, 6, 3]


@pytest.mark.host
@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (
            dict(cache={}),
            r'model\.teacher: no pair is taught by a teacher with a cache',
        ),
        (
            dict(dataset=SEGMENTS),
            r'train_dataloader\.dataset must be .*SeededViews.* got a TinySegments',
        ),
        (
            dict(cache=dict(folder='unused', max_gigabytes=1e-6)),
            r'cache\.max_gigabytes: 12 items .* = 9\.22 kB, allowed are 1 kB',
        ),
    ],
    ids=['no cache', 'no views', 'too much'],
)
def test_misuse_is_refused(
    options: dict[str, Any],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match=message):
        fill(tmp_path, **options)


@pytest.mark.host
def test_the_tool_says_what_is_there(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    content = cached_run(Path('records'), tmp_path).to_dict()
    del content['work_dir']
    lines = [f'{key} = {value!r}\n' for key, value in content.items()]
    (tmp_path / 'tiny.py').write_text(''.join(lines))
    import_module('tools.cache_teacher').main(
        ['tiny.py', '--cfg-options', 'model.teacher.cache.recheck=0.5']
    )
    said = capsys.readouterr().out.splitlines()[-1]
    assert said.startswith("teacher 'teacher': 12 items (4 images x 3 views) x ")
    assert 'in records/' in said and '12 were computed in' in said
    assert sorted(path.name for path in tmp_path.iterdir()) == ['records', 'tiny.py']


def test_keys_of_both_may_be_overridden_and_misspelt_ones_are_told(
    tmp_path: Path,
) -> None:
    cfg = cached_run(tmp_path, tmp_path / 'unused')
    legal = {'train_dataloader.dataset.views': 2, 'model.teacher.cache.classes': 3}
    apply_overrides(cfg, legal)
    assert cfg.model.teacher.cache.classes == 3
    for key, near in (
        ('train_dataloader.dataset.vews', 'views'),
        ('model.teacher.cache.rechek', 'recheck'),
    ):
        with pytest.raises(ConfigError, match=rf"{key}: .*Close: '{near}'"):
            apply_overrides(cfg, {key: 1})


# Killed, and by several.


@pytest.mark.host
@pytest.mark.parametrize('seed', range(2))
def test_a_filling_killed_at_any_moment_leaves_whole_records(
    tmp_path: Path, seed: int
) -> None:
    rng = random.Random(seed)
    child = os.fork()
    if child == 0:
        fill_cache(cached_run(tmp_path, tmp_path / 'unused'), progress=False)
        os._exit(0)
    deadline = time.monotonic() + 60
    while not list(tmp_path.rglob('*.records')) and time.monotonic() < deadline:
        time.sleep(0.002)
    time.sleep(rng.uniform(0, 0.3))
    os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status) or os.WEXITSTATUS(status) == 0
    # What is there is what the teacher gives: all of it is compared.
    everything = dict(folder=str(tmp_path), recheck=1.0)
    again = fill(tmp_path, cache=everything)
    assert again.before + again.computed == 12
    weights_after(tmp_path, tmp_path / 'run', cache=everything)


@pytest.mark.host
@pytest.mark.slow
@pytest.mark.usefixtures('warm_processes')
def test_two_processes_share_the_work(tmp_path: Path) -> None:
    code = (
        'import sys; from pathlib import Path; '
        'from tests.apis.test_cache import fill; from mmengine.dist import get_rank; '
        'print(get_rank(), fill(Path(sys.argv[1]), launcher="pytorch", '
        'env_cfg=dict(dist_cfg=dict(backend="gloo"))).computed)'
    )
    script = tmp_path / 'fill.py'
    script.write_text(code)
    command = [sys.executable, '-m', 'torch.distributed.run', '--nproc-per-node', '2']
    command += ['--rdzv-backend', 'c10d', '--rdzv-endpoint', 'localhost:0']
    run_quietly([*command, str(script), str(tmp_path / 'records')])
    again = fill(tmp_path / 'records')
    assert (again.before, again.computed) == (12, 0)


def run_quietly(command: list[str]) -> None:
    root = Path(__file__).parents[2]
    paths = os.pathsep.join(filter(None, [str(root), os.environ.get('PYTHONPATH')]))
    done = subprocess.run(
        command,
        env={**os.environ, 'PYTHONPATH': paths, 'OMP_NUM_THREADS': '1'},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]


# Trained with.


@pytest.mark.host
def test_exact_records_train_as_the_teacher_itself(tmp_path: Path) -> None:
    exact = dict(folder=str(tmp_path / 'records'), dtype='float32')
    folder = tmp_path / 'records'
    plain = weights_after(folder, tmp_path / 'plain', cache={})
    filling = weights_after(folder, tmp_path / 'filling', cache=exact)
    reading = weights_after(folder, tmp_path / 'reading', cache=exact, workers=1)
    assert_same_weights(plain, filling)
    assert_same_weights(plain, reading)


@pytest.mark.slow
@pytest.mark.host
def test_a_resumed_run_is_the_uninterrupted_one_whatever_was_stored(
    tmp_path: Path,
) -> None:
    """In half precision: what a step reads does not depend on who ran before."""
    whole = weights_after(tmp_path / 'one', tmp_path / 'whole')
    short = dict(train_cfg=dict(by_epoch=False, max_iters=4))
    weights_after(tmp_path / 'two', tmp_path / 'parts', **short)
    rest = weights_after(tmp_path / 'two', tmp_path / 'parts', resume=True)
    assert_same_weights(whole, rest)
    fill(tmp_path / 'three')
    filled = weights_after(tmp_path / 'three', tmp_path / 'filled')
    assert_same_weights(whole, filled)


@pytest.mark.slow
@pytest.mark.host
def test_with_weights_of_zero_the_student_is_the_hosts(tmp_path: Path) -> None:
    cfg = cached_run(tmp_path / 'records', tmp_path / 'zero')
    for pair in cfg.model.pairs.values():
        pair.loss.loss_weight = 0.0
    runner = build(cfg)
    runner.train()
    distilled = runner.model.student_state_dict(runner.model.state_dict())
    alone = cached_run(tmp_path / 'unused', tmp_path / 'alone')
    alone.model = alone.model.student
    alone.runner_type = 'Runner'
    plain = build(alone)
    plain.train()
    assert_same_weights(dict(plain.model.state_dict()), distilled)
