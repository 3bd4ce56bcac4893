"""The two families of packages that provide mmengine, mmcv, mmdet and mmseg.

Both install the same import names, so that one environment can hold one of them only.
Which one it is, and whether it is whole and new enough, is read from the installed
distributions' metadata: nothing of the hosts is imported for it.
"""

import re
from dataclasses import dataclass
from importlib import metadata
from typing import NoReturn

from ..errors import HostError

TORCH_MINIMUM = '2.4'  # the oldest that the tests ran with
COMPILE = 'Compile mmcv with its operators (MMCV_WITH_OPS=1) to use it.'


@dataclass(frozen=True)
class Family:
    """One family: for each import name the distribution and its oldest version.

    Args:
        name: as the extra is called.
        packages: import name -> (distribution, oldest version).
        advice: appended to the command that installs them.
    """

    name: str
    packages: dict[str, tuple[str, str]]
    advice: str = ''

    def installed(self) -> dict[str, str]:
        """Import name -> version of what is installed of this family."""
        versions = {
            module: _version(distribution)
            for module, (distribution, _) in self.packages.items()
        }
        return {module: version for module, version in versions.items() if version}

    def command(self, modules: list[str]) -> str:
        """Shell command that installs or upgrades these modules."""
        wanted = ' '.join(
            "'{}>={}'".format(*self.packages[module]) for module in modules
        )
        return f'pip install {wanted}{self.advice}'


MAINTAINED = Family(
    'maintained',
    {
        'mmengine': ('onedl-mmengine', '0.10.12'),
        'mmcv': ('onedl-mmcv', '2.3.6'),
        'mmdet': ('onedl-mmdetection', '3.5.1'),
        'mmseg': ('onedl-mmsegmentation', '1.4.2'),
    },
)
ORIGINAL = Family(
    'original',
    {
        'mmengine': ('mmengine', '0.10.7'),
        'mmcv': ('mmcv', '2.1.0'),
        'mmdet': ('mmdet', '3.3.0'),
        'mmseg': ('mmsegmentation', '1.2.2'),
    },
    # mmcv 2.1.0's own build imports pkg_resources, which setuptools 81 dropped.
    " 'mmcv<2.2' 'numpy<2' ftfy regex  (PIP_CONSTRAINT and PIP_BUILD_CONSTRAINT must"
    " name a file that says 'setuptools<81')",
)
FAMILIES = (MAINTAINED, ORIGINAL)


def check_packages() -> Family:
    """The family that is installed, whole and new enough.

    mmengine and mmcv are needed, and at least one of mmdet and mmsegmentation.

    Raises: HostError naming the command that mends what is wrong.
    """
    check_torch()
    installed = installed_packages()
    if len(installed) > 1:
        _refuse_both(installed)
    family = next((one for one in FAMILIES if one.name in installed), MAINTAINED)
    present = installed.get(family.name, {})
    _check_complete(family, present)
    _check_versions(family, present)
    return family


def installed_packages() -> dict[str, dict[str, str]]:
    """Family -> import name -> version; without families of which there is nothing."""
    families = {family.name: family.installed() for family in FAMILIES}
    return {name: versions for name, versions in families.items() if versions}


def check_torch() -> None:
    """Refuse a torch that is missing or older than what the tests ran with.

    Raises: HostError naming the command that mends it.
    """
    version = _version('torch')
    if version is None or _release(version) < _release(TORCH_MINIMUM):
        state = 'is not installed' if version is None else f'is {version}'
        raise HostError(
            f'kd_plugins needs torch>={TORCH_MINIMUM}; torch {state}. '
            f"Mend it with: pip install 'torch>={TORCH_MINIMUM}' torchvision"
        )


def _refuse_both(installed: dict[str, dict[str, str]]) -> NoReturn:
    names = {
        family.name: [family.packages[module][0] for module in installed[family.name]]
        for family in FAMILIES
    }
    both = ' '.join(name for group in names.values() for name in group)
    listed = '; '.join(f'{family}: {", ".join(names[family])}' for family in names)
    raise HostError(
        'Packages of both families are installed, and overwrite each '
        f"other's files ({listed}). "
        f'Mend it with: pip uninstall -y {both} && {_command(MAINTAINED)}'
    )


def _check_complete(family: Family, installed: dict[str, str]) -> None:
    missing = [name for name in ('mmengine', 'mmcv') if name not in installed]
    if not {'mmdet', 'mmseg'} & set(installed):
        missing += ['mmdet', 'mmseg']
    if missing:
        what = (
            f'of the {family.name} family only {", ".join(installed)}'
            if installed
            else 'none of the OpenMMLab packages'
        )
        raise HostError(
            'Distillers, views and tools of kd_plugins need mmengine, mmcv, and mmdet '
            f'or mmsegmentation; installed is {what}. '
            f'Mend it with: {family.command(missing)}'
        )


def _check_versions(family: Family, installed: dict[str, str]) -> None:
    old = [
        module
        for module, version in installed.items()
        if _release(version) < _release(family.packages[module][1])
    ]
    if old:
        listed = ', '.join(
            f'{family.packages[module][0]} {installed[module]} '
            f'(needed: >={family.packages[module][1]})'
            for module in old
        )
        raise HostError(
            f'Too old for kd_plugins: {listed}. Mend it with: {family.command(old)}'
        )


def _command(family: Family) -> str:
    return family.command(list(family.packages))


def _version(distribution: str) -> str | None:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None


def _release(version: str) -> tuple[int, ...]:
    """The numbers that a version begins with: (2, 4, 1) of '2.4.1+cpu'."""
    numbers = re.match(r'\d+(\.\d+)*', version)
    return tuple(int(part) for part in numbers[0].split('.')) if numbers else ()
