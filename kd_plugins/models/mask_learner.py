"""The first stage of masked distillation: what of a teacher's features does it need?"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from mmengine.model import BaseModel
from torch import Tensor, nn

from ..checks import check_float, check_int
from ..errors import (
    ConfigError,
    DistillationError,
    collected,
    located,
    nearest,
    raise_together,
)
from ..host_types import HostModule
from ..losses._tokens import ReceptiveTokens
from ..losses.maskd import mask_overlap
from ..recorders import find_layer
from ..registry import MODELS
from ..teachers import Teacher
from ..views import LayerView, Probe
from ..views.binding import bind

# A map after the other: masked, and its masks.
Masked = list[tuple[Tensor, Tensor]]
_KEYS = ('layer', 'tokens', 'weighted')


@MODELS.register_module()
class MaskLearner(BaseModel):
    """A frozen teacher that sees its own features through masks, which alone learn.

    Trained like any model, with the teacher's own losses and the overlap of the masks;
    validated, it gives the score of the masked teacher. Its checkpoint holds
    ``masks.*`` and nothing of the teacher; :class:`~kd_plugins.losses.MasKDLoss` reads
    it in the second stage, the distillation. The teacher stays in ``eval()``, losses
    included.

    Args:
        teacher: as of a Distiller; one, without ``input_scale``, ``class_map``,
            ``fast`` and ``cache``.
        masks: by name, mostly that of the pair that will use them:
            ``dict(layer='neck')``, and ``tokens``, how many masks (default 6), and
            ``weighted``, whether it is learned how much each counts (default True). The
            masked outputs of the layer take the place of its own, level by level.
        overlap_weight: factor of :func:`~kd_plugins.losses.mask_overlap`, >= 0.
        data_preprocessor: the teacher's, where its own configuration has none: the
            host's runner hands over that of the whole configuration.

    Raises: ConfigError for a configuration that cannot work, all faults of the masks in
        one message.

    Source: Huang et al., Masked Distillation with Receptive Tokens, ICLR 2023,
        https://arxiv.org/abs/2205.14589.
    """

    def __init__(
        self,
        teacher: dict[str, Any],
        masks: dict[str, dict[str, Any]],
        overlap_weight: float = 1.0,
        data_preprocessor: dict[str, Any] | None = None,
    ) -> None:
        if data_preprocessor is not None and 'model' in teacher:
            model = {'data_preprocessor': data_preprocessor, **teacher['model']}
            teacher = {**teacher, 'model': model}
        with located('model.teacher'):
            frozen = Teacher('teacher', teacher)
        for key in ('input_scale', 'class_map'):
            if teacher.get(key) is not None:
                raise ConfigError(
                    f'model.teacher.{key}: no student is here to differ. Remove it.'
                )
        for key in ('fast', 'cache'):
            if teacher.get(key, False) is not False:
                raise ConfigError(
                    f'model.teacher.{key}: gradients pass through this teacher, which '
                    'runs in every step, as it is. Remove it.'
                )
        super().__init__(frozen.model.data_preprocessor)
        # A plain object: in no state_dict, optimiser, EMA copy or DDP bucket.
        self.teacher = frozen
        self.overlap_weight = check_float('model.overlap_weight', overlap_weight)
        with located('model.masks'):
            self._layers, built = _build_masks(masks, frozen.model)
        self.masks = nn.ModuleDict(built)  # MasKDLoss looks for them by this name
        self._checked = False

    def forward(
        self, inputs: Any, data_samples: Any = None, mode: str = 'tensor'
    ) -> Any:
        """What the masked teacher gives in this mode; its losses with the overlap's.

        Raises: DistillationError for a layer that gives its maps one by one, or that
            the losses do not depend on.
        """
        teacher: HostModule = self.teacher.prepare(next(self.parameters()).device)
        masked_levels: dict[str, Masked] = {}
        with ExitStack() as stack:
            for name, levels in self.masks.items():
                masked_levels[name] = stack.enter_context(
                    self._masking(teacher, name, [*levels.children()])
                )
            result = teacher(inputs, data_samples, mode=mode)
        if mode != 'loss':
            return result
        if not self._checked and torch.is_grad_enabled():
            self._check_alive(result, masked_levels)
            self._checked = True
        for name, masked in masked_levels.items():
            overlap = torch.stack([mask_overlap(masks) for _, masks in masked]).sum()
            result[f'loss_overlap_{name}'] = self.overlap_weight * overlap
        return result

    @contextmanager
    def _masking(
        self, teacher: nn.Module, name: str, tokens: Sequence[nn.Module]
    ) -> Iterator[Masked]:
        """Mask what a layer gives, within the block; yields that, map by map."""
        path = self._layers[name]
        masked_maps: Masked = []

        def replace(module: nn.Module, args: Any, output: Any) -> Any:
            several = isinstance(output, (list, tuple))
            maps = output if several else [output]
            if len(maps) != len(tokens):
                raise DistillationError(
                    f"model.masks.{name}.layer: '{path}' gives {len(tokens)} maps, but "
                    f'{len(maps)} at a time. Choose a layer that gives all of them at '
                    "once, such as 'neck'."
                )
            masked = [
                token(feature) for token, feature in zip(tokens, maps, strict=True)
            ]
            masked_maps.extend(masked)
            features = [feature for feature, _ in masked]
            return type(output)(features) if several else features[0]

        handle = teacher.get_submodule(path).register_forward_hook(replace)
        try:
            yield masked_maps
        finally:
            handle.remove()

    def _check_alive(self, losses: Any, masked_levels: Mapping[str, Masked]) -> None:
        """Once: masks that the task does not feel would learn nothing of it."""
        total, _ = self.parse_losses(dict(losses))
        for name, masked in masked_levels.items():
            features = [feature for feature, _ in masked]
            gradients: Sequence[Tensor | None] = ()
            if total.requires_grad and features:
                gradients = torch.autograd.grad(
                    total, features, retain_graph=True, allow_unused=True
                )
            if not gradients or any(gradient is None for gradient in gradients):
                raise DistillationError(
                    f"model.masks.{name}.layer: '{self._layers[name]}', or one of its "
                    "levels, takes no part in the teacher's losses. Choose another "
                    'layer.'
                )


def _build_masks(
    cfg: object, teacher: HostModule
) -> tuple[dict[str, str], dict[str, nn.ModuleDict]]:
    """Layers by name, and for each of their levels the tokens."""
    if not isinstance(cfg, dict) or not cfg:
        raise ConfigError(
            f"must be a dict such as dict(neck=dict(layer='neck')), got {cfg!r}."
        )
    layers: dict[str, str] = {}
    built: dict[str, nn.ModuleDict] = {}
    faults: list[ConfigError] = []
    for name, entry in cfg.items():
        with collected(faults), located(name):
            layers[name], built[name] = _build(name, entry, teacher)
    twice = [name for name in layers if [*layers.values()].count(layers[name]) > 1]
    if twice:
        faults.append(
            ConfigError(f'{" and ".join(twice)} mask the same layer. Remove one.')
        )
    raise_together(faults)
    return layers, built


def _build(name: str, cfg: object, teacher: HostModule) -> tuple[str, nn.ModuleDict]:
    if '.' in name or not name or hasattr(nn.ModuleDict, name):
        raise ConfigError(
            f"'{name}' cannot be the name of masks: it may hold no dots, nor be the "
            'name of a method of ModuleDict. Rename it.'
        )
    if not isinstance(cfg, dict) or 'layer' not in cfg:
        raise ConfigError(f"must be dict(layer='...'), got {cfg!r}.")
    unknown = [key for key in cfg if key not in _KEYS]
    if unknown:
        raise ConfigError(f"no key '{unknown[0]}'. {nearest(unknown[0], _KEYS)}")
    count = check_int('tokens', cfg.get('tokens', 6))
    layer = str(cfg['layer'])
    with located('layer'):
        find_layer(teacher, layer)
    bound, _ = bind(LayerView(layer), Probe(teacher, teacher))
    tokens = nn.ModuleDict()
    for spec in bound.tensors:
        if bound.maps is None or len(spec.teacher) != 4:
            raise ConfigError(
                f"'{layer}' gives {spec.teacher}, expected maps of whole images (N, C, "
                'H, W). Choose a layer of the backbone, the neck or a dense head.',
                key='layer',
            )
        weighted = bool(cfg.get('weighted', True))
        level = str(spec.context.level)
        tokens[level] = ReceptiveTokens(spec.teacher[1], count, weighted)
    return layer, tokens
