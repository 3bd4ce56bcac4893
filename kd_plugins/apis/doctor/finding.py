"""What a check of a distillation found."""

from collections.abc import Mapping
from dataclasses import dataclass, field

# In the order in which they are told.
PROBLEM, WARNING, NOTE, FINE = SEVERITIES = ('problem', 'warning', 'note', 'fine')


@dataclass(frozen=True)
class Finding:
    """One result of a check.

    Attributes:
        severity: 'problem' (likely the reason), 'warning' (may be one), 'note' (to be
            known) or 'fine'.
        sentence: what was found, with its figures.
        remedy: the next thing to try; '' where there is nothing to do.
        figures: the numbers of the sentence, by name.
    """

    severity: str
    sentence: str
    remedy: str = ''
    figures: Mapping[str, float | str] = field(default_factory=dict)


@dataclass(frozen=True)
class NotChecked:
    """What a check could not look at.

    Attributes:
        subject: what it was to look at, as in 'the shares of gradients'.
        reason: why it could not, in one line.
    """

    subject: str
    reason: str


class NotCheckedError(Exception):
    """Raised within a check, or by what it asks for: the reason, in one line."""
