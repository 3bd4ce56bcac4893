"""The package as it is installed and imported."""

import os
import re
import shutil
import subprocess
import sys
import zipfile
from email import message_from_bytes
from pathlib import Path

import pytest
import yaml

import kd_plugins
from kd_plugins import errors, losses, registry
from kd_plugins.extras import EXTRAS
from kd_plugins.hosts.packages import MAINTAINED, ORIGINAL, TORCH_MINIMUM, Family

if sys.version_info >= (3, 11):
    import tomllib
else:  # with pytest
    import tomli as tomllib

ROOT = Path(__file__).parents[1]
CHECKPOINTS = sorted((ROOT / 'configs').rglob('*.safetensors'))
BUILD = 'from setuptools import build_meta; build_meta.build_wheel'


@pytest.fixture(scope='module')
def project():
    """The table of what is installed."""
    return tomllib.loads((ROOT / 'pyproject.toml').read_text())['project']


def distributions(lines):
    return {re.match(r'[\w-]+', line)[0] for line in lines}


@pytest.mark.parametrize('family', [MAINTAINED, ORIGINAL], ids=lambda one: one.name)
def test_extras_ask_for_what_the_check_wants(project, family: Family):
    extra = project['optional-dependencies'][family.name]
    for distribution, minimum in family.packages.values():
        assert any(
            re.match(rf'{distribution}>={re.escape(minimum)}(,|$)', line)
            for line in extra
        ), distribution


def test_extras_hold_what_the_messages_name(project):
    for name, modules in EXTRAS.items():
        lines = project['optional-dependencies'][name]
        assert distributions(lines) == set(modules.values())


def test_it_asks_for_no_host_and_the_torch_that_the_check_wants(project):
    required = project['dependencies']
    assert f'torch>={TORCH_MINIMUM}' in required
    assert not [line for line in required if re.match('mm|onedl', line)]


def test_what_runs_the_tests_has_every_extra_that_they_need(project):
    names = ','.join(sorted({*EXTRAS, 'docs'}))
    assert f'kd_plugins[{names}]' in project['optional-dependencies']['dev']


@pytest.fixture(scope='module')
def wheel(tmp_path_factory):
    """A wheel of a copy of the project, in which the build may write."""
    pytest.importorskip('setuptools')
    folder = tmp_path_factory.mktemp('wheel')
    source = folder / 'source'
    source.mkdir()
    for name in ('configs', 'kd_plugins', 'tools'):
        ignored = shutil.ignore_patterns('__pycache__', '.mim', '*.safetensors')
        shutil.copytree(ROOT / name, source / name, ignore=ignored)
    # Empty, as only the names count.
    for weights in CHECKPOINTS:
        (source / weights.relative_to(ROOT)).touch()
    for file in ROOT.glob('*.*'):
        if file.is_file():
            shutil.copy(file, source)
    shutil.copy(ROOT / 'LICENSE', source)
    subprocess.run(
        [sys.executable, '-c', f'{BUILD}({str(folder)!r})'], cwd=source, check=True
    )
    (built,) = folder.glob('*.whl')
    return zipfile.ZipFile(built)


@pytest.mark.slow
def test_a_wheel_holds_the_package_its_configs_and_its_tools(wheel):
    held = {name for name in wheel.namelist() if '.dist-info/' not in name}
    package, configs, tools = (
        {
            path.relative_to(ROOT)
            for path in (ROOT / name).rglob('*')
            if path.is_file() and not {'.mim', '__pycache__'} & set(path.parts)
        }
        for name in ('kd_plugins', 'configs', 'tools')
    )
    carried = {*configs, *tools, Path('model-index.yml')}
    carried -= {path.relative_to(ROOT) for path in CHECKPOINTS}
    assert held == {path.as_posix() for path in package} | {
        f'kd_plugins/.mim/{path.as_posix()}' for path in carried
    }


@pytest.mark.slow
def test_a_wheel_says_what_it_is(wheel):
    (name,) = (name for name in wheel.namelist() if name.endswith('/METADATA'))
    metadata = message_from_bytes(wheel.read(name))
    assert metadata['Version'] == kd_plugins.__version__
    assert metadata['License-Expression'] == 'Apache-2.0'
    assert set(EXTRAS) < set(metadata.get_all('Provides-Extra'))


def test_only_checkpoints_of_embedded_teachers_are_left_out_of_a_wheel():
    assert CHECKPOINTS
    for weights in CHECKPOINTS:
        assert weights.with_suffix('.py').is_file()


def test_what_is_cited_has_the_version_of_the_package():
    cited = yaml.safe_load((ROOT / 'CITATION.cff').read_text())
    assert cited['version'] == kd_plugins.__version__
    assert cited['license'] == 'Apache-2.0'


