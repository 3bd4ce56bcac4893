"""Install with ``pip install -e '.[maintained,dev]'``; see README.md.

The extras name the two families of host packages. They overwrite each other's files,
so the package itself asks for neither: an environment that has one keeps it.
"""

import re
import shutil
from pathlib import Path

from setuptools import find_packages, setup
from setuptools.command.build_py import build_py

ROOT = Path(__file__).resolve().parent
MIM = Path('kd_plugins', '.mim')
CARRIED = ('configs', 'tools', 'model-index.yml')


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
            ignored = shutil.ignore_patterns('__pycache__', '*.pyc')
            shutil.copytree(source, target / name, ignore=ignored)
        else:
            shutil.copy(source, target / name)


def version():
    source = (ROOT / 'kd_plugins' / '__init__.py').read_text()
    return re.search(r"^__version__ = '(.+)'$", source, re.MULTILINE).group(1)


MAINTAINED = [
    'onedl-mmengine>=0.10.12',
    'onedl-mmcv>=2.3.6',
    'onedl-mmdetection>=3.5.1',
    'onedl-mmsegmentation>=1.4.2',
]
ORIGINAL = [
    'mmengine>=0.10.7,<0.11',
    'mmcv>=2.1.0,<2.2',
    'mmdet>=3.3.0,<3.4',
    'mmsegmentation>=1.2.2,<1.3',
    'ftfy',  # imported by mmsegmentation, not required by it
    'regex',
    'numpy<2',
    'opencv-python<4.12',  # later ones want numpy 2
    'setuptools<81',  # mmengine 0.10.7 imports pkg_resources
    'torch<2.6',  # torch.load of weights only by default
    'torchvision<0.21',
]
CLUSTER = ['submitit>=1.5']  # benchmarks as jobs
DEV = [
    *CLUSTER,
    'coverage>=7.10',  # measures subprocesses too
    'hypothesis>=6.100',
    'mypy>=1.11',
    'pre-commit',
    'pytest>=8.2',
    'pytest-cov>=5',
    'pytest-xdist>=3.5',
    'ruff>=0.9',
    'tensorboard',
]

setup(
    name='kd_plugins',
    version=version(),
    description='Knowledge distillation as a plugin of mmdet and mmsegmentation',
    license='Apache-2.0',
    python_requires='>=3.10',
    packages=find_packages(include=['kd_plugins', 'kd_plugins.*']),
    package_data={'kd_plugins': ['py.typed'], 'kd_plugins.benchmark': ['page/*']},
    cmdclass={'build_py': BuildWithConfigs},
    zip_safe=False,
    install_requires=[
        'matplotlib',
        'numpy',
        'opencv-python',
        'pillow',
        'pycocotools',
        'safetensors>=0.4',
        'scikit-image>=0.20',
        'scikit-learn',
        'scipy',
        'torch>=2.4',
        'torchvision>=0.19',
        'tqdm',
    ],
    extras_require={
        'maintained': MAINTAINED,
        'original': ORIGINAL,
        'cluster': CLUSTER,
        'dev': DEV,
    },
)
