"""Knowledge distillation as a plugin of mmdet and mmsegmentation."""

from .hosts.operators import install_operators

__version__ = '0.1.0'

install_operators()
