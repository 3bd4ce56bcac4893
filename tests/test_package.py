"""The package as it is installed and imported."""

import os
import re
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

import kd_plugins
from kd_plugins.hosts.packages import MAINTAINED, ORIGINAL, TORCH_MINIMUM, Family

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope='module')
def setup_arguments():
    """What setup.py hands to ``setuptools.setup``."""
    setuptools = pytest.importorskip('setuptools')
    with pytest.MonkeyPatch.context() as patch:
        arguments = {}
        patch.setattr(setuptools, 'setup', lambda **given: arguments.update(given))
        runpy.run_path(str(ROOT / 'setup.py'))
    return arguments


@pytest.mark.parametrize('family', [MAINTAINED, ORIGINAL], ids=lambda one: one.name)
def test_extras_ask_for_what_the_check_wants(setup_arguments, family: Family):
    extra = setup_arguments['extras_require'][family.name]
    for distribution, minimum in family.packages.values():
        assert any(
            re.match(rf'{distribution}>={re.escape(minimum)}(,|$)', line)
            for line in extra
        ), distribution


def test_setup_asks_for_no_host_and_the_torch_that_the_check_wants(setup_arguments):
    required = setup_arguments['install_requires']
    assert f'torch>={TORCH_MINIMUM}' in required
    assert not [line for line in required if re.match('mm|onedl', line)]


def test_version_is_read_from_the_package(setup_arguments):
    assert setup_arguments['version'] == kd_plugins.__version__


def test_every_package_is_found(setup_arguments):
    on_disk = {
        '.'.join(path.parent.relative_to(ROOT).parts)
        for path in (ROOT / 'kd_plugins').rglob('*.py')
        if '.mim' not in path.parts
    }
    assert on_disk == set(setup_arguments['packages'])


def test_exports_exist_and_are_sorted_once():
    assert len(set(kd_plugins.__all__)) == len(kd_plugins.__all__)
    for name in kd_plugins.__all__:
        assert getattr(kd_plugins, name).__module__


def test_importing_is_light_and_draws_no_random_number(tmp_path):
    code = """
import sys, torch
torch.manual_seed(1)
before = torch.rand(1)
torch.manual_seed(1)
import kd_plugins
assert torch.equal(before, torch.rand(1))
assert not {'mmdet', 'mmseg', 'mmengine.runner'} & set(sys.modules)
"""
    done = subprocess.run(
        [sys.executable, '-c', code],
        cwd=tmp_path,
        env=os.environ | {'PYTHONPATH': str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
