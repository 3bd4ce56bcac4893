"""Checkpoint files, read without running what they contain; needs torch alone."""

from ._locate import locate
from .read import read_checkpoint, state_dict_of

__all__ = ['locate', 'read_checkpoint', 'state_dict_of']
