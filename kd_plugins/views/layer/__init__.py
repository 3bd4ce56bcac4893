"""Layers by dotted name, and the flow between two of them."""
