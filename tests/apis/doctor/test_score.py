import pytest

from kd_plugins.apis.doctor.finding import NotCheckedError
from kd_plugins.apis.doctor.score import Score, kind_of, score_of


def test_the_metric_of_papers_is_the_score() -> None:
    kind = kind_of({'aAcc': 90.0, 'mIoU': 41.25})
    assert str(score_of({'mIoU': 41.25}, kind)) == '41.2 mIoU'
    kind = kind_of({}, {'coco/segm_mAP': 0.2, 'coco/bbox_mAP': 0.3})
    assert str(score_of({'coco/bbox_mAP': 0.3}, kind)) == '30.0 mAP'


def test_a_detector_that_finds_nothing_scores_nothing() -> None:
    kind = kind_of({}, {'coco/bbox_mAP': 0.3})
    assert score_of({}, kind).value == 0.0
    with pytest.raises(NotCheckedError, match="gave no 'mIoU'"):
        score_of({}, kind_of({'mIoU': 1.0}))


def test_any_other_metric_is_taken_as_it_is() -> None:
    better, error = kind_of({'acc/top1': 0.5}), kind_of({'silog': 0.5})
    assert Score(0.5, better).over(Score(0.4, better)) == pytest.approx(0.1)
    assert Score(0.5, error).over(Score(0.4, error)) == pytest.approx(-0.1)
    with pytest.raises(NotCheckedError, match='no metric'):
        kind_of({})
