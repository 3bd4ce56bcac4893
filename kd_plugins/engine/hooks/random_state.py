"""A resumed run draws the random numbers that the interrupted one would have drawn."""

from typing import Any

from mmengine.dist import all_gather_object
from mmengine.hooks import Hook
from mmengine.hooks.hook import DATA_BATCH
from mmengine.runner import EpochBasedTrainLoop, Runner

from ...distillers.interface import is_distiller, unwrap
from ...random_stream import RandomState, get_random_state, set_random_state
from ...registry import HOOKS


@HOOKS.register_module()
class RandomStateHook(Hook):
    """Saves the random state of every process, and restores it on resume.

    Python's, numpy's and torch's generators, and the distiller's own stream. With a
    seed given, the data loaded by the training process (``num_workers=0``), one thread
    and deterministic operators, a resumed run ends with the weights of the
    uninterrupted one, bit for bit. Where one of these does not hold:

    - With workers, the host seeds each by ``seed + worker`` when it starts: the order
      of the images is continued, their augmentations begin anew.
    - Without a seed, the host draws one anew before it reads the old one: the order of
      the data is another.
    - An epoch-based run is continued from the end of an epoch; from a checkpoint saved
      within one, the host repeats the epoch from its beginning.
    - With another number of processes, no state is restored.

    A validation that was due but had not ended when the checkpoint was saved is run
    first of all: in the uninterrupted run it draws before the next training batch does.

    Saved by ``AtomicCheckpointHook``, which calls ``before_checkpoint`` on every
    process.
    """

    priority = 'LOWEST'

    def __init__(self) -> None:
        self._validating = False
        self._states: list[RandomState] | None = None
        self._saved: dict[str, Any] | None = None
        self._fetching: _RestoringIterator | None = None

    def before_checkpoint(self, runner: Runner) -> None:
        """Gather the states of all processes; the first one saves them."""
        self._states = all_gather_object(_get_states(runner))

    def before_save_checkpoint(
        self, runner: Runner, checkpoint: dict[str, Any]
    ) -> None:
        if self._states is None:  # a `best_*` file: no run resumes from it
            return
        # Within an epoch no validation is due, whatever the epoch's number says.
        within_epoch = (
            isinstance(runner.train_loop, EpochBasedTrainLoop)
            and checkpoint['meta']['epoch'] == runner.epoch
        )
        checkpoint['random_state'] = {
            'processes': self._states,
            'validated': self._validating or within_epoch,
        }
        self._states = None

    def before_val(self, runner: Runner) -> None:
        self._validating = True

    def after_val(self, runner: Runner) -> None:
        self._validating = False

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict[str, Any]) -> None:
        if runner._resume:
            self._saved = checkpoint.get('random_state')
            if self._saved is None:
                runner.logger.warning(
                    'The checkpoint holds no random state: the resumed run will draw '
                    'other random numbers than an uninterrupted one.'
                )

    def before_train(self, runner: Runner) -> None:
        saved, self._saved = self._saved, None
        if saved is None:
            return
        if len(saved['processes']) != runner.world_size:
            runner.logger.warning(
                f'The checkpoint holds the random states of {len(saved["processes"])} '
                f'processes, not of {runner.world_size}: none is restored.'
            )
            return
        _set_states(runner, saved['processes'][runner.rank])
        if not saved['validated'] and _validation_due(runner):
            runner.logger.info('The validation due at this checkpoint is run first.')
            runner.val_loop.run()
        if hasattr(runner.train_loop, 'dataloader_iterator'):
            self._fetching = _RestoringIterator(runner)
            runner.train_loop.dataloader_iterator = self._fetching

    def before_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: DATA_BATCH = None
    ) -> None:
        if self._fetching is not None:
            runner.train_loop.dataloader_iterator = self._fetching.iterator
            self._fetching = None


class _RestoringIterator:
    """The train loop's iterator until its first batch: sets the state at every fetch.

    The host passes over the batches that were trained on before: mmengine 0.10.7 by
    loading each, which draws; 0.10.12 by making the iterator anew, which draws once.

    Args:
        runner: as it stands before the host passes over them.
    """

    def __init__(self, runner: Runner) -> None:
        self.iterator = runner.train_loop.dataloader_iterator
        self._runner = runner
        self._states = _get_states(runner)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.iterator, name)

    def __iter__(self) -> '_RestoringIterator':
        return self

    def __next__(self) -> Any:
        if hasattr(self.iterator, '_ensure_iterator'):
            self.iterator._ensure_iterator()
        _set_states(self._runner, self._states)
        return next(self.iterator)


def _get_states(runner: Runner) -> RandomState:
    model = unwrap(runner.model)
    stream = model.random_stream.state_dict() if is_distiller(model) else None
    return {'default': get_random_state(), 'distiller': stream}


def _set_states(runner: Runner, states: RandomState) -> None:
    model = unwrap(runner.model)
    if is_distiller(model) and states['distiller'] is not None:
        model.random_stream.load_state_dict(states['distiller'])
    set_random_state(states['default'])


def _validation_due(runner: Runner) -> bool:
    """Whether the train loop validates between this step and the next."""
    loop = runner.train_loop
    if runner.val_loop is None or not hasattr(loop, '_decide_current_val_interval'):
        return False
    loop._decide_current_val_interval()
    by_epoch = isinstance(loop, EpochBasedTrainLoop)
    step = loop.epoch if by_epoch else loop.iter
    last = loop.max_epochs if by_epoch else loop.max_iters
    begun: bool = step >= loop.val_begin
    return begun and (step % loop.val_interval == 0 or step == last)
