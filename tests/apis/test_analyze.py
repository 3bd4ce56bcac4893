"""tools/analyze.py as a user calls it, on tiny detectors with data from memory."""

import itertools
import os
import re
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
import torch
from mmengine.runner import Runner
from torch import Tensor

from kd_plugins.apis.analyze import analyze
from kd_plugins.apis.train import prepare_config
from kd_plugins.errors import CheckpointError, ConfigError
from kd_plugins.losses import HintLoss
from kd_plugins.registry import LOSSES, MODELS
from tests.distillers.runs import run_config
from tests.distillers.tiny import all_pairs, config, faster_rcnn
from tests.engine.hooks.toy import unformatted

tool = import_module('tools.analyze')
_run = itertools.count()


def model(**options: Any) -> dict[str, Any]:
    """Hint by a weight that rises, RoI classifier, and a hint from the first stage."""
    pairs = {name: all_pairs()[name] for name in ('hint', 'rcn_cls')}
    ramp = dict(type='LinearRamp', start=0, end=1, begin=0, until=4)
    pairs['hint']['loss']['loss_weight'] = ramp
    adapter = dict(type='ConvAdapter')
    loss = dict(type='HintLoss', loss_weight=1e-3)
    pairs['early'] = dict(layer='backbone.layer1', adapter=adapter, loss=loss)
    return config(pairs, **options)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where the user stands: with a config, and nothing else."""
    monkeypatch.chdir(tmp_path)
    write(tmp_path, model())
    # It asks the compiler, and formats the config: seconds.
    with mock.patch.object(Runner, '_log_env'), unformatted():
        yield tmp_path


def write(folder: Path, of: dict[str, Any]) -> None:
    content = run_config(of, folder).to_dict()
    content |= dict(
        runner_type='kd_plugins.DistillRunner',
        # The hosts keep what they name for the whole process.
        experiment_name=f'analyze_{os.getpid()}_{next(_run)}',
        # There is no such data: validation is not built.
        val_dataloader=dict(dataset=dict(type='Nowhere')),
    )
    del content['work_dir']
    lines = [f'{key} = {value!r}\n' for key, value in content.items()]
    (folder / 'tiny.py').write_text(''.join(lines))


Call = Callable[..., tuple[int, dict[str, list[str]], str]]


@pytest.fixture
def call(folder: Path, capsys: pytest.CaptureFixture[str]) -> Call:
    """Exit status, rows of the table by term, and all that was said."""

    def called(*arguments: str) -> tuple[int, dict[str, list[str]], str]:
        write_anew = re.sub(
            r'analyze_\d+_\d+',
            f'analyze_{os.getpid()}_{next(_run)}',
            (folder / 'tiny.py').read_text(),
        )
        (folder / 'tiny.py').write_text(write_anew)
        status = tool.main(['tiny.py', *arguments])
        said = capsys.readouterr().out
        _, _, table = said.partition('Gradients at iteration')
        rows = table.partition('Of ')[0].splitlines()[3:]
        return status, {row.split()[0]: row.split() for row in rows if row}, said

    return called


@pytest.mark.host
def test_a_table_and_nothing_left(folder: Path, call: Call) -> None:
    status, rows, said = call('--share', '0.25')
    assert status == 0
    assert list(rows) == ['task', 'early', 'hint', 'rcn_cls']
    assert rows['hint'][2] == '0' and rows['hint'][-1] == 'off'
    assert rows['early'][2:4] == ['0.001', 'backbone']
    assert 'Gradients at iteration 0:' in said  # though log_level is WARNING
    assert 'weight for 0.25' in said
    assert [path.name for path in folder.iterdir()] == ['tiny.py']


@pytest.mark.host
def test_the_suggested_weight_is_one_to_set(call: Call) -> None:
    _, rows, _ = call('--share', '0.25')
    weight = rows['early'][-2]
    option = f'model.pairs.early.loss.loss_weight={weight}'
    _, again, _ = call('--cfg-options', option)
    assert float(again['early'][5]) == pytest.approx(0.25, rel=0.02)
    assert again['early'][4] != rows['early'][4]


@LOSSES.register_module()
class DetachedHintLoss(HintLoss):
    """No graph leads from it to the student."""

    def forward(self, student: Tensor, teacher: Tensor) -> Tensor:
        return super().forward(student.detach(), teacher)


@pytest.mark.host
def test_a_dead_pair_is_named_and_is_the_exit_status(call: Call) -> None:
    detached = 'model.pairs.early.loss.type=DetachedHintLoss'
    status, rows, said = call('--cfg-options', detached)
    assert status == 1
    assert rows['early'][3] == '-' and rows['early'][-1] == 'dead'
    assert 'dead: model.pairs.early: no graph leads from it' in said


@pytest.mark.host
def test_weights_of_a_checkpoint_and_schedules_at_its_iteration(
    folder: Path, call: Call
) -> None:
    torch.manual_seed(1)
    distiller = MODELS.build(model())
    whole = dict(meta=dict(iter=2, epoch=0), state_dict=distiller.state_dict())
    torch.save(whole, 'whole.pth')
    student = dict(state_dict=distiller.student.state_dict(), meta=dict(iter=2))
    torch.save(student, 'student.pth')
    _, fresh, _ = call()
    _, rows, said = call('--checkpoint', 'whole.pth', '--batches', '2')
    assert 'Gradients at iteration 2:' in said
    assert 'Of 2 batches (medians)' in said
    assert rows['hint'][2] == '0.5' and rows['hint'][-1] != 'off'
    _, of_student, said = call('--checkpoint', 'student.pth')
    assert 'Gradients at iteration 0:' in said
    assert of_student['hint'][2] == '0'
    assert of_student['task'][1] != fresh['task'][1]
    other = 'model.student.rpn_head.feat_channels=4'
    for file in ('whole', 'student'):
        message = rf"--checkpoint: '{file}.pth' is of another architecture"
        with pytest.raises(CheckpointError, match=message):
            call('--checkpoint', f'{file}.pth', '--cfg-options', other)


@pytest.mark.host
def test_a_balanced_weight_is_that_of_the_first_iteration_or_of_a_checkpoint(
    folder: Path, call: Call
) -> None:
    _, rows, _ = call('--share', '0.25')
    balanced = model()
    weight = dict(type='GradientShare', share=0.25)
    balanced['pairs']['early']['loss']['loss_weight'] = weight
    write(folder, balanced)
    _, fresh, _ = call()
    assert float(fresh['early'][5]) == pytest.approx(0.25)
    assert float(fresh['early'][2]) == pytest.approx(float(rows['early'][-2]), rel=0.01)
    # Of a training, the weight that it has reached there.
    distiller = MODELS.build(model())
    state = dict(weight=0.5, measurements=3, ratios=[2.0])
    whole = dict(
        meta=dict(iter=2, epoch=0),
        state_dict=distiller.state_dict(),
        gradient_shares=dict(early=state),
    )
    torch.save(whole, 'whole.pth')
    _, later, _ = call('--checkpoint', 'whole.pth')
    assert later['early'][2] == '0.5'


@pytest.mark.host
def test_a_log_is_kept_where_it_is_asked_for(folder: Path, call: Call) -> None:
    call('--work-dir', 'kept')
    (log,) = (folder / 'kept').rglob('*.log')
    assert 'Gradients at iteration 0:' in log.read_text()
    assert not list((folder / 'kept').rglob('*.pth'))


def test_a_plain_model_has_no_pairs(folder: Path) -> None:
    write(folder, faster_rcnn())
    message = "no pairs to analyze in a model of type 'FasterRCNN', expected 'kd_plug"
    with pytest.raises(ConfigError, match=message):
        tool.main(['tiny.py'])


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (['--share', '0'], '--share must be a finite number > 0, got 0.0'),
        (['--batches', '0'], '--batches must be a whole number >= 1, got 0'),
        (
            ['--cfg-options', 'model.pairs.hnt.loss.loss_weight=1'],
            "model.pairs has no 'hnt'. Close: 'hint'",
        ),
    ],
)
def test_arguments_that_cannot_be(
    folder: Path, arguments: list[str], message: str
) -> None:
    with pytest.raises(ConfigError, match=re.escape(message)):
        tool.main(['tiny.py', *arguments])


def test_fewer_batches_than_asked_for_are_what_there_is(folder: Path) -> None:
    cfg = prepare_config('tiny.py')
    cfg.train_dataloader.sampler = dict(type='DefaultSampler', shuffle=False)
    assert analyze(cfg, batches=9).batches == 2


def test_help_says_what_is_measured_where(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match='0'):
        tool.main(['--help'])
    said = ' '.join(capsys.readouterr().out.split())
    assert "trained parameters of the student's backbone" in said
    for verdict in ('dead', 'not finite', 'off', 'faint', 'strong', 'dominating'):
        assert verdict in said
