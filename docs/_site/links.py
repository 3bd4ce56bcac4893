"""Hook of the site: what a page links to outside of docs/ is shown as a path."""

import re
from pathlib import Path
from typing import Any

# [text](../configs/kd) -> text (`configs/kd`): on the site there is no such file. From
# a page in a folder of docs/ it is ../../configs/kd.
_OUTSIDE = r'\[([^]]*)\]\({up}((?!\.\./)[^)\s]+)\)'
_IN_README = re.compile(r'\]\(([^)\s]+)\)')
_PATHS = re.compile(r'^[`\w./*-]+$')
_PAGES = {'README.md#methods': ('the table of methods', 'index.md#methods')}


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Called by mkdocs for each page; the first one is the README."""
    if page.file.src_uri == 'index.md':
        text = (Path(__file__).parents[2] / 'README.md').read_text()
        return _IN_README.sub(_of_readme, text)
    up = re.escape('../' * (page.file.src_uri.count('/') + 1))
    return re.sub(_OUTSIDE.format(up=up), _shown, markdown)


def _of_readme(link: re.Match[str]) -> str:
    path = link[1]
    if '://' in path or path.startswith('#'):
        return link[0]
    return f']({path[5:]})' if path.startswith('docs/') else f'](#methods "{path}")'


def _shown(link: re.Match[str]) -> str:
    text, path = link.groups()
    if path in _PAGES:
        return f'[{text}]({_PAGES[path][1]})'
    return text if _PATHS.match(text) else f'{text} (`{path}`)'
