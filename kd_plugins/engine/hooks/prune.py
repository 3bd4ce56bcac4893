"""Single weights that are removed before a training, and stay zero in it."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, cast

from mmengine.dist import broadcast, get_world_size
from mmengine.hooks import Hook
from mmengine.runner import Runner
from torch import Tensor, nn

from ...checks import check_choice, check_float, check_int
from ...compression.pruning.masks import (
    Masks,
    lamp_scores,
    magnitude_scores,
    masks_of,
    sparsity_of,
)
from ...compression.pruning.uncertainty import (
    ClassProbs,
    Rows,
    uncertainty_saliency,
)
from ...distillers.interface import is_distiller, unwrap
from ...errors import ConfigError, located
from ...host_types import HostModule
from ...registry import HOOKS
from ._batches import training_batches

METHODS = ('magnitude', 'lamp', 'prue')
_PRUNED = (nn.modules.conv._ConvNd, nn.Linear)
_SEED = 207  # of the images that PrUE looks at, and of what its heads sample


@HOOKS.register_module()
class PruneHook(Hook):
    """Removes the least important weights, once, and trains with the others.

    Before the first iteration, of the weights that were loaded (``load_from``). They
    are zero from then on: their gradients are, and so is what an optimiser adds to
    them. Nothing else of the model changes, so that its checkpoints are the host's.
    A resumed run has the masks that it began with. Weights that are zero already, as
    after an earlier round, are the first that count as removed.

    Of a distillation the student is pruned. A stage that prunes is a training with this
    hook.

    Args:
        method: 'magnitude', over all layers at once; 'lamp', see
            :func:`~kd_plugins.compression.pruning.masks.lamp_scores`; 'prue', see
            :func:`~kd_plugins.compression.pruning.uncertainty.uncertainty_saliency`:
            of a teacher, whose predictions become less certain.
        sparsity: share of the weights that are zero afterwards, from 0 to below 1.
        parts: of the model, whose convolutions and linear layers are pruned.
        images: of the training data, that 'prue' looks at; as the training prepares
            them, in the same way each time.

    Raises: ConfigError for a part that there is not; as of the method.
    """

    priority = 'HIGH'

    def __init__(
        self,
        sparsity: float,
        method: str = 'magnitude',
        parts: tuple[str, ...] = ('backbone', 'neck'),
        images: int = 500,
    ) -> None:
        with located('PruneHook'):
            self.method = check_choice('method', method, METHODS)
            self.sparsity = check_float('sparsity', sparsity)
            if self.sparsity >= 1:
                raise ConfigError(f'sparsity must be below 1, got {sparsity:g}.')
            if not isinstance(parts, (list, tuple)) or not parts:
                raise ConfigError(
                    f"parts must be names, such as ('backbone', 'neck'), got {parts!r}."
                )
            self.parts = tuple(str(part) for part in parts)
            self.images = check_int('images', images)
        self.masks: Masks = {}

    def before_save_checkpoint(
        self, runner: Runner, checkpoint: dict[str, Any]
    ) -> None:
        """Put the masks into the checkpoint of the training."""
        checkpoint['pruning_masks'] = {
            name: mask.bool().cpu() for name, mask in self.masks.items()
        }

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict[str, Any]) -> None:
        """Take them from there, where a training is resumed."""
        if runner._resume:
            self.masks = dict(checkpoint.get('pruning_masks') or {})

    def before_train(self, runner: Runner) -> None:
        """Prune, or go on with the masks of the run that is resumed."""
        model = _pruned_model(runner.model)
        with located('PruneHook'):
            weights = prunable_weights(model, self.parts)
            if not self.masks:
                self.masks = self._masks(runner, model, weights)
        for name, weight in weights.items():
            mask = self.masks[name] = self.masks[name].to(weight)
            _hold(weight, mask)
        share = sparsity_of(self.masks)
        runner.logger.info(
            f'PruneHook: {100 * share:.2f} % of the weights of {", ".join(self.parts)} '
            f'are zero, by {self.method}.'
        )

    def _masks(
        self, runner: Runner, model: HostModule, weights: dict[str, nn.Parameter]
    ) -> Masks:
        if self.method == 'prue':
            scores = self._saliency(runner, model, weights)
        else:
            score = lamp_scores if self.method == 'lamp' else magnitude_scores
            scores = {name: score(weight) for name, weight in weights.items()}
        masks = masks_of(scores, self.sparsity)
        for mask in masks.values():
            broadcast(mask)
        return masks

    def _saliency(
        self, runner: Runner, model: HostModule, weights: dict[str, nn.Parameter]
    ) -> dict[str, Tensor]:
        size = runner.cfg.train_dataloader.get('batch_size') or 1
        number = -(-self.images // (size * get_world_size()))
        device = next(model.parameters()).device

        with _as_it_predicts(model, weights.values()):
            probs = ClassProbs(model)

            def batches() -> Iterator[Rows]:
                for data in training_batches(runner, number, _SEED):
                    data = model.data_preprocessor(data, training=True)
                    yield probs(data['inputs'].to(device), data['data_samples'])

            return uncertainty_saliency(batches, weights, probs.number)


def prunable_weights(
    model: HostModule, parts: tuple[str, ...]
) -> dict[str, nn.Parameter]:
    """Weights of the convolutions and linear layers of parts of a model, by name.

    Args:
        model: of the host.
        parts: names; the neck may be missing, as segmentors mostly have none.

    Raises: ConfigError for another part that is missing; if nothing is left.
    """
    weights: dict[str, nn.Parameter] = {}
    for part in parts:
        module = getattr(model, part, None)
        if module is None and part == 'neck':
            continue
        if not isinstance(module, nn.Module):
            there = [name for name, _ in model.named_children()]
            raise ConfigError(
                f"{type(model).__name__} has no '{part}', but {there}.", 'parts'
            )
        for name, layer in module.named_modules():
            if isinstance(layer, _PRUNED):
                path = '.'.join(each for each in (part, name, 'weight') if each)
                weights[path] = cast(nn.Parameter, layer.weight)
    if not weights:
        raise ConfigError(
            f'there is no convolution and no linear layer in {list(parts)}.', 'parts'
        )
    return weights


def _pruned_model(model: nn.Module) -> HostModule:
    found: Any = unwrap(model)
    return found.student if is_distiller(found) else found


def _hold(weight: nn.Parameter, mask: Tensor) -> None:
    """Remove weights for good: what has no gradient, and is zero, stays zero."""
    weight.data.mul_(mask)
    if weight.requires_grad:
        weight.register_hook(lambda gradient: gradient * mask)


@contextmanager
def _as_it_predicts(model: nn.Module, weights: Any) -> Iterator[None]:
    """In ``eval()``, with a gradient of the weights alone; afterwards as before."""
    training = {layer: layer.training for layer in model.modules()}
    gradients = {each: each.requires_grad for each in model.parameters()}
    model.eval()
    for each in gradients:
        each.requires_grad_(False)
    for each in weights:
        each.requires_grad_(True)
    try:
        yield
    finally:
        for layer, mode in training.items():
            layer.training = mode
        for each, needed in gradients.items():
            each.requires_grad_(needed)
