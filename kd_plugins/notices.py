"""Notices of the hosts that say nothing about a run, and read like errors.

Each is one sentence, here with the reason why it may go; nothing else is held back, and
no category of warnings. A run's log file has what was logged, and a tool that fails
shows what it held back, see :func:`~kd_plugins.run_tool.run_tool`.
"""

import re
from typing import Any, TextIO

_SENTENCES = (
    # mmdet and mmseg, on import: a format of data sets by a package that is not public.
    # Meant for level DEBUG, but printed at any. A config that names such a data set
    # ends with an error of its own.
    r'Could not import OneDL(\. Skipping OneDL datasets\.)?',
    # mmdet, on import: of FasterCocoMetric alone; CocoMetric, which every config of the
    # hosts names, computes its metrics.
    r'faster_coco_eval is not installed, metrics will not be computed\. .*',
    # mmengine's own CheckpointHook calls mmengine's own old class, in every training.
    r'"FileClient" will be deprecated in future\. Please use io functions in \S+',
    r'"HardDiskBackend" is the alias of "LocalBackend" and the former will be '
    r'deprecated in future\.',
    # mmseg's own metric has no prefix: it is called mIoU, as configs and papers do.
    r'The prefix is not set in metric class IoUMetric\.',
)
# By itself, behind a logger's time, name and level, or as a warning shows it.
_NOTICE = re.compile(rf'(.* - |.*UserWarning: )?({"|".join(_SENTENCES)})', re.DOTALL)


class WithoutNotices:
    """A stream to write to, which holds these notices back; otherwise the same one.

    Args:
        stream: where the rest goes.

    Attributes:
        held: the notices, in order.

    Example:
        >>> import sys
        >>> stream = WithoutNotices(sys.stdout)
        >>> print('Could not import OneDL', file=stream)
        >>> print('Could not import cv2', file=stream)
        Could not import cv2
        >>> stream.held
        ['Could not import OneDL']
    """

    def __init__(self, stream: TextIO) -> None:
        self.held: list[str] = []
        self._stream = stream
        self._line_open = False  # print() writes the end of the line apart

    def write(self, text: str) -> int:
        """Write it, or hold it back; the number of characters."""
        if self._line_open and text == '\n':
            self._line_open = False
        elif _NOTICE.fullmatch(text.strip()):
            self.held.append(text.strip())
            self._line_open = not text.endswith('\n')
        else:
            self._line_open = False
            self._stream.write(text)
        return len(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)
