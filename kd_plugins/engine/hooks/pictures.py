"""Pictures of what the pairs compare, while the student is trained."""

from collections.abc import Sequence
from typing import Any

from mmengine.dist import is_main_process
from mmengine.hooks import Hook
from mmengine.hooks.hook import DATA_BATCH
from mmengine.runner import Runner

from ...checks import check_float, check_int
from ...distillers import Distiller
from ...distillers.interface import unwrap
from ...errors import ConfigError, located
from ...random_stream import get_random_state, set_random_state
from ...registry import HOOKS
from ...visualization.images import first_images
from ...visualization.maps import choose_pairs
from ...visualization.pages import (
    Column,
    as_array,
    class_names,
    left_out,
    make_pages,
)
from ...visualization.painting import PredictionPainter
from ...visualization.shots import take_shots


@HOOKS.register_module()
class DistillationPicturesHook(Hook):
    """Adds pictures to the run's visualizer: maps that pairs compare, and predictions.

    As ``tools/visualize.py`` draws them, of the first images of the validation set:
    'predictions', and 'maps_<pair>' for each pair whose tensors are maps; the teacher
    beside the student as it was when the run started and as it is now, on one colour
    scale. TensorBoard shows them among its images; the local backend writes
    ``vis_data/vis_image/maps_<pair>_<iteration>.png``.

    On the first process alone. The training does not notice: its weights are those of
    a run without the hook.

    Args:
        interval: iterations from one to the next, >= 1; the last one always has some.
        images: how many.
        pairs: names of those that are shown; None for all.
        score_thr: lowest score of a detection that is drawn.

    Raises: ConfigError for arguments that cannot be, a model that is no distiller, and
        a run without validation.
    """

    # After everything that a step ends with.
    priority = 'LOWEST'

    def __init__(
        self,
        interval: int = 1000,
        images: int = 2,
        pairs: Sequence[str] | None = None,
        score_thr: float = 0.3,
    ) -> None:
        self.interval = check_int('interval', interval)
        self.images = check_int('images', images)
        self.pairs = pairs
        self.score_thr = check_float('score_thr', score_thr)
        self._items: list[dict[str, Any]] = []
        self._start: Column | None = None

    def before_train(self, runner: Runner) -> None:
        model = _distiller(runner)
        pairs = choose_pairs(model, self.pairs)
        if runner.val_loop is None:
            raise ConfigError(
                'DistillationPicturesHook shows images of the validation, and this run '
                'has none. Set val_dataloader, val_cfg and val_evaluator, or remove '
                'the hook from custom_hooks.'
            )
        if not is_main_process():
            return
        dataset = runner.val_dataloader.dataset
        state = get_random_state()
        try:
            with located('DistillationPicturesHook.images'):
                self._items = first_images(dataset, self.images)
        finally:
            set_random_state(state)
        shots = take_shots(model, self._items, pairs)
        self._start = Column(f'student, iteration {runner.iter}', shots)
        without = left_out(pairs, self._start)
        if without:
            runner.logger.info(f'DistillationPicturesHook: {without}')

    def after_train_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: DATA_BATCH = None,
        outputs: dict[str, Any] | None = None,
    ) -> None:
        due = self.every_n_train_iters(runner, self.interval)
        last = runner.iter + 1 == runner.max_iters
        if not (due or last) or self._start is None:
            return
        model, step = _distiller(runner), runner.iter + 1
        shots = take_shots(model, self._items, choose_pairs(model, self.pairs))
        now = Column(f'student, iteration {step}', shots, f'adapted, iteration {step}')
        metainfo = getattr(runner.val_dataloader.dataset, 'metainfo', None) or {}
        painter = PredictionPainter(
            type(runner.visualizer),
            runner.cfg.get('visualizer'),
            metainfo,
            self.score_thr,
        )
        state = get_random_state()  # mmdet seeds numpy to choose a colour
        try:
            pages = make_pages([self._start, now], painter, class_names(model))
        finally:
            set_random_state(state)
        for name, page in pages.items():
            runner.visualizer.add_image(name, as_array(page), step)


def _distiller(runner: Runner) -> Distiller:
    model = unwrap(runner.model)
    if not isinstance(model, Distiller):
        raise ConfigError(
            'DistillationPicturesHook needs a model of type kd_plugins.Distiller, got '
            f'{type(model).__name__}. Remove the hook from custom_hooks.'
        )
    return model
