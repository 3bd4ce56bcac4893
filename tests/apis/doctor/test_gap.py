"""A lead is set beside those at which distillation was seen to help."""

from pathlib import Path

import pytest

from kd_plugins.apis.doctor.checks.gap import check_gap
from kd_plugins.apis.doctor.recorded_gaps import median_closed, recorded_gaps

from .made import case, evaluation, results, unchecked

PROTOCOL = """
metric = 'coco/bbox_mAP'
seeds = [0]
baseline = 'start'
recipes = {
    'start': dict(config='start.py'),
    'alone': dict(config='alone.py'),
    'good': dict(config='good.py'),
    'bad': dict(config='bad.py'),
    'later': dict(config='later.py'),
}
teacher = dict(config='teacher.py', score=0.5)
"""


@pytest.fixture
def protocols(tmp_path: Path) -> Path:
    scores = dict(start='20.0 ± 1.5', teacher='60.0', alone='5.0', good='40.0')
    for name, score in dict(scores, bad='18.0').items():
        text = f'# Cost and result: 1 minute; {score} mAP.\n'
        if name == 'good':
            text += '# Alone:  python tools/train.py alone.py\n'
        (tmp_path / f'{name}.py').write_text(text)
    (tmp_path / 'later.py').write_text('# Cost and result: not run yet.\n')
    folder = tmp_path / 'benchmarks'
    folder.mkdir()
    text = PROTOCOL
    for name in (*scores, 'bad', 'later'):
        text = text.replace(f"'{name}.py'", f"'../{name}.py'")
    (folder / 'one.py').write_text(text)
    return folder


def test_gaps_come_from_the_headers_of_the_protocols_configs(protocols: Path) -> None:
    (gap,) = recorded_gaps(protocols)
    assert gap.lead == pytest.approx(40.0)
    assert gap.relative_lead == pytest.approx(40 / 60)
    # Of the methods alone: neither the student by itself nor what is not run yet.
    assert gap.closed == pytest.approx((0.5, -0.05))
    assert median_closed([gap]) == pytest.approx(0.225)


def test_one_distillation_beside_another_shows_no_gap(protocols: Path) -> None:
    start = protocols.parent / 'start.py'
    start.write_text(start.read_text() + "model = dict(pairs='auto')\n")
    assert recorded_gaps(protocols) == []


def test_the_packages_own_are_the_three_reported_benchmarks() -> None:
    gaps = {gap.title.partition(':')[0]: gap for gap in recorded_gaps()}
    assert list(gaps) == ['Detection', 'One-stage detection', 'Segmentation']
    assert gaps['Segmentation'].lead == pytest.approx(17.8)
    assert gaps['Detection'].lead == pytest.approx(32.6)
    assert all(max(gap.closed) > 0 for gap in gaps.values())


def test_a_small_lead_is_a_warning_and_one_run_cannot_show_it() -> None:
    small = case(validation=evaluation(0.600, 0.605))
    lead, expected = results(check_gap, small)
    assert lead.severity == expected.severity == 'warning'
    assert 'leads by 0.5 mAP (60.5 mAP against 60.0 mAP of the distilled' in (
        lead.sentence
    )
    assert '17.8 mIoU, 32 % (Segmentation: mosaics of photographs)' in lead.sentence
    assert 'one run cannot show it' in expected.sentence
    assert 'three seeds' in expected.remedy


def test_a_lead_as_recorded_is_fine() -> None:
    lead, expected = results(check_gap, case(validation=evaluation(0.35, 0.7)))
    assert (lead.severity, expected.severity) == ('fine', 'note')


def test_a_huge_lead_may_be_too_large() -> None:
    lead, _ = results(check_gap, case(validation=evaluation(0.01, 0.8)))
    assert lead.severity == 'note'
    assert 'try one in between' in lead.remedy


def test_a_teacher_that_does_not_lead_is_told_elsewhere() -> None:
    assert results(check_gap, case(validation=evaluation(0.5, 0.4))) == []
    (item,) = unchecked(check_gap, case(validation=evaluation(0.5, None)))
    assert item.reason == 'it has no score on these data'


def test_the_recorded_score_of_the_student_alone_is_taken() -> None:
    of = case(validation=evaluation(40.0, 56.2, key='mIoU'))
    of.cfg._cfg_dict['model']['teacher'] = {}
    object.__setattr__(
        of.cfg, '_filename', str(Path(__file__).parents[3] / 'configs' / 'seg_skd.py')
    )
    of.kept['teachers'] = case().teachers
    lead, _ = results(check_gap, of)
    assert '56.2 mIoU against 38.4 mIoU of the student alone' in lead.sentence
