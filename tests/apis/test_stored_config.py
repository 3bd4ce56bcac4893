from typing import Any

import pytest
from mmengine.config import Config

from kd_plugins.apis.stored_config import check_types, stored_config
from kd_plugins.errors import CheckpointError

PLAIN: dict[str, Any] = dict(
    model=dict(
        type='FasterRCNN',
        pairs={'*loss_cls': 0.8, 'with space': [1, (2.5, -3)], 'empty': ()},
        quoted='it\'s "so"',
        nothing=None,
        yes=True,
        limit=float('inf'),
    ),
    custom_imports=dict(imports=['kd_plugins'], allow_failed_imports=False),
    default_scope='mmdet',
)


def stored(text: object) -> dict[str, Any]:
    return {'meta': {'cfg': text}}


@pytest.mark.usefixtures('formatted')
def test_what_mmengine_writes_is_read_back() -> None:
    text = Config(PLAIN).pretty_text
    read = stored_config(stored(text), 'x.pth')
    assert read.to_dict() == PLAIN


@pytest.mark.parametrize('checkpoint', [{}, {'meta': None}, stored(None), stored(3)])
def test_without_a_config_it_is_asked_for(checkpoint: dict[str, Any]) -> None:
    with pytest.raises(
        CheckpointError, match=r"'x.pth' holds no config. Give .*: --config"
    ):
        stored_config(checkpoint, 'x.pth')


@pytest.mark.parametrize(
    'text',
    [
        "a = __import__('os').system('touch {witness}')",
        "import os\nos.system('touch {witness}')",
        "open('{witness}', 'w')",
        "a = [open('{witness}', 'w') for _ in range(1)]",
        "a = dict(**open('{witness}', 'w'))",
        "a = dict(open('{witness}', 'w'))",
        "a = {{**dict(b=open('{witness}', 'w'))}}",
        'a = f\'{{open("{witness}", "w")}}\'',
        'a = b = 1',
        'a.b = 1',
        'a = other',
    ],
)
def test_what_is_more_than_data_is_not_run(tmp_path: Any, text: str) -> None:
    witness = tmp_path / 'witness'
    with pytest.raises(
        CheckpointError, match=r"in 'x.pth' is not plain data, and is not run: line 1: "
    ):
        stored_config(stored(text.format(witness=witness)), 'x.pth')
    assert not witness.exists()


def test_what_is_no_python_says_so() -> None:
    with pytest.raises(CheckpointError, match='not plain data, and is not run: '):
        stored_config(stored('a = ='), 'x.pth')


def test_sets_and_signs_are_data() -> None:
    read = stored_config(stored("a = {1, +2}\nb = -inf\nc = {'d': nan}"), 'x.pth')
    assert read.a == {1, 2}
    assert read.b == float('-inf')
    assert read.c.d != read.c.d


def test_nothing_is_imported_on_a_files_word() -> None:
    text = "custom_imports = dict(imports=['kd_plugins', 'antigravity'])"
    with pytest.raises(
        CheckpointError, match=r"asks to import \['antigravity'\].*--config"
    ):
        stored_config(stored(text), 'x.pth')


def test_types_of_the_hosts_are_known() -> None:
    model = dict(
        type='FasterRCNN',
        init_cfg=dict(type='Kaiming', layer='Conv2d'),
        norm=dict(type='BN'),
        roi_layer=dict(type='RoIAlign'),
        nms=[dict(type='nms')],
        coders=(dict(type='mmdet.DeltaXYWHBBoxCoder'), dict(type='PSPHead')),
        wrapper=dict(type='kd_plugins.Distiller'),
    )
    check_types(model, 'x.pth')


@pytest.mark.parametrize(
    'kind',
    [
        'os.system',
        'subprocess.run',
        'mmengine.call_command',  # imported at the top of mmengine, in no registry
        'mmdet.models.necks.FasterRCNN',  # by its path: could be any function's
        'NoSuchModel',
        'mmseg.FasterRCNN',
    ],
)
def test_types_that_no_registry_knows_are_refused(kind: str) -> None:
    model = dict(type='FasterRCNN', neck=[dict(type=kind)])
    with pytest.raises(
        CheckpointError, match=rf"'x.pth' has types that are in no registry.*'{kind}'"
    ):
        check_types(model, 'x.pth')


@pytest.mark.host
def test_a_registered_class_is_known_by_its_path_too() -> None:
    check_types(dict(type='mmdet.models.detectors.FasterRCNN'), 'x.pth')
    check_types(dict(type='torch.nn.ReLU'), 'x.pth')  # mmcv registers it
