"""Stand-ins for what a pickle names of numpy; imported when one does."""

import re
from typing import Any

import numpy as np

from ._refused import RefusedGlobal


class DType:
    """A numpy dtype that is only ever a plain numeric, boolean or text type.

    ``np.dtype`` itself would take a crafted state (fields, object pointers) from the
    pickle and is thus not handed out.
    """

    def __init__(self, code: object, align: object = False, copy: object = False):
        del align, copy
        if not isinstance(code, str) or not re.fullmatch(r'[biufcSU]\d+', code):
            raise RefusedGlobal(f'numpy.dtype({code!r})')
        self._code = code
        self._order = '='

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        _version, order, subarray, names, fields, *_rest = state
        if subarray or names or fields or order not in ('<', '>', '|', '='):
            raise RefusedGlobal(f'numpy.dtype({self._code!r}) with state {state!r}')
        self._order = order

    def resolve(self) -> Any:
        """The numpy dtype that is meant."""
        return np.dtype(self._order + self._code)


class Array(np.ndarray[Any, Any]):
    """An array that takes only bytes of a plain dtype as its state."""

    def __setstate__(self, state: Any, /) -> None:
        version, shape, dtype, is_fortran, data = state
        if not isinstance(dtype, DType) or not isinstance(data, bytes):
            raise RefusedGlobal(f'numpy.ndarray of {type(data).__name__}')
        super().__setstate__((version, shape, dtype.resolve(), is_fortran, data))

    def __reduce__(self) -> Any:  # saved again, it is an ordinary array
        return self.view(np.ndarray).__reduce__()


def new_array(kind: object, shape: object, code: object) -> Array:
    """An empty array, as the pickle of every array begins."""
    del kind, shape, code  # the state that follows has them
    return np.empty(0, dtype=np.int8).view(Array)


def new_scalar(dtype: DType, data: bytes) -> Any:
    """One number of a plain dtype."""
    return np.frombuffer(data, dtype.resolve(), count=1)[0]
