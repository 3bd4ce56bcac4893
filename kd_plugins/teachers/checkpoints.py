"""From a checkpoint that was read to the weights of one model, and into it.

``load_weights`` gives one model's weights out of a file, ``load_strictly`` puts them
into a model or says in what way they do not fit.
"""

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mmengine.logging import print_log
from torch import Tensor, nn

from ..checkpoints import read_checkpoint, state_dict_of
from ..errors import CheckpointError, located, nearest
from ._mismatch import explain_mismatch

_TEACHER = 'model.teacher'
_KEY = f'{_TEACHER}.checkpoint'
_STUDENT = 'student.'
_PEERS = 'peers.'
_OF_MMRAZOR = 'architecture.'
_DISTILLER_PREFIXES = (_STUDENT, 'adapters.', 'losses.')


class Weights(OrderedDict[str, Tensor]):
    """Weights of one model by name, and where they come from.

    Attributes:
        source: the file, for messages.
        classes: class names they were trained for, where the file tells.
    """

    source: str = 'the checkpoint'
    classes: tuple[str, ...] | None = None


def load_weights(
    path: str | Path, *, key: str = _KEY, prefix: str | None = None
) -> Weights:
    """The weights of one model in a checkpoint file; see :func:`weights_of`."""
    with located(key):
        content = read_checkpoint(path)
    return weights_of(content, source=str(path), key=key, prefix=prefix)


def weights_of(
    checkpoint: Mapping[str, Any],
    *,
    source: str = 'the checkpoint',
    key: str = _KEY,
    prefix: str | None = None,
) -> Weights:
    """The weights of the plain model in a checkpoint that was read.

    From a training checkpoint its ``state_dict`` (EMA weights already, where the host's
    EMAHook ran); from a distiller's the student's alone, under the plain model's names;
    from MMRazor's what stands under 'architecture.', the model that it trained. The
    second copy of each weight that mmdet 2 kept under ``ema_*`` is left out.

    Args:
        checkpoint: as :func:`read_checkpoint` gives it.
        source: its file, for messages.
        key: the config key or argument that named it, for messages.
        prefix: of the entries that are meant, in a file of several models, such as
            'teacher.'; None to find them as above.

    Raises: CheckpointError if there are none.
    """
    with located(key):
        state = state_dict_of(checkpoint, source)
    versions = getattr(state, '_metadata', {})
    tensors = _without_second_copies(state, source)
    if all(name.startswith('module.') for name in tensors):
        tensors, versions = _under('module.', tensors, versions)
    if prefix is not None:
        prefix = f'{prefix.removesuffix(".")}.'
        if not any(name.startswith(prefix) for name in tensors):
            prefixes = [f'{name.partition(".")[0]}.' for name in tensors]
            raise CheckpointError(
                f"'{source}' has no entries that begin with '{prefix}' "
                f'(checkpoint_prefix). {nearest(prefix, prefixes)}',
                key,
            )
    elif is_distiller(tensors):
        prefix = _STUDENT
    elif peers := peers_in(tensors):
        raise CheckpointError(
            f"'{source}' holds models that learned together: {', '.join(peers)}. Use "
            'the student_*.pth beside it, export one (tools/export_student.py --peer '
            f"{peers[0]}), or set checkpoint_prefix='{peer_prefix(peers[0])[:-1]}'.",
            key,
        )
    elif any(name.startswith(_OF_MMRAZOR) for name in tensors):
        prefix = _OF_MMRAZOR
        print_log(
            f"'{source}' was written by MMRazor: loaded is what is under '{prefix}', "
            'the model that it trained. A teacher may choose another part of it by '
            'checkpoint_prefix.',
            'current',
        )
    if prefix is not None:
        tensors, versions = _under(prefix, tensors, versions)
    weights = Weights(tensors)
    # Layers read their version there, to bring old weights up to date.
    weights._metadata = OrderedDict(versions)  # type: ignore[attr-defined]
    weights.source = source
    weights.classes = classes_of(checkpoint)
    return weights


