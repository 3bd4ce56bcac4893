"""The frozen model that teaches."""

import copy
from collections.abc import Sequence
from typing import Any

import torch
from mmengine.config import ConfigDict
from mmengine.logging import print_log
from torch import Tensor, nn

from ..checks import check_float
from ..config_files import read_config
from ..errors import ConfigError, nearest
from ..random_stream import RandomStream
from ..registry import MODELS
from .checkpoints import check_classes, load_strictly, load_weights
from .class_map import ClassMap, read_class_map
from .preprocess import InputTranslator

_KEYS = ('cfg', 'model', 'checkpoint', 'allow_random', 'input_scale', 'class_map')
# Where a model of this seed draws its weights from, with allow_random.
_SEED = 20170


def model_config(cfg: dict[str, Any], where: str) -> ConfigDict:
    """Model configuration of ``dict(cfg='mmdet::...')``, or a model dict itself.

    Args:
        cfg: a dict with ``cfg`` (a configuration file), whose other keys are merged
            into its model; or with a model's ``type``.
        where: configuration key, for messages.

    Returns: a copy, with the scope in which its types are to be looked up.
    """
    if not isinstance(cfg, dict) or 'cfg' not in cfg:
        if not isinstance(cfg, dict) or 'type' not in cfg:
            got = f'the keys {sorted(cfg)}' if isinstance(cfg, dict) else repr(cfg)
            raise ConfigError(
                f"{where} must be a model (a dict with 'type') or dict(cfg="
                f"'mmdet::...'), got {got}."
            )
        return ConfigDict(copy.deepcopy(cfg))
    whole = read_config(cfg['cfg'], f'{where}.cfg')
    if 'model' not in whole:
        raise ConfigError(f"{where}.cfg: '{cfg['cfg']}' defines no model.")
    if whole.get('data_preprocessor'):  # as the host's runner passes it on
        whole.model.setdefault('data_preprocessor', whole.data_preprocessor)
    changes = {key: value for key, value in cfg.items() if key != 'cfg'}
    if changes:
        whole.merge_from_dict({'model': copy.deepcopy(changes)})
    model = ConfigDict(whole.model)
    if whole.get('default_scope'):
        model.setdefault('_scope_', whole.default_scope)
    return model


def without_pretrained(cfg: Any) -> Any:
    """A copy of a configuration without ``init_cfg`` entries that load weights."""
    if isinstance(cfg, dict):
        return type(cfg)(
            {
                key: without_pretrained(value)
                for key, value in cfg.items()
                if not (key == 'pretrained' or (key == 'init_cfg' and _loads(value)))
            }
        )
    if isinstance(cfg, (list, tuple)):  # also a list of several init_cfg
        return type(cfg)(without_pretrained(item) for item in cfg if not _loads(item))
    return cfg


def _loads(init_cfg: Any) -> bool:
    return isinstance(init_cfg, dict) and init_cfg.get('type') == 'Pretrained'


