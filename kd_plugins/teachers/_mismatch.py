"""How weights misfit a model: by a prefix, other classes, another architecture."""

from collections.abc import Iterable, Mapping

from torch import Size, Tensor, nn


def explain_mismatch(
    module: nn.Module, weights: Mapping[str, Tensor], source: str, owner: str = ''
) -> str:
    """What differs between a model and weights that it refused, and what to change.

    Args:
        module: the model.
        weights: what it was to load.
        source: where they come from, beginning of the message.
        owner: configuration key of the model, such as 'model.teacher'; '' where its
            config is a file of its own.

    Returns: the message; empty if names and shapes agree.
    """
    expected = {name: value.shape for name, value in module.state_dict().items()}
    missing = [name for name in expected if name not in weights]
    unexpected = [name for name in weights if name not in expected]
    reshaped = {
        name: (weights[name].shape, expected[name])
        for name in expected
        if name in weights and weights[name].shape != expected[name]
    }
    if not (missing or unexpected or reshaped):
        return ''
    shapes = [f"'{name}' {_shapes(*pair)}" for name, pair in reshaped.items()]
    if reshaped and not (missing or unexpected):
        classes, keys = _classes_of_both(module, reshaped)
        if classes:
            key = ' and '.join(f'{owner}.{key}' if owner else key for key in keys)
            place = '' if owner else ' in its config'
            return (
                f'{source} has {classes[0]} classes, the model {classes[1]} '
                f'({_few(shapes)}). Set {key}={classes[0]}{place}, or give a '
                f'checkpoint trained for {classes[1]} classes.'
            )
    prefixes = _prefixes(expected, weights)
    if prefixes:
        shown = ' and '.join(f"'{prefix}'" for prefix in prefixes)
        ways = ' or '.join(f"checkpoint_prefix='{prefix}'" for prefix in prefixes)
        return (
            f'{source} holds this {type(module).__name__} under {shown}, not under its '
            f'own names. Beside the checkpoint of a teacher set {ways}. For any other '
            'use save that part in a file of its own.'
        )
    parts = [
        f'{len(items)} {kind} ({_few(items)})'
        for items, kind in (
            ([f"'{name}'" for name in missing], 'missing'),
            ([f"'{name}'" for name in unexpected], 'unexpected'),
            (shapes, 'of another shape'),
        )
        if items
    ]
    return (
        f'{source} is of another architecture than the {type(module).__name__} of the '
        f'config. Of its {len(weights)} entries, where {len(expected)} are expected: '
        f'{"; ".join(parts)}. Give the config that this checkpoint was trained with, '
        'or a checkpoint of this config.'
    )


def _prefixes(expected: Iterable[str], weights: Iterable[str]) -> list[str]:
    """What stands in front of all names of the model, in a file of several models."""
    counted = [name for name in expected if not name.endswith('.num_batches_tracked')]
    names = set(weights)
    prefixes = [
        name.removesuffix(first)
        for first in counted[:1]
        for name in weights
        if name.endswith(f'.{first}')
    ]
    return [
        prefix for prefix in prefixes if all(prefix + name in names for name in counted)
    ]


def _classes_of_both(
    module: nn.Module, reshaped: Mapping[str, tuple[Size, Size]]
) -> tuple[tuple[int, int] | None, list[str]]:
    """Numbers of classes of weights and model, if these alone explain the shapes.

    With the keys of a model's config that say them.
    """
    common: set[tuple[int, int]] | None = None
    keys: list[str] = []
    for name, (actual, wanted) in reshaped.items():
        owner = _owner_of_classes(module, name)
        if owner is None or not wanted or actual[1:] != wanted[1:]:
            return None, []
        path, classes = owner
        keys.append(f'{path}.num_classes' if path else 'num_classes')
        numbers = {
            (number, classes) for number in _numbers(actual[0], wanted[0], classes)
        }
        common = numbers if common is None else common & numbers
    if not common:
        return None, []
    return max(common), list(dict.fromkeys(keys))


def _numbers(height: int, wanted: int, classes: int) -> Iterable[int]:
    """Numbers of classes that would make a layer ``height`` rows high."""
    if wanted == classes + 1:  # with a background
        yield height - 1
    rows, remainder = divmod(wanted, classes)
    if rows and not remainder and height % rows == 0:  # rows for each class
        yield height // rows


def _owner_of_classes(module: nn.Module, name: str) -> tuple[str, int] | None:
    """The nearest module around a parameter that knows a number of classes."""
    path = name
    while '.' in path:
        path = path.rpartition('.')[0]
        number = getattr(module.get_submodule(path), 'num_classes', None)
        if isinstance(number, int) and number > 0:
            return path, number
    return None


def _shapes(actual: Size, wanted: Size) -> str:
    return f'{tuple(actual)} instead of {tuple(wanted)}'


def _few(items: list[str], limit: int = 3) -> str:
    more = len(items) - limit
    return ', '.join(items[:limit]) + (f', and {more} more' if more > 0 else '')
