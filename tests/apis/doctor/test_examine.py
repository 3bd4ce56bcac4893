"""tools/analyze.py --why as a user calls it: all checks, and what may stop them."""

import json
import re
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
import torch
from mmengine.registry import METRICS
from mmengine.runner import Runner

from kd_plugins.apis.doctor.checks import CHECKS, Check
from kd_plugins.apis.doctor.examine import diagnose
from kd_plugins.apis.doctor.finding import Finding, NotChecked, NotCheckedError
from kd_plugins.errors import CheckpointError, ConfigError
from kd_plugins.registry import MODELS
from tests.distillers.runs import CountBoxes
from tests.distillers.tiny import faster_rcnn
from tests.engine.hooks.toy import unformatted

from ..test_analyze import model, write
from .made import case

tool = import_module('tools.analyze')


@METRICS.register_module()
class SumOfScores(CountBoxes):
    """A model that finds more scores more."""

    def process(self, data_batch: Any, data_samples: Any) -> None:
        self.results += [
            float(sample['pred_instances']['scores'].sum()) for sample in data_samples
        ]

    def compute_metrics(self, results: list[float]) -> dict[str, float]:
        return {'mIoU': sum(results)}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where the user stands: a config, and a run of it with a checkpoint."""
    monkeypatch.chdir(tmp_path)
    write_config(tmp_path)
    torch.manual_seed(1)
    distiller = MODELS.build(model())
    run = tmp_path / 'work_dirs' / 'tiny'
    (run / '20300101_000000' / 'vis_data').mkdir(parents=True)
    whole = dict(meta=dict(iter=2, epoch=0), state_dict=distiller.state_dict())
    torch.save(whole, run / 'iter_2.pth')
    torch.save(
        dict(state_dict=distiller.student.state_dict()), run / 'student_iter_2.pth'
    )
    lines = [dict(loss=1.0, time=0.5, step=2), {'mIoU': 0.1, 'step': 2}]
    scalars = run / '20300101_000000' / 'vis_data' / 'scalars.json'
    scalars.write_text('\n'.join(map(json.dumps, lines)))
    with mock.patch.object(Runner, '_log_env'), unformatted():
        yield tmp_path


def write_config(folder: Path) -> None:
    write(folder, model())
    text = (folder / 'tiny.py').read_text()
    text = re.sub(r'val_dataloader = .*\n', '', text)
    text = text.replace("'CountBoxes'", "'SumOfScores'")
    loader = dict(batch_size=2, dataset=dict(type='TinyImages'))
    (folder / 'tiny.py').write_text(f'{text}val_dataloader = {loader!r}\n')


def state_of(folder: Path) -> dict[str, int]:
    return {
        str(path.relative_to(folder)): path.stat().st_mtime_ns
        for path in folder.rglob('*')
    }


@pytest.mark.slow
@pytest.mark.host
def test_all_checks_of_a_run_that_is_only_read(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = state_of(folder)
    assert tool.main(['tiny.py', '--why', '--images', '3', '--batches', '2']) == 0
    said = capsys.readouterr().out
    assert state_of(folder) == before
    assert 'work_dirs/tiny/iter_2.pth, trained in work_dirs/tiny' in said
    assert 'Looked at: 3 of 4 validation images, 3 of 4 training images.' in said
    for check in ('teacher', 'normalisation', 'gradients', 'agreement', 'equal time'):
        assert f'- {check}: ' in said
    assert 'at this checkpoint (2 batches, measured now)' in said
    assert 'not checked: the class names of the teacher' in said


@pytest.mark.host
def test_findings_as_json_and_a_student_of_its_own(folder: Path) -> None:
    student = 'work_dirs/tiny/student_iter_2.pth'
    arguments = ['--images', '2', '--batches', '1', '--json', 'why.json']
    assert tool.main(['tiny.py', '--why', '--checkpoint', student, *arguments]) == 0
    content = json.loads((folder / 'why.json').read_text())
    assert student in content['subject']
    names = {item['check'] for item in content['findings']}
    assert {'teacher', 'labels', 'gap'} - names <= {'gap'}
    for item in content['findings']:
        assert set(item) == {'check', 'severity', 'sentence', 'remedy', 'figures'}
    order = ['problem', 'warning', 'note', 'fine']
    found = [order.index(item['severity']) for item in content['findings']]
    assert found == sorted(found)
    reasons = {item['check']: item['reason'] for item in content['not_checked']}
    assert 'holds no config' in reasons['config']


def test_one_check_that_fails_does_not_stop_the_others() -> None:
    def good(case: Any) -> Iterator[Finding | NotChecked]:
        yield Finding('fine', 'All is well.')
        yield Finding('problem', 'Or not.', 'Look.', {'share': float('nan')})

    def bad(case: Any) -> Iterator[Finding | NotChecked]:
        yield Finding('note', 'So far.')
        raise KeyError('half way')

    def impossible(case: Any) -> Iterator[Finding | NotChecked]:
        raise NotCheckedError('there is no data')
        yield

    checks = [
        Check('bad', 'a bad thing', bad),
        Check('none', 'nothing', impossible),
        Check('none too', 'nothing else', impossible),
        Check('good', 'a good thing', good),
    ]
    found = diagnose(case(), checks)
    assert [name for name, _ in found.findings] == ['good', 'bad', 'good']
    text = str(found)
    assert text.index('Or not.') < text.index('So far.') < text.index('All is well.')
    assert '  -> Look.' in text
    assert "not checked: a bad thing: KeyError: 'half way'" in text
    # Of one reason a line.
    assert 'not checked: nothing, nothing else: there is no data' in text
    assert found.as_dict()['findings'][0]['figures'] == {'share': None}


def test_a_teacher_that_cannot_be_loaded_leaves_what_needs_no_model(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = (folder / 'tiny.py').read_text()
    random = "'allow_random': True"
    assert random in text
    (folder / 'tiny.py').write_text(text.replace(random, "'checkpoint': 'gone.pth'"))
    assert tool.main(['tiny.py', '--why', '--images', '2']) == 0
    said = capsys.readouterr().out
    assert 'normalise images alike' in said
    reasons = [line for line in said.splitlines() if line.startswith('not checked')]
    assert any("there is no file 'gone.pth'" in line for line in reasons)


@pytest.mark.parametrize(
    ('arguments', 'error', 'message'),
    [
        (['--why', '--images', '0'], ConfigError, '--images must be a whole number'),
        (['--images', '3'], ConfigError, '--images goes with --why only'),
        (['--json', 'a.json'], ConfigError, '--json goes with --why only'),
        (
            ['--why', '--work-dir', 'nowhere'],
            CheckpointError,
            "no whole checkpoint in 'nowhere', which does not exist",
        ),
        (
            ['--why', '--checkpoint', 'gone.pth'],
            CheckpointError,
            "--checkpoint: there is no file 'gone.pth'",
        ),
    ],
)
def test_arguments_that_cannot_be(
    folder: Path, arguments: list[str], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=re.escape(message)):
        tool.main(['tiny.py', *arguments])


def test_an_empty_run_and_a_plain_config(folder: Path) -> None:
    (folder / 'empty').mkdir()
    (folder / 'empty' / 'iter_1.pth').write_bytes(b'cut off')
    with pytest.raises(CheckpointError, match=r"whole checkpoint in 'empty'\. Name"):
        tool.main(['tiny.py', '--why', '--work-dir', 'empty'])
    write(folder, faster_rcnn())
    message = "no distillation to look into in a model of type 'mmdet.FasterRCNN'"
    with pytest.raises(ConfigError, match=message):
        tool.main(['tiny.py', '--why'])


def test_every_check_has_a_name_and_a_subject_of_its_own() -> None:
    assert CHECKS[0].name == 'teacher'
    assert len({check.name for check in CHECKS}) == len(CHECKS)
    assert len({check.subject for check in CHECKS}) == len(CHECKS)