class Teacher:
    """A teacher: in ``eval()``, without gradient, and no module of the student's.

    It is a plain object on purpose: so it is in no ``state_dict``, optimiser or DDP
    bucket; and a deep copy (an EMA model's) shares it.

    Args:
        name: under which pairs ask for it.
        cfg: ``cfg`` (a configuration file) or ``model`` (a model dict);
            ``checkpoint``, loaded at the first ``loss``; ``allow_random`` for tests;
            ``input_scale``, the size of its input over that of the student;
            ``class_map``, where it knows other classes than the student, see
            :func:`~kd_plugins.teachers.class_map.read_class_map`.
        where: configuration key, for messages.
    """

    def __init__(self, name: str, cfg: dict[str, Any], where: str) -> None:
        unknown = [key for key in cfg if key not in _KEYS]
        if unknown:
            raise ConfigError(
                f"{where}: no argument '{unknown[0]}'. {nearest(unknown[0], _KEYS)}"
            )
        if ('cfg' in cfg) == ('model' in cfg):
            raise ConfigError(
                f"{where} needs either cfg='<configuration file>' or model=dict(...), "
                f'got the keys {sorted(cfg)}.'
            )
        self.name = name
        self.where = where
        self.checkpoint: str | None = cfg.get('checkpoint')
        self.scale = check_float(
            f'{where}.input_scale', cfg.get('input_scale', 1.0), strict=True
        )
        self.class_map: ClassMap | None = None
        if cfg.get('class_map') is not None:
            self.class_map = read_class_map(cfg['class_map'], f'{where}.class_map')
        if self.checkpoint is None and not cfg.get('allow_random', False):
            raise ConfigError(
                f"{where}: teacher '{name}' has no checkpoint, and a random teacher "
                f"teaches nothing. Set {where}.checkpoint='...pth'."
            )
        source = {'cfg': cfg['cfg']} if 'cfg' in cfg else cfg['model']
        self.config = without_pretrained(model_config(source, where))
        self.model: Any = MODELS.build(self.config)
        self.model.eval()
        for parameter in self.model.parameters():
            parameter.requires_grad_(False)
        self.loaded = False
        # Class names: those of the weights, where they tell, and those of the data,
        # or what the map says that they are.
        self._classes: Sequence[str] | None = None
        self._expected: Sequence[str] | None = (
            self.class_map.teacher if self.class_map is not None else None
        )
        self._translators: dict[int, InputTranslator] = {}

    def __deepcopy__(self, memo: dict[int, Any]) -> 'Teacher':
        return self

    def prepare(self, device: torch.device) -> nn.Module:
        """Load the weights, the first time, and move to the student's device."""
        if not self.loaded:
            if self.checkpoint is None:
                with RandomStream(_SEED).active():
                    self.model.init_weights()
            else:
                key = f'{self.where}.checkpoint'
                weights = load_weights(self.checkpoint, key=key)
                load_strictly(self.model, weights, key, classes=self._expected)
                self._classes = weights.classes
                print_log(
                    f"Teacher '{self.name}' loaded from {self.checkpoint}", 'current'
                )
            self.model.eval()
            self.loaded = True
        self.to(device)
        return self.model  # type: ignore[no-any-return]

    def set_class_names(self, names: Sequence[str]) -> None:
        """Tell the class names of the data; compared at once with weights loaded.

        With a class map, compared with the student's there; the weights are with the
        teacher's, whenever they are loaded.

        Raises: CheckpointError if the weights were trained for others; ConfigError if
            the map was made for others.
        """
        if self.class_map is not None:
            if self.class_map.student != tuple(names):
                raise ConfigError(
                    f'{self.class_map.where}.student must be the classes of the data, '
                    f'in the same order: {list(names)}, got '
                    f'{list(self.class_map.student)}.'
                )
            return
        self._expected = tuple(names)
        source = f"{self.where}.checkpoint: '{self.checkpoint}'"
        check_classes(self._classes, self._expected, source)

    def to(self, device: torch.device) -> None:
        """Move weights and preprocessor; never the data type."""
        if next(self.model.parameters()).device != device:
            self.model.to(device)

    def inputs(
        self, inputs: Tensor, data_samples: list[Any], student_preprocessor: Any
    ) -> tuple[Tensor, tuple[int, int]]:
        """The batch as the teacher's own preprocessing would give it.

        Args:
            inputs: preprocessed for the student.
            data_samples: of the batch.
            student_preprocessor: what preprocessed it.

        Returns: (N, 3, H, W), in the teacher's data type, and the height and width
            without the padding that is the teacher's alone.
        """
        key = id(student_preprocessor)
        if key not in self._translators:
            self._translators[key] = InputTranslator(
                student_preprocessor, self.model.data_preprocessor, self.scale
            )
        translator = self._translators[key]
        own = translator(inputs.detach(), data_samples)
        dtype = next(self.model.parameters()).dtype
        return own.to(dtype), translator.unpadded(inputs)

    def describe(self) -> str:
        """Kind, size and where the weights come from."""
        number = sum(parameter.numel() for parameter in self.model.parameters())
        source = self.checkpoint or 'random weights (allow_random)'
        parts = [type(self.model).__name__, f'{number / 1e6:.2f} M parameters', source]
        if self.class_map is not None:
            parts.append(self.class_map.describe())
        return ', '.join(parts)


def build_teachers(cfg: dict[str, Any], where: str) -> dict[str, Teacher]:
    """Teachers by name, of one dict or of a dict of named ones."""
    if any(key in cfg for key in _KEYS) or not cfg:
        return {'teacher': Teacher('teacher', cfg, where)}
    for name, entry in cfg.items():
        if not isinstance(entry, dict):
            raise ConfigError(
                f'{where}.{name} must be a dict with cfg or model, got {entry!r}. '
                f'{nearest(name, _KEYS)}'
            )
    return {
        name: Teacher(name, entry, f'{where}.{name}') for name, entry in cfg.items()
    }
