"""Segmentation heads: classes, features and gradients of pixels."""