def load_strictly(
    module: nn.Module,
    weights: Mapping[str, Tensor],
    key: str,
    *,
    classes: Sequence[str] | None = None,
) -> None:
    """Load weights into a model, all of them and no others.

    Values take the type of the parameters (float16 becomes float32). Batch norm's
    counter of batches, which old and exported files lack, is of no consequence.

    Args:
        module: the model.
        weights: by name, as :func:`load_weights` gives them.
        key: config key or argument, for messages.
        classes: class names the model is to have, compared where the weights tell
            theirs.

    Raises: CheckpointError that tells another architecture from other classes.
    """
    source = _source_of(weights, key)
    adjusted = _adjusted(module, weights)
    try:
        module.load_state_dict(adjusted)
    except RuntimeError as error:
        message = explain_mismatch(module, adjusted, source, _owner_of(key))
        raise CheckpointError(message or f'{source}: {error}') from error
    check_classes(getattr(weights, 'classes', None), classes, source)


def check_fits(
    module: nn.Module,
    weights: Mapping[str, Tensor],
    key: str,
    *,
    classes: Sequence[str] | None = None,
) -> None:
    """Refuse weights as :func:`load_strictly` would, but load nothing."""
    source = _source_of(weights, key)
    adjusted = _adjusted(module, weights)
    if message := explain_mismatch(module, adjusted, source, _owner_of(key)):
        raise CheckpointError(message)
    check_classes(getattr(weights, 'classes', None), classes, source)


def _source_of(weights: Mapping[str, Tensor], key: str) -> str:
    return f"{key}: '{getattr(weights, 'source', 'the checkpoint')}'"


def _owner_of(key: str) -> str:
    """Of a teacher, and of one of several: the key of what is merged into its model."""
    return key.partition('.checkpoint')[0] if key.startswith(_TEACHER) else ''


def _adjusted(
    module: nn.Module, weights: Mapping[str, Tensor]
) -> OrderedDict[str, Any]:
    """The weights with the module's counters of batches, no more and no fewer."""
    adjusted: OrderedDict[str, Any] = OrderedDict(weights)
    adjusted._metadata = getattr(weights, '_metadata', None)  # type: ignore[attr-defined]
    expected = module.state_dict()
    for name in [*adjusted, *expected]:
        if name.endswith('.num_batches_tracked'):
            if name not in expected:
                del adjusted[name]
            elif name not in adjusted:
                adjusted[name] = expected[name]
    return adjusted


def check_classes(
    known: Sequence[str] | None, expected: Sequence[str] | None, source: str
) -> None:
    """Refuse weights that were trained for other classes than expected.

    Args:
        known: class names of the weights; None where it is not known.
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


def peers_in(weights: Mapping[str, Any]) -> list[str]:
    """Names of the models that learned together, where weights are those of peers."""
    if not weights or not all(name.startswith(_PEERS) for name in weights):
        return []
    return list(dict.fromkeys(name.split('.')[1] for name in weights))


def peer_prefix(peer: str) -> str:
    """Where in such weights the model of a peer lies."""
    return f'{_PEERS}{peer}.{_STUDENT}'


def classes_of(checkpoint: Mapping[str, Any]) -> tuple[str, ...] | None:
    """Class names that a checkpoint says it was trained for, if it says so."""
    meta = checkpoint.get('meta') or {}
    # mmdet 2 and mmseg 0 wrote CLASSES into meta itself.
    names = (meta.get('dataset_meta') or {}).get('classes') or meta.get('CLASSES')
    if isinstance(names, str):
        return (names,)
    return tuple(str(name) for name in names) if names is not None else None


def _under(
    prefix: str, weights: Mapping[str, Tensor], metadata: Mapping[str, Any]
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Entries that begin with a prefix, and versions of their modules, without it."""
    root = prefix.removesuffix('.')
    versions = {
        name[len(prefix) :]: value
        for name, value in metadata.items()
        if name == root or name.startswith(prefix)
    }
    return {
        name[len(prefix) :]: value
        for name, value in weights.items()
        if name.startswith(prefix)
    }, versions


def _without_second_copies(
    weights: Mapping[str, Tensor], source: str
) -> dict[str, Tensor]:
    """Leave out ``ema_*``, buffers in which mmcv 1 and mmdet 2 kept second copies."""
    copies = {f'ema_{name.replace(".", "_")}' for name in weights}
    kept = {name: value for name, value in weights.items() if name not in copies}
    if len(kept) < len(weights):
        print_log(
            f"'{source}' holds {len(weights) - len(kept)} second copies of weights, "
            "under 'ema_': left out; the weights under the plain names are loaded.",
            'current',
        )
    return kept
