"""The house: which folder may use which, and who may look into a distiller."""

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

PACKAGE = Path(__file__).parents[1] / 'kd_plugins'
# From the top: a folder uses only those below it.
FOLDERS = (
    'apis',
    'benchmark',
    'deployment',
    'engine',
    'visualization',
    'evaluation',
    'models',
    'compression',
    'distillers',
    'views',
    'teachers',
    'combinations',
    'switches',
    'target_transforms',
    'losses',
    'adapters',
    'recorders',
    'schedules',
    'quantizers',
    'datasets',
    'hosts',
)
TORCH_ALONE = (
    *('combinations', 'losses', 'switches', 'target_transforms'),
    *('adapters', 'quantizers', 'recorders', 'schedules'),
    'checkpoints',
)
MODULES = sorted(
    path
    for path in PACKAGE.rglob('*.py')
    if '.mim' not in path.relative_to(PACKAGE).parts
)


def name_of(path: Path) -> str:
    parts = path.relative_to(PACKAGE.parent).with_suffix('').parts
    return '.'.join(parts[:-1] if parts[-1] == '__init__' else parts)


NAMES = {name_of(path) for path in MODULES}


def _imports(path: Path, lazily: bool) -> Iterator[str]:
    """Modules of ours that a module imports; those inside functions if ``lazily``."""
    package = name_of(path).split('.')
    if path.name != '__init__.py':
        package = package[:-1]
    tree = ast.parse(path.read_text())
    skipped = {
        node
        for outer in ast.walk(tree)
        if isinstance(outer, ast.FunctionDef) and not lazily
        for node in ast.walk(outer)
    }
    for node in ast.walk(tree):
        if node in skipped or not isinstance(node, ast.ImportFrom):
            continue
        base = package[: len(package) - node.level + 1] if node.level else []
        source = '.'.join([*base, *([node.module] if node.module else [])])
        if not source.startswith('kd_plugins'):
            continue
        for alias in node.names:
            inner = f'{source}.{alias.name}'
            yield inner if inner in NAMES else source


@cache
def imports(path: Path, lazily: bool) -> tuple[str, ...]:
    """The same, once for all that ask."""
    return tuple(_imports(path, lazily))


def folder_of(module: str) -> str:
    return module.split('.')[1] if '.' in module else ''


def test_no_import_leads_up() -> None:
    up = [
        f'{name_of(path)} imports {module}'
        for path in MODULES
        for module in imports(path, lazily=True)
        if folder_of(name_of(path)) in FOLDERS
        and folder_of(module) in FOLDERS
        and FOLDERS.index(folder_of(module)) < FOLDERS.index(folder_of(name_of(path)))
    ]
    assert up == []


def test_every_folder_has_its_floor() -> None:
    folders = {path.parent.relative_to(PACKAGE).parts[:1] for path in MODULES} - {()}
    assert {name for (name,) in folders} == {*FOLDERS, 'checkpoints'}


def test_what_needs_torch_alone_uses_nothing_else() -> None:
    above = [
        f'{name_of(path)} imports {module}'
        for path in MODULES
        for module in imports(path, lazily=True)
        if folder_of(name_of(path)) in TORCH_ALONE
        and folder_of(module) in {*FOLDERS} - {*TORCH_ALONE}
    ]
    assert above == []


def test_no_two_modules_import_each_other() -> None:
    graph = {name_of(path): set(imports(path, lazily=False)) for path in MODULES}
    done: set[str] = set()

    def visit(module: str, above: tuple[str, ...]) -> None:
        assert module not in above, ' -> '.join([*above, module])
        if module in done:
            return
        for other in sorted(graph.get(module, ())):
            # A package's ``__init__`` lists exports: it is no part of a cycle that
            # one of its own modules closes by a deeper name.
            if not module.startswith(f'{other}.'):
                visit(other, (*above, module))
        done.add(module)

    for module in sorted(graph):
        visit(module, ())


def test_nobody_reaches_into_a_distiller() -> None:
    private = {
        name
        for source in (PACKAGE / 'distillers').glob('*.py')
        for name in re.findall(r'self\.(_[a-z]\w*)', source.read_text())
    }
    used = [
        f'{name_of(path)}: {owner}.{name}'
        for path in MODULES
        if folder_of(name_of(path)) != 'distillers'
        for owner, name in re.findall(
            r'\b(\w*(?:distiller|pair|step)\w*)\.(_[a-z]\w*)', path.read_text()
        )
        if name in private
    ]
    assert used == []
