"""The page of a report: its figures are those of the runs, and no others."""

import itertools
import json
import os
import re
import runpy
import shutil
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace

import pytest

from kd_plugins.benchmark.main import benchmark, report_pages
from kd_plugins.benchmark.plan import key_of, plan_runs, teacher_run
from kd_plugins.benchmark.plots import svg
from kd_plugins.benchmark.protocol import read_protocol
from kd_plugins.benchmark.statistics import Gain
from kd_plugins.errors import ConfigError

from .conftest import fake_commands, write_protocol

ROOT = Path(__file__).parents[2]
PIXEL = bytes.fromhex(
    '89504e470d0a1a0a0000000d49484452000000010000000108060000001f15c489'
    '0000000d49444154789c6360000000000400015dcb2dcb0000000049454e44ae426082'
)


class Reader(HTMLParser):
    """Tables of a page as lists of rows, and all text, tags and attributes."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tables: dict[str, list[list[str]]] = {}
        self.attributes: list[tuple[str, str, str]] = []
        self.open: list[str] = []
        self.text = ''
        self._table: list[list[str]] | None = None
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.attributes += [(tag, name, value or '') for name, value in attrs]
        if tag not in ('meta', 'link', 'img', 'line', 'rect', 'circle'):
            self.open.append(tag)
        if tag == 'table':
            self._table = self.tables.setdefault(dict(attrs)['id'], [])
        elif tag == 'tr' and self._table is not None:
            self._table.append([])
        elif tag in ('td', 'th') and self._table is not None:
            self._table[-1].append('')

    def handle_endtag(self, tag):
        if tag not in ('line', 'rect', 'circle'):
            assert self.open.pop() == tag
        if tag == 'table':
            self._table = None

    def handle_data(self, data):
        self.text += data
        if self._table and {'td', 'th'} & set(self.open[-4:]):
            self._table[-1][-1] += data


@pytest.fixture(scope='module')
def finished(tmp_path_factory) -> Path:
    """'hint' in two pieces with three seeds, 'plain' with one, 'later' not yet."""
    folder = write_protocol(tmp_path_factory.mktemp('finished'))
    path = folder / 'protocol.py'
    text = path.read_text().replace(
        "dict(config='plain.py')",
        "dict(config='plain.py', seeds=[1], method='A <plain> one', note='why & how'),"
        "\n    'later': dict(config='later.py')",
    )
    path.write_text(text + "fidelity = dict(pixels=64)\ntitle = 'Boxes'\n")
    hint = (folder / 'hint.py').read_text()
    (folder / 'hint.py').write_text(hint.replace('FasterRCNN', 'kd_plugins.Distiller'))
    (folder / 'later.py').write_text(hint)
    protocol = read_protocol(path)
    work = folder / 'work'
    benchmark(protocol, work, fake_commands(), recipes=['hint'], seeds=[1])
    benchmark(protocol, work, fake_commands(), recipes=['hint', 'plain'])
    return folder


@pytest.fixture
def pieces(finished: Path, tmp_path: Path) -> Path:
    """A copy of it, to be changed."""
    folder = shutil.copytree(finished, tmp_path / 'copy')
    # The key of the teacher's test holds the path of its weights, which is another.
    teacher = teacher_run(read_protocol(folder / 'protocol.py'), folder / 'work')
    assert teacher is not None
    change_score(folder, 'teacher', key=teacher.key)
    return folder


def change_score(folder: Path, run: str, **values: object) -> None:
    path = folder / 'work' / run / 'result.json'
    result = json.loads(path.read_text())
    result.update(values)
    path.write_text(json.dumps(result))


def pages(folder: Path) -> tuple[Reader, str]:
    protocol = read_protocol(folder / 'protocol.py')
    page, markdown = report_pages([protocol], [folder / 'work'], folder / 'out' / 'all')
    return Reader(page.read_text()), markdown.read_text()


def rows(reader: Reader, table: str = 'protocol-methods') -> dict[str, list[str]]:
    found = [[' '.join(cell.split()) for cell in row] for row in reader.tables[table]]
    return {row[0]: row[1:] for row in found}


def test_pieces_give_one_page_with_all_rows(pieces):
    change_score(pieces, 'hint/seed0', score=0.27)  # gains 7, 4, 4
    page, markdown = pages(pieces)
    table = rows(page)
    assert list(table) == ['method', 'hint', 'A <plain> one plain', 'baseline', 'later']
    titles = ['gain', 'mAP', 'gap closed', 'time', 'memory', 'agrees', 'KL']
    assert table['method'] == [*titles, 'seeds', 'start']
    # t(0.975, 2) = 4.3027 times sqrt(3) / sqrt(3), around 5.
    assert table['hint'][0] == '+5.00 [+0.70, +9.30]'
    assert table['hint'][1] == '26.00 ± 1.00'
    assert table['hint'][2] == '17 %'  # 5 of the 29 to the teacher's 50
    assert table['hint'][3] == '1.40x'
    # Of the metrics: agreement 0.5 + score, KL half of it, seeds 0.24, 0.25, 0.26.
    assert table['hint'][5:] == ['0.750', '0.125', '0, 1, 2', 'same']
    plain = table['A <plain> one plain']
    assert plain[:3] == ['+2.00 (one seed)', '23.00', '7 %']  # 2 of 50 - 21
    assert plain[5:] == ['—', '—', '1', 'same']
    assert table['baseline'][0] == 'baseline'
    later = ['not run yet', *[''] * 4, '—', '—', '0, 1, 2', '']
    assert table['later'] == later
    for text in ('+5.00 [+0.70, +9.30]', '+2.00 (one seed)', 'not run yet', '0.750'):
        assert text in markdown
    story = (
        'The baseline, baseline, scores 21.00 mAP, the teacher 50.00: a gap of 29.00. '
        '2 of 3 methods run, 1 of them with one seed only. '
        'Of the 1 with an interval, it lies above zero for 1: hint. '
        'It lies below zero for none. '
        'Expected, and seen: hint > A <plain> one, +2.00 in 1 of 1 seeds.'
    )
    assert story in page.text and story in markdown
    assert '7 of 10 finished' in page.text


def test_steps_that_were_timed_are_the_cost(pieces):
    """Of all methods that have run, at their present configs; or of none."""
    protocol = read_protocol(pieces / 'protocol.py')
    keys = {
        name: key_of(recipe.written, recipe.options)
        for name, recipe in protocol.recipes.items()
    }
    found = [
        {'recipe': 'hint', 'key': keys['hint'], 'step_ratio': 1.234},
        {'recipe': 'plain', 'key': keys['plain'], 'step_ratio': 0.987},
    ]
    path = pieces / 'work' / 'cost.json'
    machine = {'processor': 'abacus', 'cores': 2, 'device': 'CPU'}
    measured = {'machine': machine, 'versions': {'torch': '2'}, 'threads': 3}
    path.write_text(json.dumps({**measured, 'recipes': found}))
    change_score(pieces, 'hint/seed2', jobs=7)  # of no consequence, then
    page, markdown = pages(pieces)
    assert 'side by side: times are not comparable' not in markdown
    names = ('hint', 'A <plain> one plain', 'baseline')
    assert [rows(page)[name][3] for name in names] == ['1.23x', '0.99x', '1.00x']
    assert "at 1.23 times the student's step" in page.text
    line = '- Time: of steps, measured in turn (3 threads; abacus, 2 cores; torch 2)'
    assert line in markdown
    found[1]['key'] = 'of another config'
    path.write_text(json.dumps({**measured, 'recipes': found}))
    page, markdown = pages(pieces)
    assert rows(page)['hint'][3] == '1.40x'
    assert '- Time: of whole trainings' in markdown
    assert 'side by side: times are not comparable' in markdown
    assert '--cost has not measured the present config of: plain.' in markdown


def test_a_row_is_compared_with_the_baseline_of_its_own_seeds(pieces):
    change_score(pieces, 'baseline/seed0', score=0.0, seconds=99.0, peak_memory=9000.0)
    change_score(pieces, 'baseline/seed1', seconds=10.0, peak_memory=1000.0)
    change_score(pieces, 'plain/seed1', seconds=15.0, peak_memory=1200.0)
    plain = rows(pages(pieces)[0])['A <plain> one plain']
    # 23 over 21 of the teacher's 50, as if there were no other seed.
    assert plain[:4] == ['+2.00 (one seed)', '23.00', '7 %', '1.50x']
    assert plain[4] == '+200 MiB'


def test_every_figure_of_the_tables_comes_from_the_runs(pieces):
    """Other results, other figures: none of the old ones is left, and none is fixed."""
    before, _ = pages(pieces)
    for number, path in enumerate(sorted(pieces.glob('work/*/seed*/result.json'))):
        change_score(
            pieces,
            f'{path.parent.parent.name}/{path.parent.name}',
            score=0.611 + number**2 / 97,
            seconds=1000.0 + 313 * number**2,
            peak_memory=5000.0 + 77 * number**2,
            metrics={'fidelity/agreement': 0.1 + number / 71, 'fidelity/kl': 3.0},
        )
    change_score(pieces, 'teacher', score=0.97)
    after, _ = pages(pieces)
    for name in ('hint', 'A <plain> one plain'):
        old, new = rows(before)[name], rows(after)[name]
        for column, value in enumerate(old[:7]):
            assert value == '—' or value != new[column]
    numbers = re.findall(r'\d+\.\d\d', ' '.join(map(str, rows(before).values())))
    kept = re.findall(r'\d+\.\d\d', ' '.join(map(str, rows(after).values())))
    assert set(numbers) & set(kept) <= {'1.00'}  # the baseline's own time


def test_no_interval_and_a_hollow_dot_of_a_single_seed(pieces):
    change_score(pieces, 'hint/seed0', score=0.27)
    protocol = read_protocol(pieces / 'protocol.py')
    page, _ = report_pages([protocol], [pieces / 'work'], pieces / 'all')
    text = page.read_text()
    (single,) = re.findall(r'<tr id="protocol--plain".*?</tr>', text)
    (several,) = re.findall(r'<tr id="protocol--hint".*?</tr>', text)
    assert 'class="hollow"' in single and 'class="interval"' not in single
    assert '<td class="unsure"' in single  # its gain has no colour
    assert 'class="hollow"' not in several and 'class="interval"' in several
    assert '<td class="up"' in several
    # All on one axis, from zero to the interval's end of 'hint', 5 + 4.3027.
    assert 'cx="21.5%"' in single and 'cx="53.7%"' in several


def test_the_page_needs_nothing_from_outside_and_its_tags_close(pieces):
    page, _ = pages(pieces)
    assert page.open == ['html'] or page.open == []
    for tag, name, value in page.attributes:
        if name in ('src', 'href', 'srcset', 'data', 'action', 'poster'):
            assert value.startswith(('data:', '#')), (tag, name, value)
    style = (ROOT / 'kd_plugins' / 'benchmark' / 'page' / 'page.css').read_text()
    assert 'url(' not in style and '@import' not in style
    assert ('meta', 'name', 'viewport') in page.attributes
    anchors = {value for _, name, value in page.attributes if name == 'id'}
    ids = [value for _, name, value in page.attributes if name == 'id']
    assert len(ids) == len(anchors)
    links = [value for _, name, value in page.attributes if name == 'href']
    assert {link[1:] for link in links if link.startswith('#')} <= anchors


def test_command_versions_machine_and_dates_are_told(pieces):
    change_score(pieces, 'hint/seed1', finished='2001-01-31T23:30:00-0100')
    change_score(pieces, 'hint/seed2', finished='2101-02-01T01:29:59+0200')
    page, markdown = pages(pieces)
    result = json.loads((pieces / 'work' / 'hint/seed0/result.json').read_text())
    for text in (page.text, markdown):
        assert 'python tools/benchmark.py' in text and 'protocol.py' in text
        assert f'torch {result["versions"]["torch"]}' in text
        assert result['machine']['processor'] in text
        assert 'runs side by side: 2' in text
        assert '2001-02-01 00:30 to 2101-01-31 23:29 UTC' in text
        assert '1 min, of all runs together' in text
        own = f'--out {os.path.relpath(pieces / "out" / "all")}'
        assert re.search(f'--report \\S+protocol.py {re.escape(own)}', text)
    assert str(pieces / 'work') not in markdown  # a folder of this machine


def test_fidelity_that_nobody_measured(folder, commands):
    protocol = read_protocol(folder / 'protocol.py')
    benchmark(protocol, folder / 'work', commands, seeds=[0])
    page, markdown = pages(folder)
    assert rows(page)['method'][-3:] == ['memory', 'seeds', 'start']
    assert '- Fidelity: not measured' in markdown
    assert rows(page)['hint'][-2] == '0'
    assert rows(page, 'protocol-seeds')['hint'][:3] == ['24.00', *['not run yet'] * 2]


def test_page_of_nothing(folder):
    page, markdown = pages(folder)
    assert rows(page)['hint'][0] == 'not run yet'
    assert 'The baseline, baseline, is not run yet. 0 of 2 methods run.' in markdown
    assert not [tag for tag, _, _ in page.attributes if tag == 'svg']


def test_changed_recipes_are_left_out_and_named(pieces):
    config = pieces / 'hint.py'
    config.write_text(config.read_text().replace('strength = 4', 'strength = 7'))
    page, markdown = pages(pieces)
    assert rows(page)['hint'][0] == 'not run yet'
    sentence = 'since they were run: hint, seed 0; hint, seed 1; hint, seed 2.'
    assert sentence in page.text and sentence in markdown


def test_another_start_is_an_alarm(pieces):
    change_score(pieces, 'hint/seed2', start={'student': 'other', 'batches': 'x'})
    page, _ = pages(pieces)
    assert rows(page)['hint'][-1] == 'DIFFERS'
    change_score(pieces, 'hint/seed2', start=None)
    assert rows(pages(pieces)[0])['hint'][-1] == 'not recorded'


def test_a_start_of_its_own_is_in_the_table_but_in_no_drawing(pieces):
    path = pieces / 'protocol.py'
    path.write_text(path.read_text().replace("'hint.py'", "'hint.py', own_start=True"))
    change_score(pieces, 'hint/seed2', start={'student': 'other', 'batches': 'x'})
    assert rows(pages(pieces)[0])['hint'][-1] == 'DIFFERS'  # the batches do
    result = json.loads((pieces / 'work/baseline/seed2/result.json').read_text())
    start = {**result['start'], 'student': 'other'}
    change_score(pieces, 'hint/seed2', start=start)
    page, _ = pages(pieces)
    assert rows(page)['hint'][-1] == 'own weights'
    assert 'Not shown, as they start from other weights: hint.' in page.text
    assert ('a', 'href', '#protocol--plain') in page.attributes
    assert ('a', 'href', '#protocol--hint') not in page.attributes


def test_seeds_of_a_recipe_are_its_runs(pieces):
    protocol = read_protocol(pieces / 'protocol.py')
    runs = plan_runs(protocol, pieces, protocol.recipes, protocol.seeds)
    assert [run.seed for run in runs if run.recipe == 'plain'] == [1]
    assert [run.seed for run in runs if run.recipe == 'hint'] == [0, 1, 2]
    piece = plan_runs(protocol, pieces, protocol.recipes, [0])
    assert 'plain' not in {run.recipe for run in piece}


@pytest.mark.parametrize(
    ('old', 'new', 'message'),
    [
        ('seeds=[1]', 'seeds=[1, 1]', 'recipes.plain: seeds must be different'),
        (
            'seeds=[1]',
            'seeds=[7]',
            r'plain.seeds: must be some of .*\[0, 1, 2\].*\[7\]',
        ),
        (
            "'baseline.py'",
            "'baseline.py', seeds=[0]",
            "'baseline' runs with every seed",
        ),
        ("title = 'Boxes'", "pictures = [dict(file='a.png')]", "needs the key 'text'"),
        (
            "title = 'Boxes'",
            "pictures = [dict(file='a.png', text='a')]",
            r'pictures\[0\].file: there is no file',
        ),
    ],
)
def test_faults_name_the_key(pieces, old, new, message):
    path = pieces / 'protocol.py'
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))
    with pytest.raises(ConfigError, match=message):
        read_protocol(path)


def test_pictures_of_the_protocol_have_its_words(pieces):
    (pieces / 'shown.png').write_bytes(PIXEL)
    path = pieces / 'protocol.py'
    text = "pictures = [dict(file='shown.png', text='Boxes & truth')]\n"
    path.write_text(path.read_text() + text)
    page, _ = pages(pieces)
    assert ('img', 'alt', 'Boxes & truth') in page.attributes


def test_command_line(pieces, capsys):
    main = runpy.run_path(str(ROOT / 'tools' / 'benchmark.py'))['main']
    protocol, work = str(pieces / 'protocol.py'), str(pieces / 'work')
    other = pieces / 'other.py'
    other.write_text((pieces / 'protocol.py').read_text())
    out = str(pieces / 'page')
    both = ['--report', protocol, str(other), '--out', out]
    assert main([*both, '--work-dir', work, str(pieces / 'none')]) == 0
    assert capsys.readouterr().out.split() == [f'{out}.html', f'{out}.md']
    tables = Reader(Path(f'{out}.html').read_text()).tables
    assert {'protocol-methods', 'other-methods'} <= set(tables)
    for arguments, message in (
        ([protocol, str(other)], 'several protocols go with --report only, got 2'),
        ([*both, '--work-dir', work], 'expected one for each protocol, 2, got 1'),
        ([*both, '--seeds', '0'], r'Leave out --seeds\.'),
        ([*both, '--jobs', '2', '--cost'], 'Leave out --jobs and --cost'),
        ([protocol, '--cost', '--seeds', '0'], r'--cost: .* Leave out --seeds\.'),
        (['--report', protocol, protocol], "must differ, got .'protocol', 'protocol'"),
    ):
        with pytest.raises(ConfigError, match=message):
            main(arguments)


def test_names_of_a_protocol_are_text_and_never_tags(pieces):
    name = """<script>alert('x')</script> & <b title="y">"""
    (pieces / 'shown.png').write_bytes(PIXEL)
    path = pieces / 'protocol.py'
    text = path.read_text().replace("'A <plain> one'", repr(name))
    text = text.replace("'why & how'", repr(name)).replace("'Boxes'", repr(name))
    text = text.replace("unit = 'mAP'", f'unit = {name!r}')
    path.write_text(f"{text}pictures = [dict(file='shown.png', text={name!r})]\n")
    page, markdown = pages(pieces)
    tags = [tag for tag, _, _ in page.attributes]
    assert 'script' not in tags and 'b' not in tags
    assert ('img', 'alt', name) in page.attributes
    assert f'{name}: +2.00' in page.text  # of its point
    headings = [cell for table in page.tables.values() for cell in table[0]]
    assert name in headings and f'{name} by seed' in page.text
    methods = [' '.join(row[0].split()) for row in page.tables['protocol-methods']]
    assert f'{name} plain' in methods
    assert name in [row[2] for row in page.tables['protocol-recipes']]
    assert '| \\<script>' in markdown  # no tag there either


def drawing(gains: list[tuple[str, float, Gain]], *, lead: float | None = None) -> str:
    """The narrow drawing of points: their titles, costs and gains."""
    points = [
        (SimpleNamespace(id=f'p{number}', recipe=SimpleNamespace(title=title)), *rest)
        for number, (title, *rest) in enumerate(gains)
    ]
    protocol = SimpleNamespace(unit='mAP')
    words = {'page': 'b', 'time_unit': 'it', 'lead': lead}
    report = SimpleNamespace(points=points, protocol=protocol, **words)
    return svg(report, 340, 400, 'narrow')


def test_labels_of_a_crowd_cover_neither_points_nor_each_other():
    svg = drawing(
        [(f'method-{number}', 1.5, Gain(number / 9, None, {})) for number in range(60)]
    )
    label = r'text-anchor: (\w+)[^>]*x="([\d.]+)" y="([\d.]+)"[^>]*>method-'
    labels = re.findall(label, svg)
    assert 10 < len(labels) < 60  # who has no room has its title only
    assert svg.count('<title>method-') == 60
    for side in ('start', 'end'):
        heights = sorted(float(y) for anchor, _, y in labels if anchor == side)
        assert all(y - x > 9 for x, y in itertools.pairwise(heights))


def test_a_point_is_a_link_to_its_row_that_has_a_name():
    svg = drawing([('<one>', 1.2, Gain(4.0, None, {}))])
    title = '<title>&lt;one&gt;: +4.00 mAP at 1.20 times it</title>'
    assert re.findall('<a .*?>', svg) == ['<a href="#p0">']
    assert f'<a href="#p0">{title}' in svg


def test_ticks_above_zero_have_their_sign():
    svg = drawing([('one', 1.2, Gain(0.4, (-0.6, 1.4), {}))])
    shown = re.findall(r'class="ytick">.*?<text[^>]*>([^<]*)<', svg)
    assert shown == ['-0.5', '0', '+0.5', '+1', '+1.5']


def test_the_teacher_is_a_line_where_it_is_not_far_off():
    points = [('one', 1.2, Gain(4.0, (3.0, 5.0), {}))]
    near, far = (drawing(points, lead=lead) for lead in (6.0, 60.0))
    assert 'class="teacher"' in near and 'class="teacher"' not in far


def test_colours_are_those_of_the_style_sheet():
    svg = drawing([('one', 1.2, Gain(4.0, (3.0, 5.0), {}))], lead=6.0)
    used = set(re.findall(r'var\(--(\w+)\)', svg))
    style = (ROOT / 'kd_plugins' / 'benchmark' / 'page' / 'page.css').read_text()
    assert {'up', 'ink', 'quiet', 'rule'} <= used
    for variable in used:
        light, dark = re.findall(f'--{variable}: light-dark.(#\\w+), (#\\w+)', style)[0]
        assert light != dark
    assert not re.search('#[0-9a-f]{6}[";]', svg)
