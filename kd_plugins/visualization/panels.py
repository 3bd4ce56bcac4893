"""What a picture asks of a task: images with their truth, and panels that show both."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from .layout import Colour

SIDE = 256  # pixels that the longer side of a panel should about have


@dataclass(frozen=True)
class Sample:
    """A validation image.

    Attributes:
        image: (H, W, 3), RGB.
        truth: as the task knows it.
        number: of objects or classes in it.
        data: as the test pipeline gives it.
    """

    image: NDArray[np.uint8]
    truth: Any
    number: int
    data: dict[str, Any]


class Task(Protocol):
    """How one task is shown.

    Attributes:
        name: of the task, and of the file if no other is given.
        counted: what ``Sample.number`` counts, for messages.
    """

    name: str
    counted: str

    def read(self, data: dict[str, Any]) -> Sample:
        """An image of the test set.

        Raises: ConfigError if it comes without its truth.
        """

    def truth(self, samples: Sequence[Sample]) -> Mapping[str, list[Image.Image]]:
        """Columns left of the models': panels by header."""

    def predicted(
        self, samples: Sequence[Sample], results: Sequence[Any]
    ) -> list[Image.Image]:
        """Panels of what a model said of the images, as data samples of its host."""

    def legend(self) -> Mapping[str, Colour]:
        """Colours of all panels so far: text to colour."""


def read_image(path: str) -> NDArray[np.uint8]:
    """An image file as (H, W, 3), RGB."""
    with Image.open(path) as image:
        return np.asarray(image.convert('RGB'))


def longest_side(samples: Sequence[Sample]) -> int:
    """Of all images, in pixels."""
    return max(side for sample in samples for side in sample.image.shape[:2])
