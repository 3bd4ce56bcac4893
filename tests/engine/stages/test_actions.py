"""Stages that do not train: what they are told, what they leave, when they run."""

import json
from pathlib import Path
from typing import Any

import pytest
from mmengine.config import Config

from kd_plugins.engine.stages import read_stages
from kd_plugins.engine.stages.actions import action_of, budget_of
from kd_plugins.errors import ConfigError

from .toys import log, page, pretend

NARROW: dict[str, Any] = {
    'first': {},
    'narrow': {'prune': {'checkpoint': '{first.student}', 'flops': 0.5}},
    'last': {'options': {'load_from': '{narrow.student}'}},
}


def stages(**changes: Any) -> dict[str, Any]:
    made = {**NARROW, **changes}

    return {name: entry for name, entry in made.items() if entry is not None}


def pruned(narrow: Any) -> dict[str, Any]:
    return stages(narrow={'prune': narrow})


def act(cfg: Config) -> dict[str, str]:
    """Prune nothing: what was said is what is left."""
    name, options = action_of(cfg)
    folder = Path(cfg.work_dir)
    (folder / 'pruned.pth').write_text(json.dumps([name, options]))
    (folder / 'pruned.py').write_text('')
    return {'config': 'pruned.py', 'student': 'pruned.pth'}


def test_a_stage_that_prunes_hands_on_what_it_leaves(tmp_path: Path) -> None:
    last, ran = pretend(page(tmp_path, stages()), act=act)
    assert ran == ['first', 'last']  # what trained
    assert last.cfg.load_from == str(tmp_path / 'narrow/pruned.pth')
    told = json.loads((tmp_path / 'narrow/pruned.pth').read_text())
    start = str(tmp_path / 'first/iter_4.pth')
    assert told == ['prune', {'checkpoint': start, 'flops': 0.5}]
    assert 'prunes, no training' in log(tmp_path)


def test_it_runs_again_for_another_budget_and_not_without_a_reason(
    tmp_path: Path,
) -> None:
    pretend(page(tmp_path, stages()), act=act)
    assert pretend(page(tmp_path, stages()), resume='auto', act=act) == (None, [])
    other = pruned({'checkpoint': '{first.student}', 'flops': 0.4})
    _, ran = pretend(page(tmp_path, other), resume='auto', act=act)
    assert ran == ['last']
    told = json.loads((tmp_path / 'narrow/pruned.pth').read_text())
    assert told[1]['flops'] == 0.4
    assert 'changed since it last ran: stage_action' in log(tmp_path)


def test_its_config_is_the_students_alone(tmp_path: Path) -> None:
    narrow = read_stages(page(tmp_path, stages()))[1]
    assert not narrow.trains
    assert narrow.cfg.model.type == 'ToyStudent' and narrow.cfg.load_from is None
    assert budget_of(action_of(narrow.cfg)[1]).flops == 0.5


@pytest.mark.parametrize(
    ('made', 'message'),
    [
        (pruned('half'), r"narrow\.prune: must be a dict of options, got 'half'"),
        (pruned({'flops': 0.5}), r'prune\.checkpoint: must be the file of the weights'),
        (
            pruned({'checkpoint': 'a.pth', 'flop': 0.5}),
            r"narrow\.prune: has no 'flop'\. .*flops",
        ),
        (pruned({'checkpoint': 'a.pth'}), r'prune: a budget is a share .* got neither'),
        (
            pruned({'checkpoint': '{last.student}', 'flops': 0.5}),
            r"'\{last\.student\}' is of a stage that comes later",
        ),
        (
            stages(narrow={'plan': {'checkpoint': 'a.pth'}}),
            r"'\{narrow\.student\}': stage 'narrow' does not train, and leaves config",
        ),
        (
            stages(narrow={'plan': {'checkpoint': 'a'}, 'prune': {'checkpoint': 'a'}}),
            r'a stage does one thing, got prune and plan',
        ),
        (
            stages(first=None, narrow={}, last=None)
            | {'last': {'options': {'load_from': '{narrow.config}'}}},
            r"stage 'narrow' trains, and leaves no config but its own",
        ),
        (
            {'narrow': {'prune': {'checkpoint': 'a.pth', 'flops': 0.5}}},
            r'stages\.narrow: the last stage trains the model',
        ),
    ],
)
def test_what_cannot_be(tmp_path: Path, made: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        read_stages(page(tmp_path, made))
