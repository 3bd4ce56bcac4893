"""The embedded tasks' models as ONNX files: compared, wrong ones noticed, scored."""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from torch import nn

from kd_plugins.apis.export_onnx import export_model
from kd_plugins.apis.test import evaluate
from kd_plugins.deployment.metadata import KEY
from kd_plugins.deployment.preprocessing import Preprocessing
from kd_plugins.errors import ConfigError
from tests.deployment.embedded import (
    ONE_STAGE,
    SEGMENTOR,
    TWO_STAGE,
    config_of,
    model_of,
    weights_of,
)

pytestmark = pytest.mark.host


def slow(*values: Any) -> Any:
    return pytest.param(*values, marks=pytest.mark.slow)


@pytest.fixture
def data(tiny_mosaics: Path) -> Path:
    return tiny_mosaics.parent


@pytest.mark.parametrize(
    ('name', 'options', 'images'),
    [
        slow(TWO_STAGE, {}, 4),
        slow(TWO_STAGE, {'dynamic': True, 'batch_size': 3}, 6),
        slow(ONE_STAGE, {'batch_size': 3}, 4),
        (ONE_STAGE, {'dynamic': True}, 6),
        slow(ONE_STAGE, {'dynamic': True, 'dense': True}, 6),
        slow(SEGMENTOR, {'batch_size': 3}, 4),
        (SEGMENTOR, {'dynamic': True}, 6),
    ],
    ids=str,
)
def test_the_file_gives_what_torch_gives(
    name: str, options: dict[str, Any], images: int, data: Path, tmp_path: Path
) -> None:
    cfg = config_of(name, data)
    out = tmp_path / 'student.onnx'
    found = export_model(model_of(name, cfg), cfg, out, **options)
    assert out.exists()
    assert [path.name for path in tmp_path.iterdir()] == ['student.onnx']
    for row in found:
        assert row.value <= 1e-3 * row.tolerance + 1e-5, row  # far below
    if name == SEGMENTOR:
        assert found[1].compared >= 4 * 128 * 128
    else:
        assert found[0].compared > 5 * images  # pairs of boxes
        assert found[2].value == 0
    properties = {item.key: item.value for item in onnx.load(out).metadata_props}
    said = json.loads(properties[KEY])
    assert said['mean'] == pytest.approx([123.675, 116.28, 103.53])
    assert said['colour_order'] == 'RGB'
    assert said['classes'][1] == ('chelsea' if name == SEGMENTOR else '1')
    assert said['size'] == (None if options.get('dynamic') else [128, 128])
    assert said['checked'] == {row.name: row.value for row in found}


@pytest.mark.parametrize('name', [slow(TWO_STAGE), SEGMENTOR])
def test_a_wrong_graph_is_noticed_and_not_written(
    name: str, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    right = Preprocessing.forward
    monkeypatch.setattr(  # red and blue swapped
        Preprocessing, 'forward', lambda self, image: right(self, image.flip(1))
    )
    cfg = config_of(name, data)
    out = tmp_path / 'student.onnx'
    with pytest.raises(ConfigError, match=r'what torch gives: .* \(at most'):
        export_model(model_of(name, cfg), cfg, out)
    assert list(tmp_path.iterdir()) == []


def test_the_page_runs_it_without_this_package(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cfg = config_of(TWO_STAGE, data)
    model = model_of(TWO_STAGE, cfg)
    export_model(model, cfg, tmp_path / 'work_dirs' / 'student.onnx', check=1)
    (tmp_path / 'data').symlink_to(data)
    page = Path(__file__).parents[2] / 'docs' / 'deployment.md'
    (code,) = re.findall(r'```python\n(.*?)```', page.read_text(), flags=re.S)
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    exec(code, names)
    boxes, scores, labels = (names[name][0] for name in ('boxes', 'scores', 'labels'))
    number = int((labels >= 0).sum())
    assert number > 3

    from mmdet.apis import inference_detector
    from mmdet.utils import register_all_modules

    register_all_modules(init_default_scope=True)
    model.cfg = cfg
    path = re.findall(r"Image.open\('(.*?)'\)", code)[0]
    predicted = inference_detector(model, path).pred_instances
    assert len(predicted) == number
    np.testing.assert_allclose(boxes[:number], predicted.bboxes, atol=1e-3)
    np.testing.assert_allclose(scores[:number], predicted.scores, atol=1e-4)
    assert labels[:number].tolist() == predicted.labels.tolist()


@pytest.mark.parametrize('name', [TWO_STAGE, slow(ONE_STAGE), slow(SEGMENTOR)])
def test_the_hosts_evaluator_scores_it_as_torch(
    name: str, data: Path, tmp_path: Path
) -> None:
    out = tmp_path / 'student.onnx'
    cfg = config_of(name, data, work_dir=str(tmp_path / 'work'))
    export_model(model_of(name, cfg), cfg, out, dense=name == ONE_STAGE)
    files = (str(weights_of(name)), str(out))
    host, file = (
        evaluate(config_of(name, data, work_dir=str(tmp_path / 'work')), path)
        for path in files
    )
    assert host.keys() == file.keys()
    assert max(host.values()) > 0.05
    timed = {key: value for key, value in host.items() if 'time' not in key}
    assert timed == pytest.approx({key: file[key] for key in timed}, abs=1e-9)


class Unknown(nn.Module):
    """What ONNX has no operator for."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.special.erfcx(x)


class Broken(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if torch.onnx.is_in_onnx_export():
            raise RuntimeError('not in an export')
        return x


@pytest.mark.parametrize(
    ('kind', 'message'),
    [
        (Unknown, r"in model.backbone.layer2.0.relu.*no operator for 'aten::.*erfcx'"),
        (Broken, r'in model.backbone.layer2.0.relu.*RuntimeError: not in an export'),
    ],
)
def test_a_part_that_the_exporter_cannot_do_is_named(
    kind: type[nn.Module], message: str, data: Path, tmp_path: Path
) -> None:
    cfg = config_of(SEGMENTOR, data)
    model = model_of(SEGMENTOR, cfg)
    model.backbone.layer2[0].relu = kind()
    with pytest.raises(ConfigError, match=message.replace('model.', '', 1)):
        export_model(model, cfg, tmp_path / 'student.onnx')
