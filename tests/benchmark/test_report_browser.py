"""The page in a browser: sorted by hand and by address, on a phone, in the dark."""

import json
from pathlib import Path

import pytest

from kd_plugins.benchmark.main import benchmark, report_pages
from kd_plugins.benchmark.protocol import read_protocol

from .browser import NAMES, chromium, find_chromium

PROGRAM = find_chromium()
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(PROGRAM is None, reason=f'none of {", ".join(NAMES)} is found'),
]
ORDER = (
    "[...document.querySelectorAll('#protocol-methods tbody th')]"
    '.map((head) => head.firstChild.textContent.trim())'
)
SORTED = (
    "[...document.querySelectorAll('#protocol-methods thead th')]"
    ".map((head) => head.getAttribute('aria-sort'))"
)
TOLD = "document.querySelector('.told').textContent"


@pytest.fixture
def page(folder: Path, commands) -> Path:
    """Gains 4, 2 and none; 'later' is not run yet; a wide table of details."""
    path = folder / 'protocol.py'
    text = path.read_text().replace(
        "dict(config='plain.py')",
        "dict(config='plain.py'), 'later': dict(config='l.py')",
    )
    path.write_text(text + "details = ['*']\n")
    (folder / 'l.py').write_text((folder / 'plain.py').read_text())
    protocol = read_protocol(path)
    benchmark(protocol, folder / 'work', commands, recipes=['hint', 'plain'])
    for name in ('hint', 'plain'):  # so that time orders them the other way round
        for file in (folder / 'work' / name).glob('*/result.json'):
            result = json.loads(file.read_text())
            result['seconds'] = {'hint': 12.0, 'plain': 100.0}[name]
            file.write_text(json.dumps(result))
    return report_pages([protocol], [folder / 'work'], folder / 'page')[0]


def test_page_in_a_browser(page, tmp_path):
    assert PROGRAM is not None
    with chromium(PROGRAM, tmp_path / 'profile') as browser:
        browser.resize(1200)
        browser.open(page)
        assert browser.run(ORDER) == ['hint', 'plain', 'baseline', 'later']
        assert browser.run(SORTED)[:4] == ['none', 'descending', 'none', 'none']

        # By mouse: a heading of figures first descends, then ascends.
        click = "document.querySelectorAll('#protocol-methods button')[4].click()"
        browser.run(click)
        assert browser.run(ORDER) == ['plain', 'hint', 'baseline', 'later']
        assert browser.run(TOLD) == 'Sorted by time, descending.'
        browser.run(click)
        # What is not run yet stays below.
        assert browser.run(ORDER) == ['baseline', 'hint', 'plain', 'later']
        assert browser.run(SORTED)[4] == 'ascending'
        assert browser.run('location.hash') == '#sort=protocol-methods.4.ascending'

        # By keyboard alone: Tab leads to the headings, Enter and Space sort.
        browser.run("document.querySelectorAll('#protocol-methods button')[0].focus()")
        browser.press('Enter')
        assert browser.run(ORDER) == ['baseline', 'hint', 'later', 'plain']
        browser.press('Tab')
        assert browser.run('document.activeElement.textContent') == 'gain'
        browser.press(' ')
        assert browser.run(ORDER) == ['hint', 'plain', 'baseline', 'later']

        # By address; a broken one leaves the page as it is.
        browser.open(page, '#sort=protocol-methods.4.descending')
        assert browser.run(ORDER) == ['plain', 'hint', 'baseline', 'later']
        browser.open(page, '#sort=protocol-methods.99.descending')
        assert browser.run(ORDER) == ['hint', 'plain', 'baseline', 'later']

        # On a phone the tables scroll, the page does not; and likewise with all open.
        for width in (360, 1200):
            browser.resize(width)
            browser.open(page)
            browser.run(
                "document.querySelectorAll('details').forEach((d) => d.open = 1)"
            )
            assert browser.run('innerWidth') == width
            assert browser.run('document.documentElement.scrollWidth') <= width
            shown = browser.run(
                "getComputedStyle(document.querySelector('.narrow')).display"
            )
            assert (shown == 'block') == (width == 360)
        browser.resize(360)
        browser.open(page)
        scroll = "document.querySelector('.scroll')"
        assert browser.run(f'{scroll}.scrollWidth > {scroll}.clientWidth')

        # Light and dark are different papers.
        colours = []
        for scheme in ('light', 'dark'):
            browser.resize(360, scheme=scheme)
            colours.append(
                browser.run('getComputedStyle(document.body).backgroundColor')
            )
        assert len(set(colours)) == 2

        # On paper everything is open.
        browser.run("dispatchEvent(new Event('beforeprint'))")
        assert (
            browser.run("document.querySelectorAll('details:not([open])').length") == 0
        )

        own = page.resolve().as_uri()
        asked = {url.partition('#')[0] for url in browser.requests}
        assert {url for url in asked if not url.startswith('data:')} <= {
            own,
            'about:blank',
        }
        assert browser.errors == []
