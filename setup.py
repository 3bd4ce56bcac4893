"""The one step of the build that pyproject.toml cannot say: configs in the package."""

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

ROOT = Path(__file__).resolve().parent
MIM = Path('kd_plugins', '.mim')
CARRIED = ('configs', 'tools', 'model-index.yml')
# Weights of the embedded teachers, of 23 MB, are for those who have a clone.
LEFT_OUT = ('__pycache__', '*.pyc', '*.safetensors')


class BuildWithConfigs(build_py):
    """Carry configs and tools in ``kd_plugins/.mim``, as the hosts' wheels do.

    There mmengine looks for ``kd_plugins::_base_/distill.py``, and mim for tools. A
    wheel gets copies; an editable install gets links, so that edits take effect.
    """

    def run(self):
        super().run()
        if self.editable_mode:
            link_configs()
        else:
            copy_configs(Path(self.build_lib) / MIM)


def link_configs():
    (ROOT / MIM).mkdir(exist_ok=True)
    for name in CARRIED:
        link = ROOT / MIM / name
        if not link.is_symlink():
            link.symlink_to(Path('..', '..', name))


def copy_configs(target):
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True)
    for name in CARRIED:
        source = ROOT / name
        if source.is_dir():
            ignored = shutil.ignore_patterns(*LEFT_OUT)
            shutil.copytree(source, target / name, ignore=ignored)
        else:
            shutil.copy(source, target / name)


setup(cmdclass={'build_py': BuildWithConfigs})
