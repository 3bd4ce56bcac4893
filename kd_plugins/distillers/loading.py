"""A checkpoint of a distillation, or of its student alone, into a distiller."""

from typing import Any

from ..checkpoints import read_checkpoint
from ..errors import located
from ..teachers.checkpoints import (
    Weights,
    is_distiller,
    load_strictly,
    weights_of,
)
from .distiller import Distiller


def load_any(model: Distiller, path: str, key: str) -> dict[str, Any] | None:
    """Load it strictly and safely.

    Args:
        model: the distiller.
        path: of the checkpoint; a student's may be of any recipe, or of none.
        key: of the command line or configuration, for messages.

    Returns: what a checkpoint of this distillation says of itself; None for one of the
        student alone, which leaves adapters and losses as they are.

    Raises: CheckpointError for a checkpoint that does not fit.
    """
    with located(key):
        content = read_checkpoint(path)
    state = content.get('state_dict', content)
    if not isinstance(state, dict) or not is_distiller(state):
        weights = weights_of(content, source=path, key=key)
        load_strictly(model.student, weights, key)
        return None
    whole = Weights(state)
    whole._metadata = getattr(state, '_metadata', None)  # type: ignore[attr-defined]
    whole.source = path
    load_strictly(model, whole, key)
    meta: dict[str, Any] = content.get('meta') or {}
    return meta
