"""A hook that makes the embedded data before the host opens it."""

from mmengine.hooks import Hook

from ..registry import HOOKS
from .prepare import prepare


@HOOKS.register_module()
class PrepareDataHook(Hook):
    """Make a data set of this package when the runner is built.

    The runner builds its hooks before its datasets, so a plain ``CocoDataset``,
    ``BaseSegDataset`` or ``NYUDataset`` config works with the host's tools. Of several
    processes one builds, and the others wait.

    Args:
        dataset: 'digits', 'mosaics' or 'planes'.
        root: folder of the data set, the ``data_root`` of the host's config.
        train: number of training images; the benchmark's by default.
        val: number of validation images; the benchmark's by default.

    Raises: ConfigError for an unknown name, a size below 1, or a ``root`` that holds
        other files.
    """

    priority = 'VERY_HIGH'

    def __init__(
        self, dataset: str, root: str, train: int | None = None, val: int | None = None
    ) -> None:
        sizes = {'train': train, 'val': val}
        numbers = {split: size for split, size in sizes.items() if size is not None}
        self.root = prepare(dataset, root, **numbers)
