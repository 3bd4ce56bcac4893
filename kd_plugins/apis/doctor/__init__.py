"""Why a distillation did not help: checks that end in plain sentences."""

from .examine import Diagnosis, examine
from .finding import Finding, NotChecked

__all__ = ['Diagnosis', 'Finding', 'NotChecked', 'examine']
