"""Convolution from the student's channels to the teacher's."""

from torch import Tensor, nn

from kd_plugins.adapters._common import check_channels
from kd_plugins.adapters.resize import resize_map
from kd_plugins.errors import ConfigError, ShapeError
from kd_plugins.registry import ADAPTERS


@ADAPTERS.register_module()
class ConvAdapter(nn.Module):
    """Project a student's feature map onto the teacher's channels, and resize it.

    Chen et al. 2017 find it useful even for equal channels. The weights have torch's
    default initialisation, from its current random stream.

    Args:
        student_channels: C of the input, > 0.
        teacher_channels: C of the output, > 0.
        kernel_size: 1; or 3, with zero padding that keeps the size.
        resize: resize after the convolution; without it another size is an error.
        norm: a batch norm after the convolution, which then has no bias, as in Heo et
            al. (AAAI 2019, ICCV 2019); in training it uses the statistics of the batch.
        relu: a ReLU at last, for a teacher's feature that is behind one, as in Zhang et
            al. (ICASSP 2022).

    Raises: ConfigError for invalid values.

    Example:
        >>> import torch
        >>> adapter = ConvAdapter(student_channels=2, teacher_channels=5)
        >>> adapter(torch.zeros(1, 2, 8, 8), size=(4, 4)).shape
        torch.Size([1, 5, 4, 4])
    """

    def __init__(
        self,
        student_channels: int,
        teacher_channels: int,
        kernel_size: int = 1,
        resize: bool = True,
        norm: bool = False,
        relu: bool = False,
    ) -> None:
        super().__init__()
        check_channels(student_channels, teacher_channels)
        if type(kernel_size) is not int or kernel_size not in (1, 3):
            raise ConfigError(f'kernel_size must be 1 or 3, got {kernel_size!r}.')
        self.resize = resize
        self.conv = nn.Conv2d(
            student_channels,
            teacher_channels,
            kernel_size,
            padding=kernel_size // 2,
            bias=not norm,
        )
        self.norm = nn.BatchNorm2d(teacher_channels) if norm else None
        self.relu = relu

    def forward(self, feature: Tensor, size: tuple[int, int] | None = None) -> Tensor:
        """Adapt a map.

        Args:
            feature: shape (N, student_channels, H, W).
            size: the teacher's height and width; None keeps H and W.

        Returns: shape (N, teacher_channels, *size).
        Raises: ShapeError for other channels, and for another size without ``resize``.
        """
        expected = self.conv.in_channels
        if feature.dim() != 4 or feature.shape[1] != expected:
            remedy = (
                "For rows use type='LinearAdapter'"
                if feature.dim() == 2
                else f'Change student_channels={expected}'
            )
            raise ShapeError(
                f'ConvAdapter expects (N, {expected}, H, W), got '
                f'{tuple(feature.shape)}. {remedy}.'
            )
        adapted: Tensor = self.conv(feature)
        if self.norm is not None:
            adapted = self.norm(adapted)
        if self.relu:
            adapted = adapted.relu()
        if self.resize:
            return resize_map(adapted, size)
        if size is not None and tuple(adapted.shape[2:]) != tuple(size):
            raise ShapeError(
                f'student map is {tuple(adapted.shape[2:])} and teacher map '
                f'{tuple(size)}. Set resize=True in this ConvAdapter.'
            )
        return adapted
