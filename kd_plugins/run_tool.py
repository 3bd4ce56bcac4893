"""How every command line ends: a mistake by its message, a bug by its traceback."""

import re
import sys
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from typing import NoReturn, TextIO, cast

from .errors import DistillationError, HostError, LocatedError
from .notices import WithoutNotices

_FAILED, _MISTAKEN = 1, 2  # argparse ends with 2 as well
_UNREGISTERED = re.compile(r'\S+ is not in the [\w: ]+ registry\.')


def run_tool(main: Callable[[], object]) -> NoReturn:
    """Call a tool's ``main``, and end the process.

    A mistake in a config or on the command line is told on stderr, without a traceback:
    an error of :mod:`kd_plugins.errors`, or a ``type`` that is in no registry of the
    hosts. Any other error keeps its traceback. Who calls ``main``, or a function of
    :mod:`kd_plugins.apis`, gets all of them as they are. Of several processes, each
    tells its own, and its launcher sees its exit status.

    Args:
        main: gives the exit status, or anything else for 0.

    Raises: SystemExit with main's status, 2 after a mistake, 1 where a training went
        wrong (:class:`~kd_plugins.errors.DistillationError`); what may be a bug.
    """
    out, err = WithoutNotices(sys.stdout), WithoutNotices(sys.stderr)
    try:
        with redirect_stdout(cast(TextIO, out)), redirect_stderr(cast(TextIO, err)):
            status = main()
    except Exception as error:
        message = mistake(error)
        if message is None:
            for notice in (*out.held, *err.held):
                print(f'Held back before: {notice}', file=sys.stderr)
            raise
        print(message, file=sys.stderr)
        failed = isinstance(error, DistillationError)
        sys.exit(_FAILED if failed else _MISTAKEN)
    sys.exit(status if isinstance(status, int) else 0)


def mistake(error: Exception) -> str | None:
    """What its user did wrong, in a message; None for what may be a bug.

    Example:
        >>> mistake(LocatedError('must be > 0, got 0.', 'temperature'))
        'temperature: must be > 0, got 0.'
        >>> mistake(KeyError('temperature'))
    """
    if isinstance(error, (LocatedError, HostError)):
        return str(error)
    if isinstance(error, KeyError) and _UNREGISTERED.search(str(error)):
        return str(error.args[0])
    return None
