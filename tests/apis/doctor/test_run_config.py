"""Settings in the checkpoint that the config does not have are named."""

from pathlib import Path

import pytest
from mmengine.config import Config

from kd_plugins.apis.doctor.checks.run_config import check_run_config
from kd_plugins.apis.doctor.finding import NotCheckedError

from .made import case, model, results, save_teacher

WHOLE = dict(train_cfg=dict(max_iters=1000))


def checkpoint(path: Path, of: dict, **whole: object) -> str:
    lines = [f'{key} = {value!r}' for key, value in dict(model=of, **whole).items()]
    return save_teacher(path, '\n'.join(lines))


def test_the_same_settings_are_fine_and_others_named(tmp_path: Path) -> None:
    path = tmp_path / 'iter_9.pth'
    plain = Config(dict(model=model())).to_dict()['model']
    of = case(whole=WHOLE)
    of.checkpoint = checkpoint(path, plain, **WHOLE)
    (finding,) = results(check_run_config, of)
    assert finding.severity == 'fine'

    plain['pairs']['hint']['loss']['loss_weight'] = 9.0
    of = case(whole=WHOLE)
    of.checkpoint = checkpoint(path, plain, train_cfg=dict(max_iters=60))
    (finding,) = results(check_run_config, of)
    assert finding.severity == 'warning'
    assert 'model.pairs.hint.loss.loss_weight 9.0 (here 1.0)' in finding.sentence
    assert 'train_cfg.max_iters 60 (here 1000)' in finding.sentence


def test_a_checkpoint_of_the_student_alone_does_not_tell(tmp_path: Path) -> None:
    of = case()
    of.checkpoint = save_teacher(tmp_path / 'a.pth', 'model = dict(type="X")')
    with pytest.raises(NotCheckedError, match='is of the student alone'):
        list(check_run_config(of))
