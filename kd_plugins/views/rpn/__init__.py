"""Views of the rpn family."""
