"""What mmengine calls: runner, hooks, optimiser constructor, DDP wrapper."""

from ..hosts import required  # noqa: F401
