"""Names before ``::`` in config paths: ``mmseg::...`` and ``kd_plugins::...``."""

from typing import Any

from mmengine.config import utils as config_utils
from mmengine.utils import package_utils

from ..errors import HostError
from .packages import MAINTAINED, Family


def register_scopes(family: Family) -> None:
    """Let ``kd_plugins::`` be found, and ``mmseg::`` under the maintained family.

    mmengine looks up the distribution's name, and for mmseg knows the original one's
    only; asked for a config of a package that it does not find, its hub pip-installs
    the original family's over the maintained one. Here that is an error.
    """
    if family is MAINTAINED:
        config_utils.MODULE2PACKAGE['kd_plugins'] = 'kd_plugins'
        config_utils.MODULE2PACKAGE['mmseg'] = 'mmseg'
        package_utils.call_command = _refuse_to_install
    else:
        # mmengine 0.10.7 takes a distribution's folder for its package's, which in an
        # editable install it is not; what is no distribution it looks up as a module.
        config_utils.MODULE2PACKAGE['kd_plugins'] = 'kd_plugins.errors'


def _refuse_to_install(command: list[str]) -> Any:
    package = command[-1]
    name, _ = MAINTAINED.packages.get(package, (package, ''))
    raise HostError(
        f"'{package}' is not installed. mmengine would now run `{' '.join(command)}`, "
        'which may overwrite the maintained family with packages of the original '
        f'one. If that is not so, install it yourself: pip install {name}'
    )
