"""The machine and the versions of a measurement."""

import os
import platform
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

_DISTRIBUTIONS = (
    *('torch', 'torchvision', 'numpy'),
    *('onedl-mmengine', 'onedl-mmcv', 'onedl-mmdetection', 'onedl-mmsegmentation'),
    *('mmengine', 'mmcv', 'mmdet', 'mmsegmentation'),
)


def versions() -> dict[str, str]:
    """Versions of Python, of this package, and of its requirements."""
    from .. import __version__

    names = {'python': platform.python_version(), 'kd_plugins': __version__}
    for name in _DISTRIBUTIONS:
        try:
            names[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return names


def machine() -> dict[str, Any]:
    """Processor, cores, GPU."""
    cuda = torch.cuda.is_available()
    return {
        'system': f'{platform.system()} {platform.machine()}',
        'processor': _processor(),
        'cores': cores(),
        'device': torch.cuda.get_device_name() if cuda else 'CPU',
    }


def cores() -> int:
    """Processor cores that this process may use."""
    if hasattr(os, 'sched_getaffinity'):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def in_words(machine: Mapping[str, Any], versions: Mapping[str, str]) -> str:
    """One line for the head of a table."""
    packages = ', '.join(f'{name} {version}' for name, version in versions.items())
    processor = machine['processor']
    device = machine['device']
    gpu = '' if device == 'CPU' else f', {device}'
    return f'{processor}, {machine["cores"]} cores{gpu}; {packages}'


def _processor() -> str:
    info = Path('/proc/cpuinfo')
    if info.is_file():
        for line in info.read_text().splitlines():
            name, _, value = line.partition(':')
            if name.strip() == 'model name':
                return value.strip()
    return platform.processor() or 'unknown processor'
