"""Losses and other parts that need nothing but torch, in an environment of it alone."""

import re
import subprocess
import sys
from collections.abc import Callable
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[1]
PAGE = ROOT / 'docs' / 'losses_in_plain_pytorch.md'
FOREIGN = ('mmengine', 'mmcv', 'mmdet', 'mmseg', 'torchvision', 'cv2', 'numpy')
ALONE = (
    *('losses', 'target_transforms', 'combinations', 'switches'),
    *('adapters', 'schedules', 'recorders', 'quantizers'),
    'checkpoints',
)

pytestmark = [pytest.mark.host, pytest.mark.slow]

Run = Callable[[str], str]


def required(name: str, known: dict[str, metadata.Distribution]) -> None:
    """Add a distribution, and what its metadata require, to those known."""
    if name in known:
        return
    known[name] = metadata.distribution(name)
    for line in known[name].requires or ():
        requirement = Requirement(line)
        if requirement.marker is None or requirement.marker.evaluate({'extra': ''}):
            for extra in requirement.extras:
                requires_extra(requirement.name, extra, known)
            required(requirement.name, known)


def requires_extra(
    name: str, extra: str, known: dict[str, metadata.Distribution]
) -> None:
    for line in metadata.distribution(name).requires or ():
        requirement = Requirement(line)
        if requirement.marker and requirement.marker.evaluate({'extra': extra}):
            required(requirement.name, known)


@pytest.fixture(scope='module')
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Run code in an environment of its own: torch, what it requires, this package."""
    folder = tmp_path_factory.mktemp('torch_alone') / 'env'
    subprocess.run([sys.executable, '-m', 'venv', '--without-pip', folder], check=True)
    (site,) = folder.glob('lib/python*/site-packages')
    (site / 'kd_plugins').symlink_to(ROOT / 'kd_plugins')
    known: dict[str, metadata.Distribution] = {}
    required('torch', known)
    for distribution in known.values():
        tops = {file.parts[0] for file in distribution.files or ()}
        for top in tops - {'..', '__pycache__'}:
            if not top.endswith('.pth') and not (site / top).exists():
                (site / top).symlink_to(Path(str(distribution.locate_file(top))))

    def in_environment(code: str) -> str:
        # torch says once that it does without numpy.
        quiet = 'ignore:Failed to initialize NumPy:UserWarning'
        done = subprocess.run(
            [folder / 'bin' / 'python', '-I', '-W', 'error', '-W', quiet, '-c', code],
            cwd=folder,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr[-4000:]
        return done.stdout

    return in_environment


def test_the_environment_has_nothing_else(run: Run) -> None:
    found = run(
        'from importlib.util import find_spec\n'
        f'print(*[name for name in {FOREIGN} if find_spec(name)])'
    )
    assert found.split() == []


def test_every_module_imports_and_its_examples_hold(run: Run) -> None:
    output = run(f"""
import doctest, pkgutil, sys, torch
from importlib import import_module
import kd_plugins
options = doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS
tried = 0
for package in {ALONE}:
    folder = import_module(f'kd_plugins.{{package}}')
    for info in pkgutil.walk_packages(folder.__path__, folder.__name__ + '.'):
        if info.name == 'kd_plugins.checkpoints._numpy':
            continue  # what a file of numpy arrays needs
        torch.manual_seed(0)
        module = import_module(info.name)
        failed, attempted = doctest.testmod(module, optionflags=options)
        assert not failed, info.name
        tried += attempted
assert not set({FOREIGN}) & set(sys.modules)
print(tried)
""")
    assert int(output.splitlines()[-1]) > 100


def test_the_page_runs_and_its_student_learns(run: Run) -> None:
    blocks = re.findall(r'^```python\n(.*?)^```$', PAGE.read_text(), re.M | re.S)
    assert len(blocks) == 3
    before = 'import torch\ntorch.manual_seed(0)\n'
    after = """
assert hint.loss_weight == 0.5 * (1 - 19 / 20)
assert all(parameter.grad.abs().sum() > 0 for parameter in learned)
assert all(parameter.grad is None for parameter in teacher.parameters())
assert of_student.outputs[0].shape == (8, 16, 16, 16)
assert of_teacher.outputs[0].shape == (8, 32, 16, 16)
assert not any(module._forward_hooks for module in student.modules())
assert divergence > 0 and maps > 0
"""
    run(before + '\n'.join(blocks) + after)


def test_the_pages_loop_is_of_about_twenty_lines() -> None:
    loop = re.findall(r'^```python\n(.*?)^```$', PAGE.read_text(), re.M | re.S)[1]
    lines = [line for line in loop.splitlines() if line and 'import' not in line]
    assert len(lines) <= 20


def test_what_needs_the_hosts_names_the_command(run: Run) -> None:
    output = run("""
import pkgutil
from importlib import import_module
import kd_plugins
from kd_plugins import HostError, registry

def refusal(ask):
    try:
        ask()
    except HostError as error:
        return str(error)
    raise AssertionError('no HostError')

messages = {
    refusal(lambda: kd_plugins.Distiller),
    refusal(lambda: kd_plugins.MODELS),
    refusal(lambda: registry.HOOKS),
    refusal(lambda: import_module('kd_plugins.apis.train')),
    refusal(lambda: registry.VIEWS.get('roi.logits')),
}
for info in pkgutil.iter_modules(kd_plugins.__path__):
    alone = ('losses', 'target_transforms', 'combinations', 'switches', 'adapters')
    others = ('schedules', 'recorders', 'quantizers', 'checkpoints', 'hosts')
    if info.ispkg and info.name not in (*alone, *others):
        messages.add(refusal(lambda: import_module(f'kd_plugins.{info.name}')))
(message,) = messages
print(message)
""")
    assert "pip install 'onedl-mmengine>=0.10.12' 'onedl-mmcv>=" in output


def test_what_is_exported_is_there(run: Run) -> None:
    run("""
import kd_plugins
assert kd_plugins.__version__
assert kd_plugins.CWDLoss is kd_plugins.losses.CWDLoss
assert kd_plugins.LayerRecorder is kd_plugins.recorders.LayerRecorder
assert {'CWDLoss', 'Distiller', 'LOSSES', 'MODELS'} <= set(dir(kd_plugins))
assert 'HintLoss' in kd_plugins.LOSSES
assert kd_plugins.ADAPTERS.get('kd_plugins.ConvAdapter') is not None
assert kd_plugins.SCHEDULES.get('LinearRamp') is not None
""")
