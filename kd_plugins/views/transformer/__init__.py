"""Views of the transformer family."""
