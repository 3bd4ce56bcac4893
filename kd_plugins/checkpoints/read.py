"""Reading checkpoints: from anywhere, without running what they contain."""

import sys
import tarfile
import zipfile
from collections import OrderedDict
from collections.abc import Mapping
from json import loads
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..errors import CheckpointError
from . import _unpickling
from ._locate import is_url, locate
from ._refused import RefusedGlobal
from .checksums import CHECKSUM, checksum_of, fault_of_archive


def read_checkpoint(path: str | Path) -> dict[str, Any]:
    """What a checkpoint file holds, on the CPU.

    Args:
        path: a file, a URL (downloaded once, into torch hub's cache) or
            ``kd_plugins::<path under the package's configs>``; ``.safetensors``, or
            what ``torch.save`` wrote, in its present or its legacy format.

    Returns: the mapping in the file. That of a ``.safetensors`` file is made here:
        ``state_dict``, and ``meta`` from its header.

    Raises: CheckpointError if it is missing, truncated, no checkpoint, not what its
        checksums say, or names a global that checkpoints have no need of.
    """
    file = locate(path)
    try:
        if file.suffix == '.safetensors':
            content: object = _read_safetensors(file)
        else:
            content = _read_pickle(file)
    except RefusedGlobal as refused:
        raise CheckpointError(
            f"'{file}' holds the pickled global '{refused}', which no ordinary "
            'checkpoint needs and which could run code: refused. If you trust its '
            'origin, load it yourself and save its state_dict with torch.save alone.'
        ) from None
    except ModuleNotFoundError:  # of safetensors: no fault of the file's
        raise
    except Exception as error:  # a corrupt file can fail in any way
        raise CheckpointError(
            f"'{file}' cannot be read: truncated, corrupt or no checkpoint "
            f'({type(error).__name__}: {error}). Expected a file of torch.save or '
            f'safetensors. Got {file.stat().st_size} bytes. '
            + (
                'Delete it and download it again.'
                if is_url(path)
                else 'Name another file.'
            )
        ) from error
    if not isinstance(content, dict):
        raise CheckpointError(
            f"'{file}' holds a {type(content).__name__}, expected a dict: a "
            'state_dict, or a checkpoint with one. Name another file.'
        )
    return content


def state_dict_of(checkpoint: Mapping[str, Any], source: str) -> Mapping[str, Tensor]:
    """The ``state_dict`` in a checkpoint that was read, or the checkpoint if it is one.

    Args:
        checkpoint: as :func:`read_checkpoint` gives it.
        source: its file, for the message.

    Raises: CheckpointError if there is none of tensors alone, or it is empty.
    """
    state = checkpoint.get('state_dict', checkpoint)
    if (
        isinstance(state, Mapping)
        and state
        and all(isinstance(value, Tensor) for value in state.values())
    ):
        return state
    names = ', '.join(f"'{name}'" for name in list(checkpoint)[:8])
    raise CheckpointError(
        f"'{source}' has no weights: expected a 'state_dict' of tensors, or to be one. "
        f'It holds: {names or "nothing"}.'
    )


def _read_pickle(file: Path) -> object:
    # Both would make torch.load take another way than our unpickler.
    if tarfile.is_tarfile(file):
        raise ValueError('a tar archive, as torch wrote them before 0.1.10')
    if zipfile.is_zipfile(file):
        with zipfile.ZipFile(file) as archive:
            if any(name.endswith('/constants.pkl') for name in archive.namelist()):
                raise ValueError('a TorchScript archive, not weights')
        fault = fault_of_archive(file)  # torch.load asks no checksum
        if fault:
            raise ValueError(fault)
    return torch.load(
        file,
        map_location='cpu',
        pickle_module=sys.modules[_unpickling.__name__],
        weights_only=False,
    )


def _read_safetensors(file: Path) -> dict[str, Any]:
    from safetensors import safe_open

    with safe_open(str(file), framework='pt', device='cpu') as opened:
        header = opened.metadata() or {}
        names = opened.keys()
        weights = OrderedDict((name, opened.get_tensor(name)) for name in names)
    if header.get(CHECKSUM) not in (None, checksum_of(weights, header)):
        raise ValueError('its bytes are not those that were written')
    ours = ('dataset_meta', CHECKSUM)
    meta = {name: value for name, value in header.items() if name not in ours}
    dataset_meta = loads(header.get('dataset_meta', 'null'))
    if dataset_meta:
        meta['dataset_meta'] = dataset_meta
    return {'meta': meta, 'state_dict': weights}
