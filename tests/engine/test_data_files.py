"""Data and checkpoints that are not there are told by their keys."""

from pathlib import Path
from typing import Any

import pytest

from kd_plugins.engine.data_files import missing_data_named
from kd_plugins.errors import CheckpointError, ConfigError
from tests.engine.hooks.toy import train

pytestmark = pytest.mark.host
COCO = dict(_delete_=True, type='mmdet.CocoDataset', ann_file='/nowhere/a.json')
SEG = dict(
    _delete_=True,
    type='mmseg.BaseSegDataset',
    ann_file='/nowhere/a.txt',
    metainfo=dict(classes=('zero',)),
)
FOLDER = {**SEG, 'ann_file': '', 'data_prefix': dict(img_path='/nowhere/images')}


@pytest.mark.parametrize('dataset', [COCO, SEG, FOLDER], ids=['coco', 'list', 'folder'])
@pytest.mark.parametrize('split', ['train', 'val'])
def test_missing_data_are_told_by_their_key(
    split: str, dataset: dict[str, Any], tmp_path: Path
) -> None:
    with pytest.raises(
        ConfigError,
        match=rf"^{split}_dataloader.*/nowhere/.* \(looked from '.*'\)\. Put the data "
        'there, or change data_root, ann_file or data_prefix',
    ):
        train(tmp_path, **{f'{split}_dataloader': dict(dataset=dataset)})


@pytest.mark.parametrize('error', [AssertionError('x'), KeyError('x'), OSError('x')])
def test_other_errors_stay(error: Exception) -> None:
    with pytest.raises(type(error)) as raised, missing_data_named('train_dataloader'):
        raise error
    assert raised.value is error


@pytest.mark.parametrize(('resume', 'key'), [(False, 'load_from'), (True, 'resume')])
def test_a_missing_checkpoint_is_told_with_its_neighbours(
    resume: bool, key: str, tmp_path: Path
) -> None:
    (tmp_path / 'iter_2.pth').touch()
    path = tmp_path / 'iter_3.pth'
    with pytest.raises(
        CheckpointError, match=rf"^{key}: there is no file '{path}' .* 'iter_2.pth'"
    ):
        train(tmp_path / 'run', resume=resume, load_from=str(path))
