"""Views of the depth family."""
