"""What a stage takes from an earlier one: ``'{assistant.best}'`` in its config."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mmengine.config import Config

from ...errors import ConfigError, nearest

OUTPUTS = ('best', 'student', 'checkpoint', 'checkpoints', 'config', 'work_dir')
_REFERENCE = re.compile(r'\{(\w+)\.([^{}]*)\}')
_OUTPUT = re.compile(r'(\w+)(?:\[(-?\d+)\])?')


@dataclass(frozen=True)
class Reference:
    """One place in a config that takes what an earlier stage leaves.

    Attributes:
        key: dotted, of the place.
        text: as it is written, in braces.
        stage: the earlier one.
        output: of ``OUTPUTS``.
        index: of one of ``checkpoints``; None otherwise.
    """

    key: str
    text: str
    stage: str
    output: str
    index: int | None = None


def find_references(content: object, key: str = '') -> Iterator[Reference]:
    """All references in a config, or in a part of it.

    Args:
        content: dicts, lists and text.
        key: dotted, of this part.

    Raises: ConfigError for an output that there is not; for an index, or text around
        it, where there cannot be one.
    """
    if isinstance(content, Mapping):
        for name, value in content.items():
            yield from find_references(value, f'{key}.{name}' if key else str(name))
    elif isinstance(content, (list, tuple)):
        for number, value in enumerate(content):
            yield from find_references(value, f'{key}.{number}')
    elif isinstance(content, str):
        for match in _REFERENCE.finditer(content):
            yield _reference(key, match, content)


def _reference(key: str, match: re.Match[str], content: str) -> Reference:
    text, stage = match[0], match[1]
    parts = _OUTPUT.fullmatch(match[2])
    name = parts[1] if parts else match[2]
    if parts is None or name not in OUTPUTS:
        raise ConfigError(
            f"'{text}': a stage leaves no '{name}'. {nearest(name, OUTPUTS)}", key
        )
    index = None if parts[2] is None else int(parts[2])
    if index is not None and name != 'checkpoints':
        raise ConfigError(
            f"'{text}': '{name}' is one, only 'checkpoints' has an index. Write "
            f"'{{{stage}.{name}}}'.",
            key,
        )
    if index is None and name == 'checkpoints' and text != content:
        raise ConfigError(
            f"'{content}': '{text}' is a list of files, with text around it. Write "
            f"one of them, as '{{{stage}.checkpoints[0]}}'.",
            key,
        )
    return Reference(key, text, stage, name, index)


def check_order(
    reference: Reference, name: str, before: Sequence[str], names: Sequence[str]
) -> None:
    """Refuse a reference to what is no earlier stage.

    Args:
        reference: of a stage.
        name: of this stage.
        before: names of the earlier ones.
        names: of all.

    Raises: ConfigError.
    """
    stage, text, key = reference.stage, reference.text, reference.key
    if stage in before:
        return
    earlier = f'Those before it: {", ".join(before)}.' if before else 'It is the first.'
    if stage == name:
        raise ConfigError(
            f"'{text}' is of this stage itself, which takes from those before it. "
            f'{earlier}',
            key,
        )
    if stage in names:
        raise ConfigError(
            f"'{text}' is of a stage that comes later; a stage takes from those before "
            f'it. {earlier}',
            key,
        )
    raise ConfigError(
        f"'{text}': there is no stage '{stage}'. {nearest(stage, names)}", key
    )


def put_in(cfg: Config, values: Mapping[str, Any]) -> None:
    """Replace references by what they stand for.

    Args:
        cfg: a config, changed in place.
        values: by the references' text: paths, or lists of them.
    """
    for key in list(cfg.keys()):
        found = any(find_references(cfg.get(key)))
        if found:
            cfg[key] = _replaced(cfg[key], values)


def _replaced(content: Any, values: Mapping[str, Any]) -> Any:
    if isinstance(content, Mapping):
        for key, value in content.items():
            content[key] = _replaced(value, values)  # type: ignore[index]
        return content
    if isinstance(content, (list, tuple)):
        return type(content)(_replaced(value, values) for value in content)
    if not isinstance(content, str):
        return content
    if content in values:
        return values[content]
    return _REFERENCE.sub(lambda match: values.get(match[0], match[0]), content)
