from typing import Any

import pytest

from kd_plugins.checks import check_bool, check_int, check_optional_int
from kd_plugins.errors import ConfigError


@pytest.mark.parametrize('size', [None, 0, 2.0, True, '3'])
def test_impossible_sizes_are_refused(size: Any) -> None:
    with pytest.raises(ConfigError, match='slots must be a whole number >= 1, got'):
        check_int('slots', size)


def test_none_is_a_size_where_it_may_be() -> None:
    assert check_optional_int('slots', None) is None
    assert check_optional_int('slots', 3) == 3
    with pytest.raises(ConfigError, match='slots must be a whole number >= 2, got 1'):
        check_optional_int('slots', 1, 2)


@pytest.mark.parametrize('flag', [None, 0, 1, 'False'])
def test_a_flag_is_true_or_false(flag: Any) -> None:
    assert check_bool('resize', False) is False
    message = f'resize must be True or False, got {flag!r}'
    with pytest.raises(ConfigError, match=message):
        check_bool('resize', flag)
