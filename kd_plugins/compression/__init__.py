"""Smaller students: fewer channels, fewer weights, fewer bits."""
