"""What the pages say is there."""

import re
from html import unescape
from pathlib import Path

import pytest

from kd_plugins.benchmark.protocol import read_protocol

ROOT = Path(__file__).parents[1]
PAGES = sorted(
    path
    for path in ROOT.rglob('*.md')
    if not any(part.startswith(('.', 'work_dirs')) for part in path.parts[1:])
)


@pytest.mark.parametrize('page', PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    # What is shown as a file's text has links of its own.
    text = re.sub(r'^(`{3,}).*?^\1$', '', page.read_text(), flags=re.M | re.S)
    links = re.findall(r'\]\(([^)#]+)\)', text)
    missing = [
        link
        for link in links
        if '://' not in link and not list(page.parent.glob(link.removesuffix('/')))
    ]
    assert missing == []


def test_commands_name_files_that_are_there() -> None:
    for page in PAGES:
        for name in re.findall(r'(?:python|bash) (tools/\w+\.\w+)', page.read_text()):
            assert (ROOT / name).is_file(), f'{page.name}: {name}'


def test_recipes_of_the_readme_are_in_the_protocol() -> None:
    text = (ROOT / 'README.md').read_text()
    protocol = read_protocol(ROOT / 'configs/benchmarks/chen2017_digits.py')
    for names in re.findall(r'--recipes ([\w -]+)`', text):
        assert set(names.split()) <= protocol.recipes.keys()


@pytest.mark.parametrize(
    'name',
    sorted(path.stem for path in ROOT.glob('configs/benchmarks/methods_*.py')),
)
@pytest.mark.parametrize('ending', ['md', 'html'])
def test_the_report_has_a_row_for_every_method(name: str, ending: str) -> None:
    protocol = read_protocol(ROOT / 'configs' / 'benchmarks' / f'{name}.py')
    text = (ROOT / 'docs' / f'benchmark.{ending}').read_text()
    assert unescape(text).count(f'configs/benchmarks/{name}.py') >= 2
    for recipe in protocol.recipes.values():
        assert recipe.title in unescape(text)
        config = recipe.config.resolve().relative_to(ROOT)
        assert str(config) in unescape(text)
