"""Which family is installed, and what is said when it is not as it should be."""

import sys
from importlib import metadata

import pytest

from kd_plugins.errors import HostError
from kd_plugins.hosts import packages, prepare
from kd_plugins.hosts.packages import MAINTAINED, ORIGINAL, check_packages

TORCH = {'torch': '2.15.0+cu132'}
NEW = {
    'onedl-mmengine': '0.10.12',
    'onedl-mmcv': '2.3.6',
    'onedl-mmdetection': '3.5.1',
    'onedl-mmsegmentation': '1.4.2',
}
OLD = {
    'mmengine': '0.10.7',
    'mmcv': '2.1.0',
    'mmdet': '3.3.0',
    'mmsegmentation': '1.2.2',
}


@pytest.fixture
def install(monkeypatch):
    """Pretend that these distributions, and no others, are installed."""

    def pretend(versions: dict[str, str]) -> None:
        def version(name: str) -> str:
            if name not in versions:
                raise metadata.PackageNotFoundError(name)
            return versions[name]

        monkeypatch.setattr(metadata, 'version', version)

    return pretend


@pytest.mark.parametrize(('versions', 'family'), [(NEW, MAINTAINED), (OLD, ORIGINAL)])
def test_finds_the_family(install, versions, family):
    install(TORCH | versions)
    assert check_packages() is family


@pytest.mark.parametrize('absent', ['onedl-mmdetection', 'onedl-mmsegmentation'])
def test_one_of_detection_and_segmentation_is_enough(install, absent):
    install(TORCH | {name: NEW[name] for name in NEW if name != absent})
    assert check_packages() is MAINTAINED


def test_newer_versions_are_welcome(install):
    install(TORCH | NEW | {'onedl-mmdetection': '3.10.0'})
    assert check_packages() is MAINTAINED


def refusal() -> str:
    with pytest.raises(HostError) as caught:
        check_packages()
    return str(caught.value)


def test_no_family_names_the_command(install):
    install(TORCH)
    assert refusal() == (
        'Distillers, views and tools of kd_plugins need mmengine, mmcv, and mmdet or '
        'mmsegmentation; installed is none of the OpenMMLab packages. Mend it with: '
        "pip install 'onedl-mmengine>=0.10.12' 'onedl-mmcv>=2.3.6' "
        "'onedl-mmdetection>=3.5.1' 'onedl-mmsegmentation>=1.4.2'"
    )


def test_a_part_of_a_family_is_completed_from_the_same_family(install):
    install(TORCH | {'mmengine': '0.10.7', 'mmdet': '3.3.0'})
    assert refusal() == (
        'Distillers, views and tools of kd_plugins need mmengine, mmcv, and mmdet or '
        'mmsegmentation; installed is of the original family only mmengine, mmdet. '
        "Mend it with: pip install 'mmcv>=2.1.0' 'mmcv<2.2' 'numpy<2' ftfy regex  "
        '(PIP_CONSTRAINT and '
        "PIP_BUILD_CONSTRAINT must name a file that says 'setuptools<81')"
    )


def test_neither_detection_nor_segmentation(install):
    install(TORCH | {'onedl-mmengine': '0.10.12', 'onedl-mmcv': '2.3.6'})
    message = refusal()
    assert 'of the maintained family only mmengine, mmcv.' in message
    assert message.endswith(
        "pip install 'onedl-mmdetection>=3.5.1' 'onedl-mmsegmentation>=1.4.2'"
    )


def test_both_families_at_once_are_uninstalled(install):
    install(TORCH | NEW | {'mmdet': '3.3.0'})
    message = refusal()
    assert '; original: mmdet)' in message
    assert (
        'pip uninstall -y onedl-mmengine onedl-mmcv onedl-mmdetection '
        "onedl-mmsegmentation mmdet && pip install 'onedl-mmengine>=0.10.12'"
    ) in message


@pytest.mark.parametrize('name', NEW)
def test_too_old_a_package_is_upgraded(install, name):
    install(TORCH | NEW | {name: '0.1.0'})
    message = refusal()
    assert f'Too old for kd_plugins: {name} 0.1.0 (needed: >={NEW[name]})' in message
    assert message.endswith(f"pip install '{name}>={NEW[name]}'")


@pytest.mark.parametrize(
    ('versions', 'found'),
    [({'torch': '1.13.1'}, 'is 1.13.1'), ({}, 'is not installed')],
)
def test_torch_too_old_or_missing(install, versions, found):
    install(versions | NEW)
    assert refusal() == (
        f'kd_plugins needs torch>={packages.TORCH_MINIMUM}; torch {found}. Mend it '
        f"with: pip install 'torch>={packages.TORCH_MINIMUM}' torchvision"
    )


def test_where_nothing_is_installed_nothing_is_prepared(install, monkeypatch):
    install(TORCH)
    monkeypatch.setitem(sys.modules, 'kd_plugins.hosts.config_scopes', None)
    prepare()
    install(TORCH | {'mmengine': '0.10.7'})
    with pytest.raises(HostError, match='only mmengine'):
        prepare()
    install({'torch': '1.13.1'})
    with pytest.raises(HostError, match=r'torch is 1\.13\.1'):
        prepare()


@pytest.mark.parametrize('version', ['2.4', '2.4.0', '2.4.1+cpu', '2.10.0.dev2025'])
def test_a_torch_that_is_new_enough(install, version):
    install({'torch': version})
    packages.check_torch()


@pytest.mark.host
def test_the_family_of_this_environment_is_whole():
    assert check_packages() in packages.FAMILIES
