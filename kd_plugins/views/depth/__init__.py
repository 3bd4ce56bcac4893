"""Depth heads."""
