"""Pairs that are chosen by what student and teacher are."""

from .choose import Choice, choose, is_auto

__all__ = ['Choice', 'choose', 'is_auto']
