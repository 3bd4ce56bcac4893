"""What the pages say is there."""

import re
from collections.abc import Iterator
from decimal import ROUND_HALF_UP, Decimal
from html import unescape
from pathlib import Path

import pytest

from kd_plugins import losses
from kd_plugins.benchmark.protocol import read_protocol
from kd_plugins.registry import LOSSES

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


def test_the_readme_fits_on_a_few_screens() -> None:
    assert len((ROOT / 'README.md').read_text().splitlines()) <= 160


def rows(text: str) -> Iterator[list[str]]:
    """Cells of the rows of all tables in Markdown."""
    for line in text.splitlines():
        if line.startswith('|'):
            yield [cell.strip() for cell in line.strip('|').split('|')]


def rounded(text: str) -> list[str]:
    """Numbers of a gain or score, to the tenth."""
    numbers = re.findall(r'[+-]?\d+\.\d+', text)
    tenth = Decimal('0.1')
    return [str(Decimal(each).quantize(tenth, ROUND_HALF_UP)) for each in numbers]


def report_rows() -> dict[str, list[str]]:
    """For each config of the report: its gain, score and step, as they stand there."""
    found = {}
    text = (ROOT / 'docs' / 'benchmark.md').read_text()
    for section in text.split('\n## ')[1:]:
        methods = section.split('### ')[0]
        figures = {row[0]: row for row in rows(methods)}
        for row in rows(section):
            if len(row) > 1 and row[1].startswith('configs/'):
                title = rf'{re.escape(row[0])}( [\w-]+)?'  # and the recipe's name
                (name,) = {each for each in figures if re.fullmatch(title, each)}
                found[row[1].split()[0]] = figures[name]
    return found


def test_figures_of_the_readme_are_those_of_the_report() -> None:
    report, checked = report_rows(), 0
    for row in rows((ROOT / 'README.md').read_text()):
        configs = re.findall(r'\]\((configs/[^)]+\.py)\)', ' '.join(row))
        if not configs or 'not run yet' in ' '.join(row):
            continue
        (config,) = configs
        shown = re.sub(r'\([^)]*\)', '', ' '.join(row[-3:-1]))
        gain, score, step = (report[config][number] for number in (1, 2, 4))
        if len(row) == 6:  # of the methods: the gain alone
            shown = re.sub(r'\([^)]*\)', '', row[-2])
            assert rounded(shown) == rounded(gain), config
        else:
            assert rounded(shown) == [*rounded(score), *rounded(gain)], config
        assert row[-1] == step.removesuffix('x'), config
        checked += 1
    assert checked > 40


def test_the_readme_has_every_loss() -> None:
    text = (ROOT / 'README.md').read_text()
    missing = {name for name in losses.__all__ if name in LOSSES and name not in text}
    assert missing == {'BoxIoULoss'}  # of boxes beside CrossKDLoss


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
