"""Sharpness of checkpoints of the hosts' models, on their own training batches."""

from importlib import import_module
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
import torch

from kd_plugins.apis.sharpness import Sharpness, measure_sharpness
from kd_plugins.errors import CheckpointError, ConfigError
from kd_plugins.evaluation.curvature import Curvature
from kd_plugins.registry import MODELS
from tests.distillers.runs import run_config
from tests.distillers.tiny import config, faster_rcnn, hint
from tests.distillers.tiny_seg import segmentor
from tests.engine.hooks.toy import unformatted

tool = import_module('tools.sharpness')

HEAD = 'decode_head.conv_seg.*'


def measured(
    folder: Path, model: dict[str, Any], checkpoints: list[str], **options: Any
) -> Sharpness:
    changes = {}
    if 'EncoderDecoder' in str(model):
        loader = dict(batch_size=2, num_workers=0, dataset=dict(type='TinySegments'))
        sampler = dict(type='InfiniteSampler', shuffle=True)
        changes = dict(
            default_scope='mmseg', train_dataloader=dict(**loader, sampler=sampler)
        )
    cfg = run_config(model, folder / 'work', **changes)
    with unformatted():
        return measure_sharpness(
            cfg, checkpoints, **(dict(probes=3, iterations=3) | options)
        )


def save(model: dict[str, Any], path: Path, factor: float = 1.0) -> str:
    torch.manual_seed(0)
    state = MODELS.build(model).state_dict()
    torch.save({name: value * factor for name, value in state.items()}, path)
    return str(path)


def test_checkpoints_of_a_segmentor(tmp_path: Path) -> None:
    """The same weights are as sharp, others are not; what is drawn is drawn alike."""
    one = save(segmentor(), tmp_path / 'one.pth')
    again = save(segmentor(), tmp_path / 'again.pth')
    other = save(segmentor(), tmp_path / 'other.pth', 0.5)
    found = measured(
        tmp_path, segmentor(), [one, again, other], parameters=[HEAD], batches=2
    )
    assert found.images == 4
    curvatures = list(found.curvatures.values())
    assert curvatures[0] == curvatures[1] != curvatures[2]
    assert curvatures[0].parameters == 8 * 4 + 4
    # Of a linear layer under cross-entropy the loss is convex.
    assert curvatures[0].trace > 0 and curvatures[0].eigenvalue > 0
    lines = str(found).splitlines()
    assert lines[0] == 'Hessian over 36 parameters, on 4 images:'
    assert len(lines) == 5 and lines[2].startswith(one)
    assert not (tmp_path / 'work').exists()


def test_a_distillation_is_measured_by_its_student(tmp_path: Path) -> None:
    student = save(faster_rcnn(), tmp_path / 'student.pth')
    names = ['roi_head.bbox_head.fc_cls.*']
    plain = measured(tmp_path, faster_rcnn(), [student], parameters=names)
    distilled = config(dict(hint=hint()))
    assert measured(tmp_path, distilled, [student], parameters=names) == plain


def test_what_has_no_second_derivative_is_said(tmp_path: Path) -> None:
    student = save(faster_rcnn(), tmp_path / 'student.pth')
    with pytest.raises(ConfigError, match=r"^--parameters: .*'roi_head\.bbox_head"):
        measured(tmp_path, faster_rcnn(), [student], parameters=['neck.*'])


def test_a_name_that_no_parameter_has(tmp_path: Path) -> None:
    with pytest.raises(
        ConfigError, match=r"'decode_head\.conv_sge\.weight'\. Close: 'd"
    ):
        measured(tmp_path, segmentor(), [], parameters=['decode_head.conv_sge.weight'])


def test_a_checkpoint_of_another_model(tmp_path: Path) -> None:
    wide = save(segmentor(8), tmp_path / 'wide.pth')
    with pytest.raises(CheckpointError, match='checkpoint'):
        measured(tmp_path, segmentor(), [wide], parameters=[HEAD])


def test_the_tool_passes_on_what_it_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    curvature = Curvature(0.5, 12.0, 0.25, 3.0, 20, False, 1234, 2.0)
    with (
        patch.object(tool, 'prepare_config', return_value='cfg') as prepared,
        patch.object(
            tool, 'measure_sharpness', return_value=Sharpness({'a.pth': curvature}, 2)
        ) as called,
    ):
        tool.main(
            ['c.py', 'a.pth', '--parameters', 'x.*', '--batches', '3', '--probes', '4']
        )
    prepared.assert_called_once_with('c.py', options=None)
    called.assert_called_once_with(
        'cfg', ['a.pth'], parameters=['x.*'], batches=3, probes=4, iterations=20, seed=0
    )
    assert capsys.readouterr().out.splitlines() == [
        'Hessian over 1,234 parameters, on 2 images:',
        'checkpoint    task loss    trace      eigenvalue         weight norm',
        'a.pth         0.5          12 ± 0.25  3 (not converged)  2',
    ]
