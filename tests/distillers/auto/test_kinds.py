"""Every kind of head of the hosts: what it can serve is chosen, and nothing fails."""

import pytest
from mmengine.registry import init_default_scope

from kd_plugins.errors import ConfigError
from kd_plugins.registry import MODELS
from tests.distillers.auto.models import auto
from tests.views.kinds import MAIN, MORE, config_of

KINDS = {**MAIN, **MORE}
# Its features lie before what shows its heads several copies of each image.
ELSEWHERE = {'trident'}


@pytest.mark.slow
@pytest.mark.filterwarnings('ignore:DeprecationWarning')  # of the hosts' own configs
@pytest.mark.parametrize('kind', KINDS)
def test_features_or_answers_of_every_kind_are_chosen(kind: str) -> None:
    init_default_scope('mmdet')
    student, teacher = config_of(KINDS[kind]), config_of(KINDS[kind])
    if kind in ELSEWHERE:
        with pytest.raises(ConfigError, match=r"be compared: .*layer='backbone\.lay"):
            MODELS.build(auto(student, teacher))
        return
    pairs = MODELS.build(auto(student, teacher)).choice.pairs
    views = {pair['view'] for pair in pairs.values() if 'view' in pair}
    assert pairs
    assert views <= set(KINDS[kind].serves.split())
