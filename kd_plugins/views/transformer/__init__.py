"""Transformers: what their encoders make of the features."""
