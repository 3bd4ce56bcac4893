"""What only a part of the package needs: an extra of it, imported where it is used."""

from collections.abc import Iterator
from contextlib import contextmanager

from .errors import ConfigError

# Extra -> import name -> distribution.
EXTRAS = {
    'demo': {
        'cv2': 'opencv-python',
        'pycocotools': 'pycocotools',
        'skimage': 'scikit-image',
        'sklearn': 'scikit-learn',
        'tqdm': 'tqdm',
    },
    'report': {'jinja2': 'jinja2', 'matplotlib': 'matplotlib', 'scipy': 'scipy'},
    'cluster': {'submitit': 'submitit'},
    'export': {
        'onnx': 'onnx',
        'onnxruntime': 'onnxruntime',
        'onnxscript': 'onnxscript',
    },
    'prune': {'torch_pruning': 'torch-pruning'},
}


@contextmanager
def extra(name: str, user: str) -> Iterator[None]:
    """Name the extra, where an import within the block finds no module of it.

    Args:
        name: of the extra.
        user: what needs it, for the message.

    Raises: ConfigError with the command that installs it.

    Example:
        >>> with extra('report', 'a plot'):
        ...     raise ModuleNotFoundError(name='matplotlib')
        Traceback (most recent call last):
        kd_plugins.errors.ConfigError: a plot needs matplotlib. Install it: pip install
        'kd_plugins[report]', or pip install matplotlib.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        distribution = EXTRAS[name].get(str(error.name).partition('.')[0])
        if distribution is None:
            raise
        raise ConfigError(
            f"{user} needs {distribution}. Install it: pip install 'kd_plugins[{name}]'"
            f', or pip install {distribution}.'
        ) from error
