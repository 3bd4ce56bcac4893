"""One-stage detectors without decoding: what the head's convolutions say."""

import inspect

from torch import Tensor, nn

from ..host_types import HostModule
from .metadata import DENSE
from .preprocessing import Preprocessing


class DenseGraph(nn.Module):
    """Images to the maps of a dense head, level by level.

    Args:
        model: a host's one-stage detector, of any head whose ``forward`` gives a tuple
            of lists of maps.

    Attributes:
        kinds: names of the kinds of maps, as the host's ``predict_by_feat`` has them.
        outputs: names of the outputs: of each kind those of all levels, by number.
    """

    task = DENSE

    def __init__(self, model: HostModule, dynamic: bool) -> None:
        super().__init__()
        self.preprocessing = Preprocessing(model.data_preprocessor, dynamic)
        self.model = model
        self.kinds = tuple(
            inspect.signature(model.bbox_head.predict_by_feat).parameters
        )
        self.outputs: tuple[str, ...] = ()

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        """Maps (N, C, H, W) of each kind, of each level.

        Args:
            image: as :class:`~.preprocessing.InputFormat` says.
        """
        maps = self.model.bbox_head(self.model.extract_feat(self.preprocessing(image)))
        self.outputs = tuple(
            f'{name}_{level}'
            for name, kind in zip(self.kinds, maps, strict=False)
            for level in range(len(kind))
        )
        return tuple(level for kind in maps for level in kind)

    def free_axes(self) -> dict[str, dict[int, str]]:
        """Names of the axes whose length may be any; of outputs after a forward."""
        return {
            'image': {0: 'batch', 2: 'height', 3: 'width'},
            **{
                name: {0: 'batch', 2: f'height_{name}', 3: f'width_{name}'}
                for name in self.outputs
            },
        }
