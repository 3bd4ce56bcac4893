"""Views of the layer family."""
