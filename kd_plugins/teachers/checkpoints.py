"""Reading checkpoints: from anywhere, without running what they contain.

``read_checkpoint`` gives what a file holds, ``load_weights`` one model's weights out of
it, ``load_strictly`` puts them into a model or says in what way they do not fit.
"""

import sys
import tarfile
import zipfile
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from json import loads
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import CheckpointError
from . import _unpickling
from ._locate import is_url, locate
from ._mismatch import explain_mismatch

_KEY = 'model.teacher.checkpoint'
_STUDENT = 'student.'
_DISTILLER_PREFIXES = (_STUDENT, 'adapters.', 'losses.')


def read_checkpoint(path: str | Path, *, key: str = _KEY) -> dict[str, Any]:
    """What a checkpoint file holds, on the CPU.

    Args:
        path: a file, a URL (downloaded once, into torch hub's cache) or
            ``kd_plugins::<path under the package's configs>``; ``.safetensors``, or
            what ``torch.save`` wrote, in its present or its legacy format.
        key: the config key or argument that named the file, for the messages.

    Returns: the mapping in the file. That of a ``.safetensors`` file is made here:
        ``state_dict``, and ``meta`` from its header.

    Raises: CheckpointError if it is missing, truncated, no checkpoint, or names a
        global that checkpoints have no need of.
    """
    file = locate(path, key=key)
    try:
        if file.suffix == '.safetensors':
            content: object = _read_safetensors(file)
        else:
            content = _read_pickle(file)
    except _unpickling.RefusedGlobal as refused:
        raise CheckpointError(
            f"{key}: '{file}' holds the pickled global '{refused}', which no ordinary "
            'checkpoint needs and which could run code: refused. If you trust its '
            'origin, load it yourself and save its state_dict with torch.save alone.'
        ) from None
    except ModuleNotFoundError:  # of safetensors: no fault of the file's
        raise
    except Exception as error:  # a corrupt file can fail in any way
        raise CheckpointError(
            f"{key}: '{file}' cannot be read: truncated, corrupt or no checkpoint "
            f'({type(error).__name__}: {error}). Expected a file of torch.save or '
            f'safetensors. Got {file.stat().st_size} bytes. '
            + (
                'Delete it and download it again.'
                if is_url(path)
                else f'Set {key} to another file.'
            )
        ) from error
    if not isinstance(content, dict):
        raise CheckpointError(
            f"{key}: '{file}' holds a {type(content).__name__}, expected a dict: a "
            f'state_dict, or a checkpoint with one. Set {key} to another file.'
        )
    return content


class Weights(OrderedDict[str, Tensor]):
    """Weights of one model by name, and where they come from.

    Attributes:
        source: the file, for messages.
        classes: class names they were trained for, where the file tells.
    """

    source: str = 'the checkpoint'
    classes: tuple[str, ...] | None = None


def load_weights(path: str | Path, *, key: str = _KEY) -> Weights:
    """The weights of one model in a checkpoint file; see :func:`weights_of`."""
    return weights_of(read_checkpoint(path, key=key), source=str(path), key=key)


def weights_of(
    checkpoint: Mapping[str, Any], *, source: str = 'the checkpoint', key: str = _KEY
) -> Weights:
    """The weights of the plain model in a checkpoint that was read.

    From a training checkpoint its ``state_dict`` (EMA weights already, where the host's
    EMAHook ran), from a distiller's the student's alone, under the plain model's names.

    Args:
        checkpoint: as :func:`read_checkpoint` gives it.
        source: its file, for messages.
        key: the config key or argument that named it, for messages.

    Raises: CheckpointError if there are none.
    """
    found = checkpoint.get('state_dict', checkpoint)
    tensors = isinstance(found, Mapping) and {
        name: value for name, value in found.items() if isinstance(value, Tensor)
    }
    if not tensors or len(tensors) != len(found):
        names = ', '.join(f"'{name}'" for name in list(checkpoint)[:8])
        raise CheckpointError(
            f"{key}: '{source}' has no weights: expected a 'state_dict' of tensors, or "
            f'to be one. It holds: {names or "nothing"}.'
        )
    versions = getattr(found, '_metadata', {})
    tensors, versions = _without_prefix(tensors, versions, 'module.')
    if is_distiller(tensors):
        tensors = {name: tensors[name] for name in tensors if name[:8] == _STUDENT}
        tensors, versions = _without_prefix(tensors, versions, _STUDENT)
    weights = Weights(tensors)
    # Layers read their version there, to bring old weights up to date.
    weights._metadata = OrderedDict(versions)  # type: ignore[attr-defined]
    weights.source = source
    weights.classes = classes_of(checkpoint)
    return weights


