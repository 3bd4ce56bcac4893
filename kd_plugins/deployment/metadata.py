"""What an ONNX file says of itself, as JSON among its properties."""

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ..errors import ConfigError

KEY = 'kd_plugins'
DETECTION, DENSE, SEGMENTATION = 'detection', 'dense', 'segmentation'


@dataclass(frozen=True)
class Metadata:
    """What is needed to run a file and to read what it gives.

    Args:
        task: 'detection' (boxes, scores, labels), 'dense' (maps of a dense head) or
            'segmentation' (class_map, logits).
        model: class of the host's model.
        classes: their names; None where neither checkpoint nor test data have them.
        input_layout: of the one input, 'NCHW', float32.
        value_range: smallest and largest value of a pixel.
        colour_order: of its channels.
        mean: subtracted by the graph: give it pixels as they are.
        std: divided by, by the graph.
        size_divisor: the graph pads height and width to multiples of it.
        pad_value: of the padding, after the normalisation. To pad an image before,
            give it the pixel ``mean + pad_value * std``.
        size: height and width of the input; None where they are free.
        batch_size: number of images; None where it is free.
        score_threshold: below which no box is given; None for other tasks.
        checked: what the comparison with torch found, by name; empty without one.
        version: of kd_plugins.
        torch: its version.
    """

    task: str
    model: str
    classes: list[str] | None
    colour_order: str
    mean: list[float]
    std: list[float]
    size_divisor: int
    pad_value: float
    size: list[int] | None
    batch_size: int | None
    score_threshold: float | None
    version: str
    torch: str
    checked: dict[str, float] = field(default_factory=dict)
    input_layout: str = 'NCHW'
    value_range: tuple[float, float] = (0.0, 255.0)

    def text(self) -> str:
        """As JSON."""
        return json.dumps(dataclasses.asdict(self))


def metadata_of(properties: Mapping[str, str], source: str) -> Metadata:
    """Of the properties of a file.

    Raises: ConfigError for a file that this package did not write, or a newer one.
    """
    if KEY not in properties:
        raise ConfigError(
            f"'{source}' says nothing of its input: expected a file that "
            'tools/export_student.py wrote. Export it again.'
        )
    content: dict[str, Any] = json.loads(properties[KEY])
    names = {item.name for item in dataclasses.fields(Metadata)}
    if set(content) != names:
        raise ConfigError(
            f"'{source}' was written by kd_plugins {content.get('version')}, and its "
            f'description differs in {sorted(set(content) ^ names)}. Export it again.'
        )
    return Metadata(**content)
