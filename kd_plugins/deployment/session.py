"""An exported file, run by ONNX Runtime."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..errors import ConfigError
from ..extras import extra
from .metadata import Metadata, metadata_of


class OnnxFile:
    """A file that :func:`~kd_plugins.apis.export_onnx.export_onnx` wrote, opened.

    Args:
        path: of the file.

    Attributes:
        metadata: what the file says of itself.

    Raises: ConfigError where onnxruntime is not installed, for a file that is not
        there or is none, and for one that somebody else wrote.
    """

    def __init__(self, path: str | Path) -> None:
        with extra('export', f"'{path}'"):
            import onnxruntime
        if not Path(path).is_file():
            raise ConfigError(f"there is no file '{path}'.")
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        try:
            self._session = onnxruntime.InferenceSession(
                str(path), options, providers=['CPUExecutionProvider']
            )
        except Exception as error:
            first = str(error).strip().splitlines()[0]
            raise ConfigError(f"ONNX Runtime cannot open '{path}': {first}") from error
        meta = self._session.get_modelmeta()
        self.metadata: Metadata = metadata_of(meta.custom_metadata_map, str(path))
        self.path = Path(path)

    def run(self, image: Tensor, outputs: Sequence[str] | None = None) -> list[Tensor]:
        """Outputs of a batch.

        Args:
            image: (N, C, H, W), any type, as the file's metadata says.
            outputs: their names; default: all, in the file's order.

        Raises: ConfigError for another size than the file is for, and where ONNX
            Runtime fails.
        """
        size, batch = self.metadata.size, self.metadata.batch_size
        if size is not None and list(image.shape[2:]) != size:
            raise ConfigError(
                f"'{self.path}' takes images of {_sides(size)}, got "
                f'{_sides(image.shape[2:])}. Export it with --dynamic, or with the '
                '--size of these images.'
            )
        if batch is not None and image.shape[0] != batch:
            raise ConfigError(
                f"'{self.path}' takes {batch} images at a time, got {image.shape[0]}."
            )
        names = None if outputs is None else list(outputs)
        pixels = image.float().cpu().numpy()
        try:
            results: list[np.ndarray[Any, Any]] = self._session.run(
                names, {'image': pixels}
            )
        except Exception as error:
            advice = 'Export the dense outputs (--dense), or another part there.'
            if size is None:
                advice = 'A part of it is for the traced size: leave out --dynamic.'
            raise ConfigError(
                f"ONNX Runtime fails in '{self.path}' on {image.shape[0]} images of "
                f'{_sides(image.shape[2:])}: {str(error).strip()[:300]}. {advice}'
            ) from error
        return [torch.from_numpy(np.asarray(result)) for result in results]

    @property
    def outputs(self) -> list[str]:
        """Names of the outputs, in the file's order."""
        return [output.name for output in self._session.get_outputs()]


def _sides(size: Sequence[int]) -> str:
    return 'x'.join(str(int(side)) for side in size)
