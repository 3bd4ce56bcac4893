"""The frozen model that teaches."""

import copy
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import torch
from mmengine.config import ConfigDict
from mmengine.logging import print_log
from torch import Tensor

from ..checks import check_bool, check_float
from ..config_files import read_config
from ..errors import ConfigError, located, nearest
from ..fingerprint import fingerprint, tensors_digest
from ..host_types import HostModule
from ..inner_models import image_preprocessor, inner_path
from ..random_stream import RandomStream
from ..registry import MODELS
from ..schedules import Clock
from ..signatures import arguments
from .cache import TeacherCache, check_batch_augments, read_cache_options
from .checkpoints import check_classes, load_strictly, load_weights
from .class_map import ClassMap, read_class_map
from .fast import AUTO, read_fast
from .fast_teacher import FastTeacher
from .preprocess import InputTranslator, Translator, resized

_KEYS = (
    *('cfg', 'model', 'checkpoint', 'checkpoint_prefix', 'allow_random'),
    *('input_scale', 'class_map', 'cache', 'fast'),
)
# Where a model of this seed draws its weights from, with allow_random.
_SEED = 20170
_LARGEST_SCALE = 16


def model_config(cfg: dict[str, Any], beside: Sequence[str] = ()) -> ConfigDict:
    """Model configuration of ``dict(cfg='mmdet::...')``, or a model dict itself.

    Args:
        cfg: a dict with ``cfg`` (a configuration file), whose other keys are merged
            into its model; or with a model's ``type``.
        beside: further keys that may stand beside ``cfg``, and are not the model's.

    Returns: a copy, with the scope in which its types are to be looked up.
    Raises: ConfigError for what is no model; for a key beside ``cfg`` that neither the
        model in the file has nor its class takes.
    """
    if not isinstance(cfg, dict) or 'cfg' not in cfg:
        if not isinstance(cfg, dict) or not _is_kind(cfg.get('type')):
            got = f'the keys {sorted(cfg)}' if isinstance(cfg, dict) else repr(cfg)
            raise ConfigError(
                "must be a model (a dict with 'type') or dict(cfg='mmdet::...'), got "
                f'{got}.'
            )
        return ConfigDict(copy.deepcopy(cfg))
    whole = read_config(cfg['cfg'], 'cfg')
    if 'model' not in whole:
        raise ConfigError(f"'{cfg['cfg']}' defines no model.", key='cfg')
    if whole.get('data_preprocessor'):  # as the host's runner passes it on
        whole.model.setdefault('data_preprocessor', whole.data_preprocessor)
    scope = whole.get('default_scope')
    changes = {key: value for key, value in cfg.items() if key not in ('cfg', *beside)}
    if changes:
        _check_changes(changes, whole.model, scope, beside)
        whole.merge_from_dict({'model': copy.deepcopy(changes)})
    model = ConfigDict(whole.model)
    if scope:
        model.setdefault('_scope_', scope)
    return model


def _is_kind(kind: object) -> bool:
    """Whether it may name a class: a text, a class, or a function that builds."""
    return isinstance(kind, str) or callable(kind)


def _check_changes(
    changes: dict[str, Any], model: ConfigDict, scope: str | None, beside: Sequence[str]
) -> None:
    """Refuse keys that mean nothing to a model."""
    kind = changes.get('type', model.get('type'))
    with MODELS.switch_scope_and_registry(changes.get('_scope_', scope)) as registry:
        cls = registry.get(kind) if isinstance(kind, str) else kind
    choices = [*beside, *model, '_scope_', *(arguments(cls) if cls is not None else ())]
    for key in changes:
        if key not in choices:
            name = getattr(cls, '__name__', kind)
            raise ConfigError(
                f"the {name} of 'cfg' has no '{key}'. {nearest(key, choices)}"
            )


def without_pretrained(cfg: object) -> Any:
    """A copy of a configuration without what loads weights: ``init_cfg``, or others."""
    if isinstance(cfg, dict):
        kept = {key: value for key, value in cfg.items() if key != 'pretrained'}
        initial = kept.get('init_cfg')
        if _loads(initial):
            del kept['init_cfg']
        elif isinstance(initial, (list, tuple)):
            kept['init_cfg'] = [item for item in initial if not _loads(item)]
        return type(cfg)({key: without_pretrained(item) for key, item in kept.items()})
    if isinstance(cfg, (list, tuple)):
        return type(cfg)(without_pretrained(item) for item in cfg)
    return cfg


def _loads(init_cfg: object) -> bool:
    # Backbones such as PVT take a checkpoint without a type.
    return isinstance(init_cfg, dict) and 'checkpoint' in init_cfg