def load_strictly(
    module: nn.Module,
    weights: Mapping[str, Tensor],
    where: str,
    *,
    classes: Sequence[str] | None = None,
) -> None:
    """Load weights into a model, all of them and no others.

    Values take the type of the parameters (float16 becomes float32). Batch norm's
    counter of batches, which old and exported files lack, is of no consequence.

    Args:
        module: the model.
        weights: by name, as :func:`load_weights` gives them.
        where: config key or argument, for messages.
        classes: class names the model is to have, compared where the weights tell
            theirs.

    Raises: CheckpointError that tells another architecture from other classes.
    """
    source = f"{where}: '{getattr(weights, 'source', 'the checkpoint')}'"
    adjusted = OrderedDict(weights)
    adjusted._metadata = getattr(weights, '_metadata', None)  # type: ignore[attr-defined]
    own = module.state_dict()
    for name in [*adjusted, *own]:
        if name.endswith('.num_batches_tracked'):
            if name not in own:
                del adjusted[name]
            elif name not in adjusted:
                adjusted[name] = own[name]
    try:
        module.load_state_dict(adjusted)
    except RuntimeError as error:
        message = explain_mismatch(module, adjusted, source)
        raise CheckpointError(message or f'{source}: {error}') from error
    check_classes(getattr(weights, 'classes', None), classes, source)


def check_classes(
    known: Sequence[str] | None, expected: Sequence[str] | None, source: str
) -> None:
    """Refuse weights that were trained for other classes than expected.

    Args:
        known: class names of the weights; None where nobody tells.
        expected: those of the data; likewise.
        source: config key and file, for messages.

    Raises: CheckpointError with both lists.
    """
    if known is None or expected is None or list(known) == list(expected):
        return
    raise CheckpointError(
        f'{source} was trained for other classes, or in another order: '
        f'{list(known)}, expected {list(expected)}.'
    )


def is_distiller(weights: Mapping[str, Any]) -> bool:
    """Whether weights are a distiller's: a student, and what it learns with."""
    # A semi-supervised detector of mmdet also has 'student.', but 'teacher.' beside.
    return any(name.startswith(_STUDENT) for name in weights) and all(
        name.startswith(_DISTILLER_PREFIXES) for name in weights
    )


def classes_of(checkpoint: Mapping[str, Any]) -> tuple[str, ...] | None:
    """Class names that a checkpoint says it was trained for, if it says so."""
    meta = checkpoint.get('meta') or {}
    # mmdet 2 and mmseg 0 wrote CLASSES into meta itself.
    names = (meta.get('dataset_meta') or {}).get('classes') or meta.get('CLASSES')
    if isinstance(names, str):
        return (names,)
    return tuple(str(name) for name in names) if names is not None else None


def _without_prefix(
    weights: Mapping[str, Tensor], metadata: Mapping[str, Any], prefix: str
) -> tuple[dict[str, Tensor], Mapping[str, Any]]:
    if not all(name.startswith(prefix) for name in weights):
        return dict(weights), metadata
    root = prefix[:-1]
    versions = {
        name[len(prefix) :]: value
        for name, value in metadata.items()
        if name == root or name.startswith(prefix)
    }
    return {name[len(prefix) :]: weights[name] for name in weights}, versions


def _read_pickle(file: Path) -> object:
    # Both would make torch.load take another way than our unpickler.
    if tarfile.is_tarfile(file):
        raise ValueError('a tar archive, as torch wrote them before 0.1.10')
    if zipfile.is_zipfile(file):
        with zipfile.ZipFile(file) as archive:
            if any(name.endswith('/constants.pkl') for name in archive.namelist()):
                raise ValueError('a TorchScript archive, not weights')
    return torch.load(
        file,
        map_location='cpu',
        pickle_module=sys.modules[_unpickling.__name__],
        weights_only=False,
    )


def _read_safetensors(file: Path) -> dict[str, Any]:
    from safetensors import safe_open

    with safe_open(str(file), framework='pt', device='cpu') as opened:
        header = opened.metadata() or {}
        names = opened.keys()
        weights = OrderedDict((name, opened.get_tensor(name)) for name in names)
    meta = {name: value for name, value in header.items() if name != 'dataset_meta'}
    dataset_meta = loads(header.get('dataset_meta', 'null'))
    if dataset_meta:
        meta['dataset_meta'] = dataset_meta
    return {'meta': meta, 'state_dict': weights}
