"""Interface of a task for pictures: images, their ground truth, and panels."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from .layout import Colour

SIDE = 256  # approximate pixels of a panel's longer side


@dataclass(frozen=True)
class Sample:
    """A validation image.

    Attributes:
        image: (H, W, 3), RGB.
        truth: ground truth, in the task's form.
        number: of objects or classes in the image.
        data: from the test pipeline.
    """

    image: NDArray[np.uint8]
    truth: Any
    number: int
    data: dict[str, Any]


class Task(Protocol):
    """How to show a task.

    Attributes:
        name: of the task, and by default of the file.
        counted: name of the things that ``Sample.number`` counts, for messages.
    """

    name: str
    counted: str

    def read(self, data: dict[str, Any]) -> Sample:
        """An image of the test set.

        Raises: ConfigError for an image without ground truth.
        """

    def truth(self, samples: Sequence[Sample]) -> Mapping[str, list[Image.Image]]:
        """Columns before those of the models: panels by header."""

    def predicted(
        self, samples: Sequence[Sample], results: Sequence[Any]
    ) -> list[Image.Image]:
        """Panels of a model's predictions, which are data samples of the host."""

    def legend(self) -> Mapping[str, Colour]:
        """Colours of all panels so far: text to colour."""


def read_image(path: str) -> NDArray[np.uint8]:
    """An image file as (H, W, 3), RGB."""
    with Image.open(path) as image:
        return np.asarray(image.convert('RGB'))


def longest_side(samples: Sequence[Sample]) -> int:
    """The longest side of all images, in pixels."""
    return max(side for sample in samples for side in sample.image.shape[:2])