def test_exports_exist_and_are_sorted_once():
    exported = kd_plugins.__all__
    assert exported == sorted(set(exported))
    for name in exported:
        assert getattr(kd_plugins, name) is not None
    assert set(exported) <= set(dir(kd_plugins))


def test_losses_registries_and_errors_are_exported_without_a_line_here():
    exported = set(kd_plugins.__all__)
    assert {'Distiller', 'LayerRecorder', '__version__'} <= exported
    for listing in (losses, registry, errors):
        assert set(listing.__all__) <= exported
    every_error = {
        name
        for name, value in vars(errors).items()
        if isinstance(value, type) and issubclass(value, Exception)
    }
    assert set(errors.__all__) == every_error
    assert kd_plugins.CWDLoss is losses.CWDLoss


def test_a_misspelt_export_is_no_attribute():
    with pytest.raises(AttributeError, match="'kd_plugins' has no attribute 'Distil'"):
        _ = kd_plugins.Distil


@pytest.mark.slow
def test_types_of_what_is_exported_are_known_outside(tmp_path):
    pytest.importorskip('mypy')
    (tmp_path / 'use.py').write_text("""
from kd_plugins import CWDLoss, ConfigError, LOSSES, LayerRecorder, Distiller
from kd_plugins.registry import MODELS
reveal_type(CWDLoss(temperature=1.0))
reveal_type(LayerRecorder('neck'))
reveal_type(ConfigError(''))
reveal_type(LOSSES)
import kd_plugins
kd_plugins.CWDLos
""")
    # Nothing of torch's own types: they take most of the time.
    (tmp_path / 'mypy.ini').write_text("""
[mypy]
strict = True
follow_imports = silent
[mypy-torch.*,torchvision.*,mmengine.*,mmcv.*,mmdet.*,mmseg.*]
follow_imports = skip
""")
    command = ['-m', 'mypy', 'use.py']
    done = subprocess.run(
        [sys.executable, *command],
        cwd=tmp_path,
        env=os.environ | {'MYPYPATH': str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    revealed = re.findall(r'Revealed type is "(.*)"', done.stdout)
    assert [name.rpartition('.')[2] for name in revealed] == [
        'CWDLoss',
        'LayerRecorder',
        'ConfigError',
        'Registry',
    ]
    assert re.findall('error: (.*?);', done.stdout) == [
        'Module has no attribute "CWDLos"'
    ]


@pytest.mark.slow
@pytest.mark.host
def test_losses_import_soon_after_torch(tmp_path):
    code = """
import time, torch
start = time.perf_counter()
import kd_plugins.losses
print(time.perf_counter() - start)
import sys
assert not {'torchvision', 'mmcv', 'sympy.polys'} & set(sys.modules)
"""
    # At most 0.3 where nothing else runs (0.12 was measured); and one of three.
    measured = (
        float(
            subprocess.run(
                [sys.executable, '-W', 'ignore', '-c', code],
                cwd=tmp_path,
                env=os.environ | {'PYTHONPATH': str(ROOT)},
                capture_output=True,
                text=True,
                check=True,
            ).stdout
        )
        for _ in range(3)
    )
    assert any(seconds < 0.5 for seconds in measured)


@pytest.mark.host
def test_every_name_that_it_replaces_is_in_its_docstring(tmp_path):
    """Hosts before and after: modules' names, the registries' children."""
    code = """
import sys
import mmengine.registry
from mmengine.registry import root
from mmengine.config import utils
from mmengine.utils import package_utils

def state():
    modules = {
        (name, key): id(value)
        for name, module in list(sys.modules.items())
        if name.split('.')[0] in ('mmengine', 'mmcv', 'mmdet', 'mmseg')
        for key, value in vars(module).items()
        if not key.startswith('__') and type(value) is not type(sys)
    }
    children = {
        name for name in dir(root)
        if name.isupper() and 'kd_plugins' in getattr(root, name).children
    }
    return modules, children, dict(utils.MODULE2PACKAGE), set(sys.modules)

before = state()
import kd_plugins
after = state()
for place in before[0]:
    if after[0][place] != before[0][place]:
        print(*place, sep='.')
print(*sorted(after[1]), sep='\\n')
for name in after[2]:
    if before[2].get(name) != after[2][name]:
        print('MODULE2PACKAGE')
print(*[name for name in after[3] - before[3] if name.startswith('mmcv')], sep='\\n')
assert 'mmcv' not in after[3]
"""
    done = subprocess.run(
        [sys.executable, '-W', 'ignore', '-c', code],
        cwd=tmp_path,
        env=os.environ | {'PYTHONPATH': str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    changed = done.stdout.split()
    assert {'MODELS', 'HOOKS', 'MODULE2PACKAGE'} <= set(changed)
    missing = [name for name in changed if name not in kd_plugins.__doc__]
    assert missing == []


@pytest.mark.slow
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
