"""Views of the dense family."""
