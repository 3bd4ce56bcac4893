"""A faster copy of a teacher: which switches pay on which hardware."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from functools import cache
from pathlib import Path
from typing import Any

import torch

from ..checks import check_choice, check_float
from ..errors import ConfigError, located, nearest

AUTO = 'auto'
DTYPES = ('bfloat16', 'float16', 'float32')
# Largest relative error of a pair's tensor at the first batch; see :func:`read_fast`.
TOLERANCE = 0.05
_BFLOAT16_UNITS = ('avx512_bf16', 'amx_bf16')


@dataclass(frozen=True)
class Switches:
    """How a fast copy differs from the plain model.

    Attributes:
        fold_bn: batch norms are part of the convolutions before them, but where one of
            the two is recorded.
        channels_last: convolutions run in that memory format; on a CPU RoIs are pooled
            in it too.
        prepack: convolutions keep their weights as the CPU's kernels read them, rather
            than reorder them at every call; what is compiled does without.
        dtype: of convolutions and linear layers; what lies between runs in the type
            that torch's autocast chooses.
        compile: backbone and neck are compiled by ``torch.compile``, but where a layer
            inside is recorded.
    """

    fold_bn: bool = False
    channels_last: bool = False
    prepack: bool = False
    dtype: str = 'float32'
    compile: bool = False

    @property
    def lowered(self) -> bool:
        """Whether some of it is computed in fewer bits."""
        return self.dtype != 'float32'

    @property
    def torch_dtype(self) -> torch.dtype:
        """The data type of its weights."""
        dtype: torch.dtype = getattr(torch, self.dtype)
        return dtype

    def describe(self) -> str:
        """What is done, in words.

        Example:
            >>> Switches(fold_bn=True, dtype='bfloat16').describe()
            'bfloat16, batch norms folded'
        """
        done = {
            'batch norms folded': self.fold_bn,
            'channels last': self.channels_last,
            'weights prepacked': self.prepack,
            'compiled': self.compile,
        }
        return ', '.join([self.dtype, *(text for text, on in done.items() if on)])


PLAIN = Switches()
_SWITCHES = tuple(item.name for item in fields(Switches))
KEYS = (*_SWITCHES, 'tolerance')


@dataclass(frozen=True)
class FastOptions:
    """What a configuration says of the fast copy.

    Attributes:
        switches: those that it sets; hardware decides the others.
        tolerance: largest relative error of a pair's tensor that is accepted.
    """

    switches: Mapping[str, Any]
    tolerance: float = TOLERANCE

    def on(self, device: torch.device) -> Switches:
        """All switches, on this device."""
        switches = {**asdict(switches_for(device)), **self.switches}
        if 'prepack' not in self.switches:
            switches['prepack'] &= can_prepack(switches['dtype'])
        return Switches(**switches)


def read_fast(value: object) -> FastOptions | None:
    """``fast`` of a teacher: 'auto', a dict of what shall be otherwise, or False.

    Args:
        value: 'auto'; or a dict of ``fold_bn``, ``channels_last``, ``prepack``,
            ``dtype``, ``compile``, see :class:`Switches`, and ``tolerance``; or False.

    Returns: None for False.
    Raises: ConfigError for anything else.

    Example:
        >>> read_fast(dict(dtype='float32')).switches
        {'dtype': 'float32'}
        >>> read_fast(False)
    """
    if value is False:
        return None
    if value == AUTO:
        return FastOptions({})
    with located('fast'):
        if not isinstance(value, dict):
            raise ConfigError(
                f"must be 'auto', False, or a dict of {', '.join(KEYS)}, got {value!r}."
            )
        switches = {key: _checked(key, item) for key, item in value.items()}
    tolerance = switches.pop('tolerance', TOLERANCE)
    return FastOptions(switches, tolerance)


def _checked(key: str, value: Any) -> Any:
    if key not in KEYS:
        raise ConfigError(f"no key '{key}'. {nearest(key, KEYS)}")
    if key == 'tolerance':
        return check_float(key, value, strict=True)
    if key == 'dtype':
        return check_choice(key, value, DTYPES)
    if not isinstance(value, bool):
        raise ConfigError(f'must be True or False, got {value!r}.', key=key)
    return value


def switches_for(device: torch.device) -> Switches:
    """What pays on this device: of 'auto'.

    On a CPU, measured: folding, channels last and prepacked weights always (they change
    a result by rounding alone, 1e-6), bfloat16 where the CPU has units for it. On a GPU
    with tensor cores bfloat16, or float16 before bfloat16 was there (compute capability
    below 8).
    """
    if device.type == 'cpu':
        dtype = 'bfloat16' if has_bfloat16_units() else 'float32'
        return Switches(True, True, can_prepack(dtype), dtype)
    if device.type == 'cuda':
        major, _ = torch.cuda.get_device_capability(device)
        dtype = 'bfloat16' if major >= 8 else 'float16' if major >= 7 else 'float32'
        return Switches(True, major >= 7, False, dtype)
    return PLAIN


@cache
def has_bfloat16_units() -> bool:
    """Whether this CPU computes in bfloat16, as Linux tells of it."""
    file = Path('/proc/cpuinfo')
    if not (torch.backends.mkldnn.is_available() and file.is_file()):
        return False
    lines = file.read_text().splitlines()
    flags = next((line.split() for line in lines if line.startswith('flags')), [])
    return any(unit in flags for unit in _BFLOAT16_UNITS)


def can_prepack(dtype: str) -> bool:
    """Whether torch can keep a convolution's weights as oneDNN reads them.

    Args:
        dtype: of the weights; bfloat16 needs a CPU with AVX-512 or newer.
    """
    mkldnn = torch.ops.mkldnn
    return (
        torch.backends.mkldnn.is_available()
        and hasattr(mkldnn, '_reorder_convolution_weight')
        and hasattr(mkldnn, '_convolution_pointwise')
        and (dtype != 'bfloat16' or mkldnn._is_mkldnn_bf16_supported())
    )
