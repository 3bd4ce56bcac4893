"""Whether a checkpoint is as it was written: a flipped bit changes a weight silently.

``torch.save`` writes a checksum of every part of its archive, and ``torch.load`` does
not look at them. A ``.safetensors`` file has none; ours carry one in their header. The
legacy format of ``torch.save`` has none either.
"""

import zipfile
from collections.abc import Mapping
from ctypes import c_char
from hashlib import sha256
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..errors import CheckpointError

CHECKSUM = 'checksum'  # in the header of a .safetensors file
_FIRST_BYTES = b'PK\x03\x04'  # of an archive


def check_whole(path: str | Path) -> None:
    """Refuse an archive of ``torch.save`` that is truncated, or has a flipped bit.

    Args:
        path: of a checkpoint; what is no file of this machine, or has no checksums, is
            left to its reader.

    Raises: CheckpointError.
    """
    file = Path(path)
    if not file.is_file():
        return
    with open(file, 'rb') as opened:
        if opened.read(len(_FIRST_BYTES)) != _FIRST_BYTES:
            return
    fault = fault_of_archive(file)
    if fault:
        raise CheckpointError(
            f"'{file}' is damaged: {fault}. Name another file; resume=True takes the "
            'newest whole one of a run.'
        )


def fault_of_archive(file: Path) -> str:
    """What is wrong with an archive of ``torch.save``; empty for a whole one."""
    try:
        with zipfile.ZipFile(file) as archive:
            if not any(name.endswith('data.pkl') for name in archive.namelist()):
                return 'it is an archive without a checkpoint'
            damaged = archive.testzip()
        if damaged:
            return f"the bytes of '{damaged}' are not those that were written"
        # torch minds what Python's reader does not; not all is in torch's stubs.
        reader: Any = torch.PyTorchFileReader(str(file))
        for name in reader.get_all_records():
            reader.get_record_offset(name)
    # A flipped bit may ask for a method of compression that there is not, or make a
    # name that is no text (a ValueError).
    except (
        zipfile.BadZipFile,
        EOFError,
        NotImplementedError,
        RuntimeError,
        ValueError,
    ) as error:
        return f'{type(error).__name__}: {error}'
    return ''


def checksum_of(weights: Mapping[str, Tensor], header: Mapping[str, str]) -> str:
    """Checksum of weights and of what a header says of them, in any order.

    Args:
        weights: by name.
        header: text by name; its own checksum is left out.

    Example:
        >>> import torch
        >>> weights = {'a': torch.zeros(2), 'b': torch.ones(())}
        >>> one = checksum_of(weights, {'iter': '3'})
        >>> one == checksum_of(weights, {'iter': '3', 'checksum': one})
        True
        >>> weights['a'][0] = 1
        >>> one == checksum_of(weights, {'iter': '3'})
        False
    """
    digest = sha256()
    for name in sorted(weights):
        tensor = weights[name].detach().cpu().contiguous()
        digest.update(f'{name} {tensor.dtype} {tuple(tensor.shape)}\n'.encode())
        size = tensor.numel() * tensor.element_size()
        if size:  # read where it is: numpy may be missing
            digest.update((c_char * size).from_address(tensor.data_ptr()))
    for name in sorted(set(header) - {CHECKSUM}):
        digest.update(f'{name} {header[name]}\n'.encode())
    return digest.hexdigest()
