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
from importlib import import_module
from typing import Any

import torch

from ._refused import RefusedGlobal


class _HistoryBuffer:
    """Stands in for mmengine's log of one scalar; what it held is dropped."""

    def __setstate__(self, state: object) -> None:
        del state


def _latin1(text: str, encoding: str) -> bytes:
    # how protocol 2 writes bytes
    return text.encode({'latin1': 'latin1', 'latin-1': 'latin1'}[encoding])


def _attribute(owner: object, name: object) -> str:
    # mmengine writes HistoryBuffer's statistics as getattr(HistoryBuffer, 'mean').
    if owner is _HistoryBuffer and name in ('min', 'max', 'mean', 'current'):
        return f'HistoryBuffer.{name}'
    raise RefusedGlobal(f'builtins.getattr({owner!r}, {name!r})')


# Of the module _numpy, which needs numpy; torch does without.
_NUMPY: dict[tuple[str, str], str] = {
    ('numpy', 'dtype'): 'DType',
    ('numpy', 'ndarray'): 'Array',
    **{
        (module, name): value
        for module in ('numpy.core.multiarray', 'numpy._core.multiarray')
        for name, value in (('_reconstruct', 'new_array'), ('scalar', 'new_scalar'))
    },
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
}


class Unpickler(pickle.Unpickler):
    """Unpickler whose globals come from the table above and from nowhere else."""

    def find_class(self, module: str, name: str, /) -> Any:
        if module == '__builtin__':  # of Python 2, in protocols before 3
            module = 'builtins'
        if (module, name) in _ADMITTED:
            return _ADMITTED[module, name]
        if (module, name) in _NUMPY:
            stand_ins = import_module('._numpy', __package__)
            return getattr(stand_ins, _NUMPY[module, name])
        if module == 'torch' and isinstance(getattr(torch, name, None), torch.dtype):
            return getattr(torch, name)
        raise RefusedGlobal(f'{module}.{name}')


def load(file: Any, **options: Any) -> Any:
    """What ``torch.load`` calls for the small pickles of its legacy format."""
    return Unpickler(file, **options).load()
