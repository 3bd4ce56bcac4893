"""Features that are alike, whatever the number and order of their channels."""

import numpy as np
import pytest
import torch
from torch import Tensor

from kd_plugins.errors import ShapeError
from kd_plugins.evaluation.fidelity import FeatureMoments, feature_rows, linear_cka


def rows(channels: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(40, channels, generator=generator, dtype=torch.float64)


def test_one_channel_by_hand() -> None:
    # Of single channels it is the squared correlation: here 2^2 / (2 * 8).
    student = torch.tensor([[-1.0], [0.0], [1.0]])
    teacher = torch.tensor([[-2.0], [2.0], [0.0]])
    assert linear_cka(student, teacher).item() == pytest.approx(0.25)


def test_it_is_the_alignment_of_centred_kernels() -> None:
    student, teacher = rows(3).numpy(), rows(5, seed=1).numpy()
    centre = np.eye(40) - 1 / 40
    student_gram, teacher_gram = (
        centre @ item @ item.T @ centre for item in (student, teacher)
    )
    expected = (student_gram * teacher_gram).sum() / np.sqrt(
        (student_gram * student_gram).sum() * (teacher_gram * teacher_gram).sum()
    )
    value = linear_cka(torch.from_numpy(student), torch.from_numpy(teacher))
    assert value.item() == pytest.approx(expected, rel=1e-9)


def test_rotation_scale_and_shift_change_nothing() -> None:
    student, teacher = rows(4), rows(6, seed=1)
    rotation, _ = torch.linalg.qr(rows(4, seed=2)[:4])
    expected = linear_cka(student, teacher).item()
    assert 0 < expected < 1
    for changed in (student @ rotation, -7 * student, student + rows(4)[:1] * 1000):
        assert linear_cka(changed, teacher).item() == pytest.approx(expected, rel=1e-9)
    assert linear_cka(teacher, student).item() == pytest.approx(expected, rel=1e-9)


def test_a_stretched_channel_does_change_it() -> None:
    student = rows(4)
    stretched = student * torch.tensor([10.0, 1, 1, 1])
    assert linear_cka(student, student).item() == pytest.approx(1)
    assert linear_cka(stretched, student).item() < 0.9


def test_batches_add_up() -> None:
    student, teacher = rows(4), rows(6, seed=1)
    moments = FeatureMoments()
    for part in (slice(0, 33), slice(33, 40)):
        moments.add(student[part], teacher[part])
    whole = linear_cka(student, teacher).item()
    assert moments.linear_cka().item() == pytest.approx(whole, rel=1e-9)


def test_a_constant_feature_and_none_at_all_have_no_value() -> None:
    assert linear_cka(torch.ones(5, 2), torch.randn(5, 2)).isnan()
    assert linear_cka(torch.zeros(0, 2), torch.zeros(0, 3)).isnan()


def test_rows_of_other_samples_are_refused() -> None:
    for shape in ((3, 2), (4, 2, 1)):
        with pytest.raises(ShapeError, match='rows of the same samples'):
            linear_cka(torch.zeros(4, 2), torch.zeros(shape))


def test_maps_of_other_strides_give_the_same_rows() -> None:
    coarse = torch.arange(32.0).view(1, 2, 4, 4)
    fine = coarse.repeat_interleave(2, dim=2).repeat_interleave(2, dim=3)
    whole = [(1.0, 1.0)]
    torch.testing.assert_close(feature_rows(coarse, whole), feature_rows(fine, whole))
    assert feature_rows(coarse, whole)[5].tolist() == [5, 21]


def test_padding_is_left_out() -> None:
    feature = torch.zeros(2, 1, 8, 8)
    feature[0, :, :4, :6] = 1
    feature[1] = 1
    assert feature_rows(feature, [(0.5, 0.75), (1, 1)]).eq(1).all()
