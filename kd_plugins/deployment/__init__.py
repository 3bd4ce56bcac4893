"""Students as ONNX files: what is exported, how it is run, compared and scored."""

from ..hosts import required  # noqa: F401
