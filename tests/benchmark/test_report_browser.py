"""The page in a browser: sorted by hand, on a phone, in the dark, on paper."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from kd_plugins.benchmark.main import benchmark, report_pages
from kd_plugins.benchmark.protocol import read_protocol

playwright = pytest.importorskip(
    'playwright.sync_api', reason='pip install playwright, and Chromium of the system'
)
NAMES = ('chromium', 'chromium-browser', 'google-chrome', 'google-chrome-stable')
PROGRAM = next((path for name in NAMES if (path := shutil.which(name))), None)
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


@pytest.fixture
def browser() -> Iterator[Any]:
    """A page of a browser of the system, 1200 pixels wide."""
    with playwright.sync_playwright() as driver:
        program = driver.chromium.launch(executable_path=PROGRAM)
        yield program.new_page(viewport={'width': 1200, 'height': 800})
        program.close()


def test_page_in_a_browser(page, browser):
    asked, errors = [], []
    browser.on('request', lambda request: asked.append(request.url.partition('#')[0]))
    browser.on('pageerror', lambda error: errors.append(str(error)))
    browser.on('console', lambda message: errors.append(message.text))
    heads = browser.locator('#protocol-methods button')

    def order() -> list[str]:
        return browser.evaluate(ORDER)

    browser.goto(page.resolve().as_uri())
    assert order() == ['hint', 'plain', 'baseline', 'later']
    assert browser.evaluate(SORTED)[:4] == ['none', 'descending', 'none', 'none']

    # By mouse: a heading of figures first descends, then ascends.
    heads.nth(4).click()
    assert order() == ['plain', 'hint', 'baseline', 'later']
    assert browser.locator('.told').text_content() == 'Sorted by time, descending.'
    heads.nth(4).click()
    # What is not run yet stays below.
    assert order() == ['baseline', 'hint', 'plain', 'later']
    assert browser.evaluate(SORTED)[4] == 'ascending'

    # By keyboard alone: Tab leads to the headings, Enter and Space sort.
    heads.nth(0).press('Enter')
    assert order() == ['baseline', 'hint', 'later', 'plain']
    browser.keyboard.press('Tab')
    assert browser.evaluate('document.activeElement.textContent') == 'gain'
    browser.keyboard.press('Space')
    assert order() == ['hint', 'plain', 'baseline', 'later']

    # A point of the plot has its words, and leads to its row.
    point = browser.locator('.broad').get_by_role('link', name='hint: +4.00 mAP')
    point.click()
    assert browser.url.endswith('#protocol--hint')

    # On a phone the tables scroll, the page does not; and likewise with all open.
    for width in (1200, 360):
        browser.set_viewport_size({'width': width, 'height': 800})
        browser.reload()
        for closed in browser.locator('summary').all():
            closed.click()
        assert browser.evaluate('innerWidth') == width
        assert browser.evaluate('document.documentElement.scrollWidth') <= width
        assert browser.locator('.narrow').is_visible() == (width == 360)
    scroll = "document.querySelector('.scroll')"
    assert browser.evaluate(f'{scroll}.scrollWidth > {scroll}.clientWidth')

    # Light and dark are different papers, and different dots.
    for element in ('body', '.narrow .dot use'):
        colours = []
        for scheme in ('light', 'dark'):
            browser.emulate_media(color_scheme=scheme)
            style = f"getComputedStyle(document.querySelector('{element}'))"
            colours.append(browser.evaluate(f'{style}.backgroundColor + {style}.fill'))
        assert len(set(colours)) == 2

    # On paper everything is open.
    browser.reload()
    browser.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert browser.locator('details:not([open])').count() == 0

    assert {url for url in asked if not url.startswith('data:')} <= {
        page.resolve().as_uri(),
        'about:blank',
    }
    assert errors == []
