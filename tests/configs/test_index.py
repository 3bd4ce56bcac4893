"""The index of the configs, and what mim and mmengine read of them."""

import re
from pathlib import Path

import pytest
import yaml
from mmengine.config.utils import _get_cfg_metainfo

from tests.configs.index import (
    DISTILLATIONS,
    METHODS,
    MODEL_INDEX,
    README,
    Entry,
    files,
)
from tests.configs.tree import CONFIGS, FILES, ROOT, header, name

MADE = files()
METAFILES = sorted(CONFIGS.glob('*/metafile.yml'))


@pytest.mark.parametrize('path', MADE, ids=lambda path: str(path.relative_to(ROOT)))
def test_what_is_made_of_names_and_headers_is_up_to_date(path: Path) -> None:
    # Where it is not: python -m tests.configs.index
    assert path.read_text() == MADE[path]


def test_every_config_is_once_in_the_index_by_method() -> None:
    by_method = README.read_text().partition('## By method')[2]
    links = re.findall(r'\]\(([^)]+\.py)\)', by_method)
    assert sorted(links) == sorted(map(name, FILES))


def test_every_method_has_a_metafile_and_a_page_and_is_listed() -> None:
    folders = {path.parent for path in CONFIGS.glob('*/README.md')}
    assert {CONFIGS / method for method in METHODS} == folders
    assert {path.parent for path in METAFILES} == folders
    listed = yaml.safe_load(MODEL_INDEX.read_text())['Import']
    assert [ROOT / path for path in listed] == METAFILES


@pytest.mark.parametrize('path', METAFILES, ids=name)
def test_a_metafile_names_files_that_are_there(path: Path) -> None:
    content = yaml.safe_load(path.read_text())
    (collection,) = content['Collections']
    assert ROOT / collection['README'] == path.with_name('README.md')
    configs = {ROOT / model['Config'] for model in content['Models']}
    # All of the folder, and the main job of its method.
    assert configs & {*path.parent.glob('*.py')} == {*path.parent.glob('*.py')}
    assert configs <= {*FILES}
    assert len(configs) == len(content['Models'])


def test_metafiles_name_all_distillations() -> None:
    named = [
        model['Config']
        for path in METAFILES
        for model in yaml.safe_load(path.read_text())['Models']
    ]
    assert sorted(named) == sorted(
        f'configs/{name(each.path)}' for each in DISTILLATIONS
    )


@pytest.mark.parametrize(
    'each', DISTILLATIONS, ids=lambda each: name(each.path).removesuffix('.py')
)
def test_results_are_those_of_the_header(each: Entry) -> None:
    text = re.sub(r'\s*\n# ?', ' ', header(each.path))
    if each.result is None:
        assert re.search('Cost and result: .*not run yet', text)
    else:
        assert ' '.join(each.result) in text
        assert 'not run yet' not in text


@pytest.mark.host
def test_mmengine_finds_configs_by_metafiles(tmp_path: Path) -> None:
    (tmp_path / '.mim').symlink_to(ROOT)
    found = _get_cfg_metainfo(
        str(tmp_path), 'kd/kd-logits_rtmdet-l_rtmdet-s_25x_coco.py'
    )
    assert found['In Collection'] == 'KD'
