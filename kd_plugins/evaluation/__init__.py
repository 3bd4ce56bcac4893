"""How well a student matches its teacher, and what pulls at it while it learns."""

from ..hosts import required  # noqa: F401
