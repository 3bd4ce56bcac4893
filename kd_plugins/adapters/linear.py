"""Fully connected layer from the student's channels to the teacher's."""

from torch import Tensor, nn

from kd_plugins.adapters._common import check_channels
from kd_plugins.errors import ShapeError
from kd_plugins.registry import ADAPTERS


@ADAPTERS.register_module()
class LinearAdapter(nn.Module):
    """Project features of RoIs, one vector each, onto the teacher's channels.

    The weights have torch's default initialisation, from its current random stream.

    Args:
        student_channels: C of the input, > 0.
        teacher_channels: C of the output, > 0.

    Raises: ConfigError for invalid values.

    Example:
        >>> import torch
        >>> adapter = LinearAdapter(student_channels=2, teacher_channels=5)
        >>> adapter(torch.zeros(3, 2)).shape
        torch.Size([3, 5])
    """

    def __init__(self, student_channels: int, teacher_channels: int) -> None:
        super().__init__()
        check_channels(student_channels, teacher_channels)
        self.linear = nn.Linear(student_channels, teacher_channels)

    def forward(self, feature: Tensor, size: tuple[int, int] | None = None) -> Tensor:
        """Adapt vectors.

        Args:
            feature: shape (R, student_channels).
            size: unused; a vector has no height and width.

        Returns: shape (R, teacher_channels).
        Raises: ShapeError for other channels, and for maps.
        """
        expected = self.linear.in_features
        if feature.dim() != 2 or feature.shape[1] != expected:
            raise ShapeError(
                f'LinearAdapter expects (R, {expected}), got {tuple(feature.shape)}. '
                f'Change student_channels={expected}, or for maps '
                "type='ConvAdapter'."
            )
        adapted: Tensor = self.linear(feature)
        return adapted