class Teacher:
    """A teacher: in ``eval()``, without gradient, and no module of the student's.

    It is a plain object on purpose: so it is in no ``state_dict``, optimiser or DDP
    bucket; and a deep copy (an EMA model's) shares it.

    Args:
        name: under which pairs ask for it.
        cfg: ``cfg`` (a configuration file), and beside it what is merged into its
            model, such as ``bbox_head=dict(num_classes=3)``; or ``model`` (a model
            dict). ``checkpoint``, loaded at the first ``loss``; ``allow_random`` for
            tests; ``checkpoint_prefix``, such as 'teacher.', for a file that holds
            several models: that of the entries that are meant; ``input_scale``, the
            size of its input over that of the student; ``class_map``, where it knows
            other classes than the student, see
            :func:`~kd_plugins.teachers.class_map.read_class_map`; ``cache``, to store
            what pairs read of it, see
            :class:`~kd_plugins.teachers.cache.CacheOptions`; ``fast``, whether a faster
            copy of it runs, see :func:`~kd_plugins.teachers.fast.read_fast`; of a
            cached teacher never.
        student_preprocessor: the student's data preprocessor, whose images it will
            see; None for its own.

    Attributes:
        key: its configuration key, for what goes wrong after it was built.
        model: the model, of a tracker or a semi-supervised detector the one inside it;
            its weights are not there before :meth:`prepare`.
        inner_path: where that lies in what the configuration builds; '' for itself.
        scale: ``input_scale``.
        class_map: the classes that it shares with the student; None for all.
        cache: what it gave for each seeded view, on disk; None for none.
        fast: its faster copy, and whether that is used.
        checkpoint: path of its weights; None for random ones.
        loaded: whether the weights are there.

    Class attributes:
        keys: what a configuration may hold, beside changes of its model.
        same_images: whether it sees the images of the student, as its own preprocessing
            would give them.

    Raises: ConfigError, with the key below its own.
    """

    keys: ClassVar[tuple[str, ...]] = _KEYS
    same_images: ClassVar[bool] = True

    def __init__(
        self,
        name: str,
        cfg: dict[str, Any],
        student_preprocessor: HostModule | None = None,
    ) -> None:
        self.name = name
        self.key = 'model.teacher'
        model = self._model_of(cfg)
        self.checkpoint = text_or_none('checkpoint', cfg)
        self._prefix = text_or_none('checkpoint_prefix', cfg)
        self.scale = check_float(
            'input_scale', cfg.get('input_scale', 1.0), strict=True
        )
        if not 1 / _LARGEST_SCALE <= self.scale <= _LARGEST_SCALE:
            raise ConfigError(
                f'input_scale must be between 1/{_LARGEST_SCALE} and {_LARGEST_SCALE}, '
                f'got {self.scale:g}.'
            )
        self.class_map: ClassMap | None = None
        if cfg.get('class_map') is not None:
            with located('class_map'):
                self.class_map = read_class_map(cfg['class_map'])
        self._check_weights(cfg)
        self.config = without_pretrained(model)
        self._built: HostModule = MODELS.build(self.config)
        self._built.eval()
        for parameter in self._built.parameters():
            parameter.requires_grad_(False)
        self.inner_path = inner_path(self._built)
        self.model: HostModule = self._built.get_submodule(self.inner_path)
        self.loaded = False
        # Class names: those of the weights, where they tell, and those of the data,
        # or what the map says that they are.
        self._classes: Sequence[str] | None = None
        self._expected: Sequence[str] | None = (
            self.class_map.teacher if self.class_map is not None else None
        )
        preprocessor = image_preprocessor(self._built)
        self.cache: TeacherCache | None = None
        with located('cache'):
            options = read_cache_options(cfg.get('cache'))
            if options is not None:
                check_batch_augments(student_preprocessor or preprocessor)
                self.cache = TeacherCache(options, self)
        fast = cfg.get('fast', AUTO)
        if self.cache is not None:
            if fast not in (AUTO, False):
                raise ConfigError(
                    'a cached teacher runs once, as it is. Remove fast or cache.',
                    key='fast',
                )
            fast = False
        self.fast = FastTeacher(read_fast(fast))
        self._translator = self._translator_of(preprocessor, student_preprocessor)

    def _check_weights(self, cfg: dict[str, Any]) -> None:
        """Refuse a teacher of random weights, but in a test."""
        allow_random = check_bool('allow_random', cfg.get('allow_random', False))
        if self.checkpoint is None and not allow_random:
            raise ConfigError(
                f"teacher '{self.name}' has no checkpoint, and a random teacher "
                "teaches nothing. Set checkpoint='...pth' beside its cfg or model."
            )

    def _translator_of(
        self, preprocessor: HostModule, student_preprocessor: HostModule | None
    ) -> Translator:
        """What makes its inputs of the student's batch."""
        return InputTranslator(
            preprocessor if student_preprocessor is None else student_preprocessor,
            preprocessor,
            self.scale,
        )

    @classmethod
    def _model_of(cls, cfg: dict[str, Any]) -> ConfigDict:
        """The model of a configuration, of either way to write it."""
        if ('cfg' in cfg) == ('model' in cfg):
            raise ConfigError(
                "needs either cfg='<configuration file>' or model=dict(...), got the "
                f'keys {sorted(cfg)}.'
            )
        if 'cfg' in cfg:
            return model_config(cfg, beside=cls.keys)
        unknown = [key for key in cfg if key not in cls.keys]
        if unknown:
            raise ConfigError(
                f"no argument '{unknown[0]}'. {nearest(unknown[0], cls.keys)} What "
                'belongs to the model is written within model=dict(...).'
            )
        with located('model'):
            return model_config(cfg['model'])

    def put_under(self, key: str) -> None:
        """Say which configuration key is its own."""
        self.key = key

    def __deepcopy__(self, memo: dict[int, Any]) -> 'Teacher':
        return self

    def prepare(self, device: torch.device) -> HostModule:
        """Load the weights, the first time, and move to the student's device."""
        if not self.loaded:
            if self.checkpoint is None:
                with RandomStream(_SEED).active():
                    self._built.init_weights()
            else:
                self._load(self.checkpoint, f'{self.key}.checkpoint')
            self._built.eval()
            self.loaded = True
        self.to(device)
        return self.model

    def _load(self, checkpoint: str, key: str) -> None:
        """Take the weights of a checkpoint, of this configuration key."""
        weights = load_weights(checkpoint, key=key, prefix=self._prefix)
        load_strictly(self._built, weights, key, classes=self._expected)
        self._classes = weights.classes
        print_log(f"Teacher '{self.name}' loaded from {checkpoint}", 'current')

    def set_clock(self, clock: Clock | None) -> None:
        """Tell how far training is, before it runs: its weights may follow.

        Args:
            clock: None where it is not known.

        Raises: ConfigError for a teacher that cannot do without.
        """

    def running(self) -> HostModule:
        """The model that runs in a step: the plain one, or its fast copy."""
        device = next(self.model.parameters()).device
        if not self.fast.is_used(device):
            return self.model
        return self.fast.copy_of(self.model, device).model

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
                    'must be the classes of the data, in the same order: '
                    f'{list(names)}, got {list(self.class_map.student)}.',
                    key=f'{self.key}.class_map.student',
                )
            return
        self._expected = tuple(names)
        source = f"{self.key}.checkpoint: '{self.checkpoint}'"
        check_classes(self._classes, self._expected, source)

    def to(self, device: torch.device) -> None:
        """Move weights and preprocessor; never the data type."""
        if next(self.model.parameters()).device != device:
            self._built.to(device)
            self.fast.forget()

    def inputs(
        self, inputs: Tensor, data_samples: Sequence[Any]
    ) -> tuple[Tensor, tuple[int, int]]:
        """The batch as the teacher's own preprocessing would give it.

        Args:
            inputs: (N, C, H, W), preprocessed for the student.
            data_samples: of the batch.

        Returns: (N, C, H', W'), in the teacher's data type, and the height and width
            without the padding that is the teacher's alone.
        """
        with located(self.key):
            translated = self._translator(inputs.detach(), data_samples)
        dtype = next(self.model.parameters()).dtype
        return translated.to(dtype), self._translator.unpadded(inputs)

    def images(self, batch: Mapping[str, Any]) -> list[Tensor] | None:
        """The images (C, H, W) of a batch that it sees, as the host's loader gives it.

        Args:
            batch: 'inputs' and 'data_samples' of the loader.

        Returns: for its own preprocessor; None: those of the batch, as they are.
        """
        if self.scale == 1:
            return None
        return [resized(image.float(), self.scale) for image in batch['inputs']]

    def identity(self) -> dict[str, Any]:
        """What the tensors that it gives depend on, once its weights are there."""
        return {
            'kind': type(self.model).__name__,
            'config': fingerprint(self.config),
            'weights': tensors_digest(self.model.state_dict().items()),
            'inputs': self._translator.identity(),
        }

    def runs(self, parts: Sequence[str], device: torch.device) -> str:
        """What of it runs in a step, for the summary.

        Args:
            parts: of the model that pairs need.
            device: on which it will run.
        """
        fast = self.fast.describe(device)
        return f'runs its {", ".join(parts)}{fast}; never losses, assigners or NMS'

    @property
    def source(self) -> str:
        """Where the weights come from, for the summary."""
        return self.checkpoint or 'random weights (allow_random)'

    def describe(self) -> str:
        """Kind, size and where the weights come from."""
        number = sum(parameter.numel() for parameter in self.model.parameters())
        kind = type(self.model).__name__
        if self.inner_path:
            kind += f" ('{self.inner_path}' of {type(self._built).__name__})"
        parts = [kind, f'{number / 1e6:.2f} M parameters', self.source]
        if self.class_map is not None:
            parts.append(self.class_map.describe())
        if self.cache is not None:
            parts.append(f'cached in {self.cache.options.folder}')
        return ', '.join(parts)


def text_or_none(key: str, cfg: dict[str, Any]) -> str | None:
    """A text in a configuration; None where there is none.

    Raises: ConfigError for anything else.
    """
    value = cfg.get(key)
    if value is not None and not (isinstance(value, (str, Path)) and str(value)):
        raise ConfigError(f'must be a text, or None, got {value!r}.', key)
    return None if value is None else str(value)
