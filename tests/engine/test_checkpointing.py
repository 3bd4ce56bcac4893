from pathlib import Path

import pytest
import torch

from kd_plugins import ConfigError
from kd_plugins.engine.overrides import check_overrides
from tests.engine.hooks.toy import toy_config, train

pytestmark = pytest.mark.host
# The toy's images take no gradient, nor would what lies behind a frozen stem.
LAYERS = ['student.backbone', 'student.head']


@pytest.mark.parametrize('names', [LAYERS, 'student.backbone'])
def test_weights_end_as_without_it_even_where_the_input_takes_no_gradient(
    names: list[str] | str, tmp_path: Path
) -> None:
    short = {'train_cfg': {'max_iters': 4}}
    plain = train(tmp_path / 'plain', **short)
    saving = train(tmp_path / 'saving', activation_checkpointing=names, **short)
    for name, value in plain.model.named_parameters():
        assert torch.equal(saving.model.get_parameter(name), value), name
    assert 'forward' in vars(saving.model.student.backbone)


def test_a_layer_that_is_not_there_is_named(tmp_path: Path) -> None:
    message = "activation_checkpointing: the student has no layer 'bakbone'. .*'backbo"
    with pytest.raises(ConfigError, match=message):
        train(tmp_path, activation_checkpointing=['student.head', 'bakbone'])


def test_the_command_line_may_name_layers_and_a_strategy() -> None:
    cfg = toy_config(Path('unused'))
    check_overrides(cfg, {'activation_checkpointing': ['backbone']})
    check_overrides(cfg, {'strategy.type': 'FSDPStrategy', 'strategy.sync_bn': None})
