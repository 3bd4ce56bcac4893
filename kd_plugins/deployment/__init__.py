"""Students as ONNX files: what is exported, how it is run, compared and scored."""
