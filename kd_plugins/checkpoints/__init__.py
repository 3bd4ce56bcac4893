"""Checkpoint files, read without running what they contain; needs torch alone."""

from ._locate import locate
from .checksums import CHECKSUM, check_whole, checksum_of, fault_of_archive
from .read import read_checkpoint, state_dict_of

__all__ = [
    'CHECKSUM',
    'check_whole',
    'checksum_of',
    'fault_of_archive',
    'locate',
    'read_checkpoint',
    'state_dict_of',
]
