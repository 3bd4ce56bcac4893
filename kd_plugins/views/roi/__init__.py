"""Views of the roi family."""
