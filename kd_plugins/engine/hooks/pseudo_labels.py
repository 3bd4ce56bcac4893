"""Pseudo-labels that a training makes for itself, before it reads them."""

from mmengine.hooks import Hook
from mmengine.runner import Runner

from ...checks import check_int
from ...errors import ConfigError, located
from ...registry import HOOKS
from ..isolation import free_memory
from ..pseudo_labels import PseudoLabelOptions, make_pseudo_labels


@HOOKS.register_module()
class PseudoLabelsHook(Hook):
    """Label a folder of images by teachers, before the training opens its data.

    Once, as ``tools/pseudo_label.py`` does it: resumable, several processes share the
    work, and no random state changes. A test or an export makes none. In a config with
    stages a teacher may be of an earlier one: ``checkpoint='{teacher.student}'``.

    Args:
        images: the folder.
        out: where the labels go; the data set names files in it.
        teachers: ``dict(cfg=..., checkpoint=...)``, or a list of such.
        without: file that names images to leave out.
        num_workers: processes that read images.

    Other arguments: as of :class:`~kd_plugins.engine.pseudo_labels.PseudoLabelOptions`.

    Raises: ConfigError, CheckpointError as
        :func:`~kd_plugins.engine.pseudo_labels.make_pseudo_labels`.
    """

    priority = 'VERY_HIGH'

    def __init__(
        self,
        images: str,
        out: str,
        teachers: object,
        without: str | None = None,
        threshold: float = 0.5,
        augment: bool = False,
        fusion: str = 'wbf',
        iou_threshold: float = 0.55,
        top_k: int | None = None,
        batch_size: int = 8,
        num_workers: int = 0,
    ) -> None:
        self.images, self.out, self.teachers = images, out, teachers
        self.without = without
        self._made = False
        with located('PseudoLabelsHook'):
            self.num_workers = check_int('num_workers', num_workers, minimum=0)
            self.options = PseudoLabelOptions(
                threshold=threshold,
                augment=augment,
                fusion=fusion,
                iou_threshold=iou_threshold,
                top_k=top_k,
                batch_size=batch_size,
            )

    def before_train_data(self, runner: Runner) -> None:
        """Make them, where they are not there."""
        with located('PseudoLabelsHook'):
            made = make_pseudo_labels(
                self.images,
                self.out,
                self.teachers,
                without=self.without,
                options=self.options,
                num_workers=self.num_workers,
            )
        free_memory()
        self._made = True
        runner.logger.info(made.describe())

    def before_train(self, runner: Runner) -> None:
        """Refuse a runner that does not call :meth:`before_train_data`."""
        if not self._made:
            raise ConfigError(
                "PseudoLabelsHook needs runner_type='kd_plugins.DistillRunner', which "
                f'_base_/distill.py brings, got {type(runner).__name__}.'
            )
