"""One model that labels images, as its host predicts."""

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from mmengine.config import Config
from mmengine.registry import DATASETS, TRANSFORMS, DefaultScope
from torch import Tensor

from ...config_files import read_config
from ...errors import ConfigError, located
from ...fingerprint import fingerprint, tensors_digest
from ...host_types import HostModule
from ...registry import MODELS
from ...teachers import model_config, without_pretrained
from ...teachers.augmentation import augmented_pipeline
from ...teachers.checkpoints import load_strictly, load_weights
from .fusion import Boxes

_LOADS_LABELS = 'Annotations'  # 'LoadAnnotations', 'LoadPanopticAnnotations'


class Labeller:
    """A detector or segmentor with its weights, and the pipeline of its test.

    Args:
        config: of a training of it, or of a distillation whose student it is.
        checkpoint: of such a training, or its student's.
        augment: whether it sees several views of an image.

    Attributes:
        host: 'mmdet' or 'mmseg'.
        classes: names.
        transforms: of a dict with ``img_path``, to be called in order.
        identity: what its labels depend on.

    Raises: ConfigError, CheckpointError, below the keys ``cfg`` and ``checkpoint``.
    """

    def __init__(self, config: str, checkpoint: str, augment: bool) -> None:
        with located('cfg'):
            cfg = _read(config)
            self.host = _host(cfg)
            with DefaultScope.overwrite_default_scope(self.host):
                steps = _unlabelled(_pipeline(cfg, self.host, augment))
                self.transforms = [TRANSFORMS.build(step) for step in steps]
                model = without_pretrained(model_config(cfg.model))
                self._model: HostModule = MODELS.build(model)
        weights = load_weights(checkpoint, key='checkpoint')
        load_strictly(self._model, weights, 'checkpoint')
        self._model.eval()
        self._check_kind(model)
        self._augment = augment
        self.classes = weights.classes or _classes(cfg)
        self.identity = {
            'model': fingerprint(model),
            'weights': tensors_digest(weights.items())[:16],
            'pipeline': fingerprint(steps),
        }

    def to(self, device: str) -> None:
        """Move it to a device."""
        self._model.to(device)

    def boxes(self, batch: dict[str, Any]) -> list[list[Boxes]]:
        """Of each view and each image: boxes in its pixels, scores and labels."""
        from mmdet.structures.bbox import bbox_flip

        views = []
        for samples in self._predictions(batch):
            images = []
            for sample in samples:
                found, meta = sample.pred_instances, sample.metainfo
                corners = torch.as_tensor(found.bboxes)
                if self._augment and meta.get('flip'):
                    corners = bbox_flip(
                        corners, meta['ori_shape'], meta['flip_direction']
                    )
                images.append((corners.cpu(), found.scores.cpu(), found.labels.cpu()))
            views.append(images)
        return views

    def probs(self, batch: dict[str, Any]) -> list[list[Tensor]]:
        """Of each view and each image: probabilities (K, H, W) of its pixels."""
        return [
            [_probs(sample.seg_logits.data.float()).cpu() for sample in samples]
            for samples in self._predictions(batch)
        ]

    def _predictions(self, batch: dict[str, Any]) -> Iterator[Any]:
        """Data samples of the images, view by view."""
        views = [batch]
        if self._augment:
            numbers = range(len(batch['inputs']))
            views = [
                {key: value[number] for key, value in batch.items()}
                for number in numbers
            ]
        with torch.no_grad(), DefaultScope.overwrite_default_scope(self.host):
            for view in views:
                sizes = {image.shape for image in view['inputs']}
                if len(sizes) == 1 or self.host == 'mmdet':
                    yield self._model.test_step(view)
                    continue
                # A segmentor's preprocessor pads no images of several sizes.
                yield [
                    sample
                    for at in range(len(view['inputs']))
                    for sample in self._model.test_step(
                        {key: value[at : at + 1] for key, value in view.items()}
                    )
                ]

    def _check_kind(self, model: Any) -> None:
        """Refuse what predicts neither boxes nor classes of pixels."""
        heads = {'mmdet': ('bbox_head', 'roi_head'), 'mmseg': ('decode_head',)}
        has_head = any(hasattr(self._model, name) for name in heads[self.host])
        if not has_head or model.type == 'DepthEstimator':
            raise ConfigError(
                f'{model.type} predicts neither boxes nor classes of pixels: a '
                'detector of mmdet or a segmentor of mmsegmentation is expected.',
                'cfg',
            )


def _probs(logits: Tensor) -> Tensor:
    if len(logits) > 1:
        return logits.softmax(dim=0)
    one = logits.sigmoid()  # of a single foreground class
    return torch.cat([1 - one, one])


def _read(config: str) -> Config:
    cfg = read_config(config, '')
    if cfg.get('stages'):
        raise ConfigError(
            f"'{config}' has several stages. Name the config that the training wrote "
            'into the folder of one of them.'
        )
    if 'model' not in cfg:
        raise ConfigError(f"'{config}' defines no model.")
    if 'student' in cfg.model:
        cfg.model = model_config(cfg.model.student)
    elif cfg.get('data_preprocessor'):  # as the host's runner passes it on
        cfg.model.setdefault('data_preprocessor', cfg.data_preprocessor)
    return cfg


def _host(cfg: Config) -> str:
    scope = str(cfg.get('default_scope') or cfg.model.get('_scope_') or '')
    if scope not in ('mmdet', 'mmseg'):
        raise ConfigError(f"expected a config of mmdet or mmseg, got one of '{scope}'.")
    return scope


def _pipeline(cfg: Config, host: str, augment: bool) -> list[Any]:
    if cfg.get('test_dataloader') is None:
        raise ConfigError(
            'has no test_dataloader, whose pipeline says how images are prepared.'
        )
    if augment:
        return augmented_pipeline(cfg, host)
    dataset = cfg.test_dataloader.dataset
    while 'dataset' in dataset:
        dataset = dataset['dataset']
    return list(dataset.pipeline)


def _unlabelled(steps: Sequence[Any]) -> list[Any]:
    """A pipeline without the steps that load labels."""
    kept = []
    for step in steps:
        if str(step['type']).endswith(_LOADS_LABELS):
            continue
        if 'transforms' in step:
            choices = [_unlabelled(choice) for choice in step['transforms']]
            step = {**step, 'transforms': [choice for choice in choices if choice]}
        kept.append(step)
    return kept


def _classes(cfg: Config) -> tuple[str, ...]:
    """Class names of the data that a config tests on."""
    dataset = cfg.test_dataloader.dataset
    while 'dataset' in dataset:
        dataset = dataset['dataset']
    names = (dataset.get('metainfo') or {}).get('classes')
    if names is None:
        kind = dataset.type
        with DefaultScope.overwrite_default_scope(_host(cfg)):
            cls = DATASETS.get(kind) if isinstance(kind, str) else kind
        names = getattr(cls, 'METAINFO', {}).get('classes')
    if names is None:
        raise ConfigError(
            'neither the checkpoint nor the test data say the names of the classes. '
            'Set test_dataloader.dataset.metainfo=dict(classes=(...)).',
            'cfg',
        )
    return tuple(str(name) for name in ([names] if isinstance(names, str) else names))
