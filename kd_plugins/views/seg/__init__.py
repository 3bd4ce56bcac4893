"""Views of the seg family."""
