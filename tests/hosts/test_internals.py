"""What the package relies on without a promise is there, and listed."""

import ast
import inspect
import re
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torchvision  # noqa: F401  (registers the operators below torch.ops)
from torch import nn

from kd_plugins.hosts.internals import INTERNALS, Internal
from kd_plugins.hosts.packages import check_packages

PACKAGE = Path(__file__).parents[2] / 'kd_plugins'
FOREIGN = ('mmengine', 'mmcv', 'mmdet', 'mmseg', 'torch', 'torchvision')
# Calls whose second argument is a name on their first.
BY_NAME = ('getattr', 'hasattr', 'setattr', 'delattr', 'record_method', '_first')
# Of named tuples, where Python itself documents it.
DOCUMENTED = {'_replace', '_fields', '_asdict'}

each = pytest.mark.parametrize('internal', INTERNALS, ids=lambda one: one.name)


def owner_of(name: str) -> tuple[Any, str]:
    """What holds the last part of a dotted name, and that part."""
    parts = name.split('.')
    for cut in range(len(parts) - 1, 0, -1):
        try:
            owner: Any = import_module('.'.join(parts[:cut]))
        except ModuleNotFoundError:
            continue
        for part in parts[cut:-1]:
            owner = getattr(owner, part)
        return owner, parts[-1]
    raise AssertionError(f'no module in {name}')


def is_there(name: str) -> bool:
    """Whether a name exists; that of an instance, in the sources of its class."""
    owner, last = owner_of(name)
    if hasattr(owner, last) or name in sys.modules:
        return True
    if isinstance(owner, ModuleType):
        return False
    if not inspect.isclass(owner):  # of what a function returns
        return hasattr(owner(nn.BatchNorm2d(1)), last)
    sources = (
        inspect.getsource(kind)
        for kind in owner.__mro__
        if kind.__module__.split('.')[0] in FOREIGN
    )
    # Assigned in its methods, annotated in its body, or set past its `__setattr__`.
    made = rf'self\.{last}(: .*)? = |^    {last}: |__setattr__\(.{last}.,'
    return any(re.search(made, text, re.MULTILINE) for text in sources)


@pytest.mark.host
@each
def test_it_is_there(internal: Internal) -> None:
    if internal.family not in (None, check_packages().name):
        assert not is_there(internal.name), f'both families have it: {internal.name}'
        return
    assert is_there(internal.name), internal.without


@pytest.mark.host
@each
def test_its_arguments_are_those_that_are_counted_on(internal: Internal) -> None:
    if not internal.arguments or internal.family not in (None, check_packages().name):
        return
    owner, last = owner_of(internal.name)
    names = [*inspect.signature(getattr(owner, last)).parameters]
    names = [name for name in names if name != 'self']
    counted = names[: len(internal.arguments)]
    assert counted == list(internal.arguments), internal.without


@each
def test_it_is_used_where_the_list_says(internal: Internal) -> None:
    last = internal.name.rpartition('.')[2]
    for file in internal.used_in:
        assert re.search(rf'\b{last}\b', (PACKAGE / file).read_text()), file


@each
def test_the_list_says_what_breaks(internal: Internal) -> None:
    assert internal.without.endswith('.')
    assert internal.used_in


def sources() -> Iterator[tuple[str, ast.Module]]:
    for file in sorted(PACKAGE.rglob('*.py')):
        if '.mim' not in file.parts and file.name != 'internals.py':
            yield str(file.relative_to(PACKAGE)), ast.parse(file.read_text())


def is_private(name: str) -> bool:
    return bool(re.match('_[a-z]', name)) and not name.endswith('_')


def defined(tree: ast.Module) -> Iterator[str]:
    """Names that a file makes: functions, classes, variables, attributes of a self."""
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            yield node.name
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id
        if isinstance(node, ast.FunctionDef) and node.name == '__init__':
            yield from set_on_self(node)


def set_on_self(method: ast.FunctionDef) -> Iterator[str]:
    for node in ast.walk(method):
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            value = node.value
            if isinstance(value, ast.Name) and value.id == 'self':
                yield node.attr


def called(node: ast.Call) -> str:
    """What is called, where that is a name."""
    return node.func.id if isinstance(node.func, ast.Name) else ''


def used(tree: ast.Module) -> Iterator[tuple[str, bool]]:
    """Names that a file reads or replaces; and whether they are foreign for sure."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and is_private(node.attr):
            value = node.value
            call = value.func if isinstance(value, ast.Call) else None
            yield node.attr, isinstance(call, ast.Name) and call.id == 'super'
        elif isinstance(node, ast.ImportFrom):
            foreign = (node.module or '').split('.')[0] in FOREIGN
            for name in node.names:
                if foreign and not node.level and is_private(name.name):
                    yield name.name, True
        elif isinstance(node, ast.Call) and (name := called(node)) in BY_NAME:
            for argument in node.args[1:]:
                value = getattr(argument, 'value', None)
                recorded = name == 'record_method'
                if isinstance(value, str) and (recorded or is_private(value)):
                    yield value, False


def unlisted(trees: list[tuple[str, ast.Module]]) -> set[str]:
    """'file: name' of what is used, made by no file of the package, and not listed."""
    listed = {part for internal in INTERNALS for part in internal.name.split('.')}
    ours = {name for _, tree in trees for name in defined(tree)}
    return {
        f'{file}: {name}'
        for file, tree in trees
        for name, foreign in used(tree)
        if name not in listed | DOCUMENTED and (foreign or name not in ours)
    }


def test_no_private_name_is_used_that_is_not_listed() -> None:
    assert unlisted(list(sources())) == set()


@pytest.mark.parametrize(
    'line',
    [
        'runner._hidden',
        'super()._known()',
        "getattr(head, '_hidden')",
        "record_method(head, 'loss_hidden', print)",
        'from mmengine.config.utils import _hidden',
        'def f(runner): runner._hidden = 1',
    ],
)
def test_a_line_that_would_be_found(line: str) -> None:
    ours = ('ours.py', ast.parse('def _known(): ...\nself._made = 1'))
    assert unlisted([ours, ('new.py', ast.parse(line))]) != set()


def test_names_of_our_own_are_not_found() -> None:
    code = """
class Pair:
    _count = 0
    def __init__(self): self._view = 1
    def _check(self): return self._view, self._count, self._check
"""
    assert unlisted([('ours.py', ast.parse(code))]) == set()


@pytest.mark.host
def test_methods_that_we_override_are_listed() -> None:
    listed = {internal.name.rpartition('.')[2] for internal in INTERNALS}
    for file, tree in sources():
        if not any(isinstance(node, ast.ClassDef) for node in tree.body):
            continue
        module = import_module('kd_plugins.' + file[:-3].replace('/', '.'))
        for kind in vars(module).values():
            if not inspect.isclass(kind) or kind.__module__ != module.__name__:
                continue
            inherited = {
                name
                for parent in kind.__mro__[1:]
                if parent.__module__.split('.')[0] in FOREIGN[:4]
                for name in vars(parent)
            }
            overridden = {name for name in vars(kind) if is_private(name)} & inherited
            assert overridden - {'_abc_impl'} <= listed, f'{file}: {overridden}'
