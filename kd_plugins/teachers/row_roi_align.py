"""RoIAlign on a CPU, by rows of channels."""

import torch
import torch.nn.functional as F
from mmcv.ops.roi_align import RoIAlign
from torch import Tensor, nn

# Numbers of rows that are added up at a time: what their numbers and weights take is
# a small part of a model.
_ROWS = 2**21


class RowRoIAlign(nn.Module):
    """RoIAlign that adds up rows of channels; float32, without gradient.

    With the channels last, each of the four pixels around a sampling point is a row of
    memory. The result is that of mmcv's module but for rounding; torchvision's, which
    reads channel by channel, takes several times as long on a CPU.

    Args:
        module: mmcv's, that averages.
    """

    def __init__(self, module: RoIAlign) -> None:
        super().__init__()
        self.output_size: tuple[int, int] = tuple(module.output_size)
        self.spatial_scale: float = module.spatial_scale
        self.sampling_ratio: int = module.sampling_ratio
        self.aligned: bool = module.aligned

    def forward(self, input: Tensor, rois: Tensor) -> Tensor:
        """Pooled features (R, C, height, width), the channels last in memory.

        Args:
            input: features (N, C, H, W); those whose channels are last are not copied.
            rois: (R, 5), image number and corners in pixels of the images.
        """
        table = input.float().permute(0, 2, 3, 1)
        corners = rois[:, 1:].float() * self.spatial_scale - 0.5 * self.aligned
        start, sides = corners[:, [1, 0]], corners[:, [3, 2]] - corners[:, [1, 0]]
        if not self.aligned:
            sides = sides.clamp(min=1)
        bins = sides / sides.new_tensor(self.output_size)
        given = (table, rois[:, 0].int(), start, bins)
        if self.sampling_ratio > 0:
            pooled = self._pool(*given, (self.sampling_ratio, self.sampling_ratio))
        else:
            pooled = self._pool_by_size(*given)
        return pooled.permute(0, 3, 1, 2)

    def _pool_by_size(
        self, table: Tensor, images: Tensor, start: Tensor, bins: Tensor
    ) -> Tensor:
        """Likewise, with about a point a pixel: RoIs of one size together."""
        shape = (len(bins), *self.output_size, table.shape[3])
        pooled = table.new_zeros(shape)  # what a RoI without area is
        points = bins.ceil().long().clamp(min=0)
        most = int(points.max()) + 1 if len(points) else 1
        codes = points[:, 0] * most + points[:, 1]
        for code in torch.unique(codes).tolist():
            grid = divmod(code, most)
            if 0 not in grid:
                chosen = (codes == code).nonzero().flatten()
                pooled[chosen] = self._pool(
                    table, images[chosen], start[chosen], bins[chosen], grid
                )
        return pooled

    def _pool(
        self,
        table: Tensor,
        images: Tensor,
        start: Tensor,
        bins: Tensor,
        grid: tuple[int, int],
    ) -> Tensor:
        """Means (R, height, width, C) over a grid of points in each bin.

        Args:
            table: features (N, H, W, C).
            images: numbers of the RoIs' images (R,).
            start: upper left corners (R, 2), row and column, in pixels of the map.
            bins: height and width of the bins (R, 2), likewise.
            grid: rows and columns of points in each bin.
        """
        number = 4 * grid[0] * grid[1] * self.output_size[0] * self.output_size[1]
        size = max(_ROWS // number, 1)
        pooled = [
            self._pool_part(table, *part, grid)
            for part in zip(
                images.split(size), start.split(size), bins.split(size), strict=True
            )
        ]
        return pooled[0] if len(pooled) == 1 else torch.cat(pooled)

    def _pool_part(
        self,
        table: Tensor,
        images: Tensor,
        start: Tensor,
        bins: Tensor,
        grid: tuple[int, int],
    ) -> Tensor:
        _, height, width, channels = table.shape
        rows, row_weights = _neighbours(
            start[:, 0], bins[:, 0], self.output_size[0], grid[0], height
        )
        columns, column_weights = _neighbours(
            start[:, 1], bins[:, 1], self.output_size[1], grid[1], width
        )
        rows = (rows + (images * height)[:, None, None]) * width
        row_weights = row_weights / (grid[0] * grid[1])
        numbers = rows[:, :, None, :, None] + columns[:, None, :, None, :]
        weights = row_weights[:, :, None, :, None] * column_weights[:, None, :, None, :]
        means = F.embedding_bag(
            numbers.flatten(3).flatten(0, 2),
            table.reshape(-1, channels),
            mode='sum',
            per_sample_weights=weights.flatten(3).flatten(0, 2),
        )
        return means.view(len(images), *self.output_size, channels)


def _neighbours(
    start: Tensor, bins: Tensor, number: int, points: int, size: int
) -> tuple[Tensor, Tensor]:
    """The two pixels around each sampling point along one side, and their weights.

    Args:
        start: of the RoIs (R,), in pixels of the map.
        bins: length of a bin (R,).
        number: of bins.
        points: of each bin.
        size: of the map.

    Returns: both of shape (R, number, 2 * points).
    """
    steps = torch.arange(number * points, device=start.device) + 0.5
    places = start[:, None] + steps * (bins / points)[:, None]
    inside = (places >= -1) & (places <= size)
    places = places.clamp(min=0)
    low = places.floor().clamp(max=size - 1)
    share = (places - low) * (low < size - 1)
    pixels = torch.stack([low, (low + 1).clamp(max=size - 1)], dim=-1).int()
    weights = torch.stack([1 - share, share], dim=-1) * inside[..., None]
    shape = (len(start), number, 2 * points)
    return pixels.view(shape), weights.view(shape)


def with_row_roi_align(part: nn.Module) -> None:
    """Replace every RoIAlign of mmcv's inside, where it averages."""
    for block in list(part.modules()):
        for name, child in block.named_children():
            if type(child) is RoIAlign and child.pool_mode == 'avg':
                block._modules[name] = RowRoIAlign(child)
