"""A pickle reader that admits only what ordinary checkpoints consist of.

A pickle may name any function of any module and have it called. This one looks names
up in a table instead of importing them: tensors and their storages, containers, numpy
data, and stand-ins for the few classes that mmengine writes. What is not in the table
is refused by its name, before anything is called.

``torch.load(weights_only=True)`` would not do: it refuses the checkpoints that mmengine
writes (they hold ``HistoryBuffer`` and ``getattr``), and mmengine then falls back to
reading them without any restriction.
"""

import collections
import pickle
import re
from typing import Any

import numpy as np
import torch


class RefusedGlobal(Exception):
    """A pickle names a global outside the admitted ones."""


class _HistoryBuffer:
    """Stands in for mmengine's log of one scalar; what it held is dropped."""

    def __setstate__(self, state: object) -> None:
        del state


class _DType:
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
        return np.dtype(self._order + self._code)


class _Array(np.ndarray[Any, Any]):
    """An array that takes only bytes of a plain dtype as its state."""

    def __setstate__(self, state: Any, /) -> None:
        version, shape, dtype, is_fortran, data = state
        if not isinstance(dtype, _DType) or not isinstance(data, bytes):
            raise RefusedGlobal(f'numpy.ndarray of {type(data).__name__}')
        super().__setstate__((version, shape, dtype.resolve(), is_fortran, data))

    def __reduce__(self) -> Any:  # saved again, it is an ordinary array
        return self.view(np.ndarray).__reduce__()


def _new_array(kind: object, shape: object, code: object) -> _Array:
    del kind, shape, code  # the state that follows has them
    return np.empty(0, dtype=np.int8).view(_Array)


def _numpy_scalar(dtype: _DType, data: bytes) -> Any:
    return np.frombuffer(data, dtype.resolve(), count=1)[0]


def _latin1(text: str, encoding: str) -> bytes:
    # how protocol 2 writes bytes
    return text.encode({'latin1': 'latin1', 'latin-1': 'latin1'}[encoding])


def _attribute(owner: object, name: object) -> str:
    # mmengine writes HistoryBuffer's statistics as getattr(HistoryBuffer, 'mean').
    if owner is _HistoryBuffer and name in ('min', 'max', 'mean', 'current'):
        return f'HistoryBuffer.{name}'
    raise RefusedGlobal(f'builtins.getattr({owner!r}, {name!r})')


_NUMPY: dict[str, object] = {
    '_reconstruct': _new_array,
    'scalar': _numpy_scalar,
}
_ADMITTED: dict[tuple[str, str], object] = {
    ('collections', 'OrderedDict'): collections.OrderedDict,
    ('collections', 'defaultdict'): collections.defaultdict,
    ('collections', 'Counter'): collections.Counter,
    ('_codecs', 'encode'): _latin1,
    ('builtins', 'getattr'): _attribute,
    ('torch', 'Size'): torch.Size,
    ('torch', 'device'): torch.device,
    ('torch', 'Tensor'): torch.Tensor,
    ('torch.storage', 'UntypedStorage'): torch.UntypedStorage,
    ('torch', 'UntypedStorage'): torch.UntypedStorage,
    ('torch.nn.parameter', 'Parameter'): torch.nn.Parameter,
    ('torch._utils', '_rebuild_tensor'): torch._utils._rebuild_tensor,
    ('torch._utils', '_rebuild_tensor_v2'): torch._utils._rebuild_tensor_v2,
    ('torch._utils', '_rebuild_parameter'): torch._utils._rebuild_parameter,
    ('numpy', 'dtype'): _DType,
    ('numpy', 'ndarray'): _Array,
    ('mmengine.logging.history_buffer', 'HistoryBuffer'): _HistoryBuffer,
    # of dataset_meta, where the config's metainfo nests a dict
    ('mmengine.config.config', 'ConfigDict'): dict,
    # as protocol 2 calls int and str
    ('builtins', 'long'): int,
    ('builtins', 'unicode'): str,
    **{
        ('builtins', kind.__name__): kind
        for kind in (
            *(bool, int, float, complex, str, bytes, bytearray),
            *(list, tuple, dict, set, frozenset, slice, object),
        )
    },
    **{
        (module, name): value
        for module in ('numpy.core.multiarray', 'numpy._core.multiarray')
        for name, value in _NUMPY.items()
    },
}


class Unpickler(pickle.Unpickler):
    """Unpickler whose globals come from the table above and from nowhere else."""

    def find_class(self, module: str, name: str, /) -> Any:
        if module == '__builtin__':  # of Python 2, in protocols before 3
            module = 'builtins'
        if (module, name) in _ADMITTED:
            return _ADMITTED[module, name]
        if module == 'torch' and isinstance(getattr(torch, name, None), torch.dtype):
            return getattr(torch, name)
        raise RefusedGlobal(f'{module}.{name}')


def load(file: Any, **options: Any) -> Any:
    """What ``torch.load`` calls for the small pickles of its legacy format."""
    return Unpickler(file, **options).load()
