from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import MODELS, DefaultScope

from kd_plugins.apis.export import build_plain, export_student
from kd_plugins.checkpoints import read_checkpoint
from kd_plugins.errors import CheckpointError, ConfigError
from kd_plugins.teachers.checkpoints import load_strictly, load_weights
from tests.distillers.main_job import SEGMENTATION, short
from tests.engine.hooks.toy import build

# of mmseg's original family, to itself
pytestmark = pytest.mark.filterwarnings('ignore:``build_loss`` would be deprecated')

# A segmentor: that of the other host.
SEGMENTOR: dict[str, Any] = dict(
    type='EncoderDecoder',
    backbone=dict(
        type='ResNetV1c',
        depth=18,
        base_channels=4,
        stem_channels=4,
        init_cfg=dict(type='Pretrained', checkpoint='nowhere.pth'),
    ),
    decode_head=dict(
        type='FCNHead',
        in_channels=32,
        in_index=3,
        channels=8,
        num_classes=3,
        loss_decode=dict(type='CrossEntropyLoss', avg_non_ignore=True),
    ),
)


def saved(folder: Path, **changes: Any) -> tuple[Path, Config]:
    """A training checkpoint as a distiller of this segmentor would leave it."""
    cfg = Config(
        dict(
            default_scope='mmseg',
            custom_imports=dict(imports=['kd_plugins'], allow_failed_imports=False),
            runner_type='kd_plugins.DistillRunner',
            work_dir=str(folder),
            load_from='start.pth',
            model=dict(
                type='kd_plugins.Distiller',
                student=SEGMENTOR,
                teacher=dict(cfg='nowhere.py', checkpoint='nowhere.pth'),
                pairs=dict(),
            ),
        )
    )
    weights = build_plain(Config(dict(default_scope='mmseg', model=SEGMENTOR)))
    state = {f'student.{name}': item for name, item in weights.state_dict().items()}
    state['adapters.hint.0.weight'] = torch.ones(1)
    meta = {
        'iter': 3,
        'cfg': cfg.pretty_text,
        'dataset_meta': {'classes': ('a', 'b', 'c'), 'palette': np.ones((3, 3))},
        'hooks': object,
    }
    content: dict[str, Any] = {'meta': meta, 'state_dict': state, **changes}
    path = folder / 'iter_3.pth'
    content['meta'].pop('hooks')
    torch.save(content, path)
    return path, cfg


@pytest.mark.parametrize('suffix', ['.pth', '.safetensors'])
def test_a_segmentor_goes_out_and_loads(tmp_path: Path, suffix: str) -> None:
    checkpoint, _ = saved(tmp_path)
    out = tmp_path / f'student{suffix}'
    config = export_student(str(checkpoint), out)
    assert config == tmp_path / 'student.py'
    assert out.stat().st_mode == config.stat().st_mode  # readable to as many
    plain = Config.fromfile(config)
    assert plain.load_from is None
    assert 'work_dir' not in plain
    assert 'kd_plugins' not in plain.pretty_text
    plain.model.backbone.init_cfg = None  # of the student, kept in its config
    with DefaultScope.overwrite_default_scope('mmseg'):
        load_strictly(MODELS.build(plain.model), load_weights(out), 'here')
    meta = read_checkpoint(out)['meta']['dataset_meta']
    assert tuple(meta['classes']) == ('a', 'b', 'c')
    assert meta['palette'] == [[1.0] * 3] * 3


def test_the_exported_checkpoint_is_nothing_but_data(tmp_path: Path) -> None:
    checkpoint, _ = saved(tmp_path)
    out = tmp_path / 'student.pth'
    export_student(str(checkpoint), out)
    content = torch.load(out, weights_only=True)
    assert content['meta']['iter'] == 3
    assert type(content['state_dict']).__name__ == 'OrderedDict'


def test_another_config_may_be_given(tmp_path: Path) -> None:
    checkpoint, cfg = saved(tmp_path, meta={'hooks': None})
    with pytest.raises(CheckpointError, match='holds no config'):
        export_student(str(checkpoint), tmp_path / 'x.pth')
    config = tmp_path / 'given.py'
    cfg.dump(config)
    export_student(str(checkpoint), tmp_path / 'x.pth', config=str(config))
    assert (tmp_path / 'x.pth').exists()
    assert (tmp_path / 'x.py').exists()


def test_weights_that_do_not_fit_are_not_written(tmp_path: Path) -> None:
    checkpoint, cfg = saved(tmp_path)
    cfg.model.student.decode_head.num_classes = 5
    config = tmp_path / 'given.py'
    cfg.dump(config)
    with pytest.raises(
        CheckpointError,
        match=r'has 3 classes, the model 5 .*Set decode_head.num_classes=3',
    ):
        export_student(str(checkpoint), tmp_path / 'x.pth', config=str(config))
    assert not (tmp_path / 'x.pth').exists()


def test_the_kind_of_file_is_checked_first(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r'out must end with .pth or .safetensors'):
        export_student('nowhere.pth', tmp_path / 'x.onnx')


@pytest.mark.host
def test_of_the_main_job_plain_mmsegmentation_predicts_the_same(
    tmp_path: Path, tiny_mosaics: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv('KD_PLUGINS_DATA', str(tiny_mosaics.parent))
    # Without the host's formatting of a config's text, seconds each of many times.
    for place in ('yapf.yapflib.yapf_api', 'mmengine.config.config'):
        monkeypatch.setattr(
            f'{place}.FormatCode', lambda text, **_: (text, True), raising=False
        )
    runner = build(short(SEGMENTATION, tmp_path, **{'train_cfg.max_iters': 2}))
    runner.train()
    out = tmp_path / 'made' / 'student.safetensors'
    config = export_student(str(tmp_path / 'iter_2.pth'), out)
    assert 'kd_plugins' not in config.read_text()
    assert not any('critic' in name for name in load_weights(out))

    plain = Config.fromfile(config)
    with DefaultScope.overwrite_default_scope('mmseg'):
        model = MODELS.build(plain.model)
    load_strictly(model, load_weights(out), 'here')
    seen = 0
    for batch in runner.val_dataloader:
        with torch.no_grad():
            pairs = zip(
                runner.model.eval().test_step(batch),
                model.eval().test_step(batch),
                strict=True,
            )
        for mine, yours in pairs:
            assert torch.equal(mine.seg_logits.data, yours.seg_logits.data)
            assert torch.equal(mine.pred_sem_seg.data, yours.pred_sem_seg.data)
            seen += 1
    assert seen == 4
