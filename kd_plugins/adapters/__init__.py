"""Learned projections from the student's features to the teacher's."""

from kd_plugins.adapters.conv import ConvAdapter
from kd_plugins.adapters.linear import LinearAdapter
from kd_plugins.adapters.resize import ResizeAdapter, resize_map

__all__ = [
    'ConvAdapter',
    'LinearAdapter',
    'ResizeAdapter',
    'resize_map',
]
