"""What mmengine calls: runner, hooks, optimiser constructor, DDP wrapper."""
