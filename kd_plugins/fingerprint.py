"""Short names of configurations, weights and versions, by which two are compared."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from importlib import metadata
from typing import Any

import torch
from torch import Tensor

_HOSTS = (
    *('mmengine', 'mmcv', 'mmdet', 'mmsegmentation'),
    *('onedl-mmengine', 'onedl-mmcv', 'onedl-mmdetection', 'onedl-mmsegmentation'),
)


def fingerprint(content: object) -> str:
    """Sixteen hexadecimal digits of a configuration: of equal ones the same.

    Args:
        content: dicts, lists, numbers and text; classes and functions count by their
            names, tensors and arrays by their values.

    Example:
        >>> fingerprint({'a': 1, 'b': (2,)}) == fingerprint({'b': [2], 'a': 1})
        True
    """
    text = json.dumps(plain(content), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def plain(content: object) -> Any:
    """The same as JSON can hold it."""
    if content is None or isinstance(content, (str, bool, int, float)):
        return content
    if isinstance(content, Mapping):
        return {str(key): plain(value) for key, value in content.items()}
    if isinstance(content, (list, tuple)):
        return [plain(item) for item in content]
    if hasattr(content, '__qualname__'):  # of a configuration in pure Python
        return f'{content.__module__}.{content.__qualname__}'
    if hasattr(content, 'tolist'):
        return content.tolist()
    return str(content)


def tensors_digest(tensors: Iterable[tuple[str, Tensor]]) -> str:
    """SHA-256 over names, shapes, types and values."""
    digest = hashlib.sha256()
    for name, tensor in tensors:
        digest.update(f'{name} {tuple(tensor.shape)} {tensor.dtype}'.encode())
        content = tensor.detach().cpu().contiguous().reshape(-1)
        digest.update(content.view(torch.uint8).numpy().data)
    return digest.hexdigest()


def installed_versions(*names: str) -> dict[str, str]:
    """Versions of these distributions and of the hosts', of those that are there."""
    versions = {}
    for name in (*names, *_HOSTS):
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return versions
