"""Models around a model: trackers, and detectors that learn from unlabelled images."""

from collections.abc import Iterable
from typing import cast

from .errors import ConfigError
from .host_types import HostModule

_DETECTOR = 'detector'
# What their training shows them, by the names of their classes: of mmseg alone, where
# mmdet is not installed, there are none to import.
_SEMI_SUPERVISED = 'SemiBaseDetector'
_VIDEO = 'Mask2FormerVideo'
_CLIPS = ('QDTrack', 'MaskTrackRCNN', _VIDEO)
_NOT_TRAINED = 'DeepSORT'
_ON_CLIPS = (
    'is trained on clips, key frames with reference frames, and its teacher is shown '
    'single images.'
)
_LOAD_FROM = "load_from='student_*.pth'"
_INIT_CFG = "detector.init_cfg=dict(type='Pretrained', checkpoint='student_*.pth')"


def inner_path(model: HostModule) -> str:
    """Where within a model the one lies that computes the features of images.

    Returns: 'detector' of a tracker; 'teacher' or 'student' of a semi-supervised
        detector, whichever it predicts by; '' for a model that does so itself.
    """
    if _computes_features(model):
        return ''
    inside = [
        name for name, child in model.named_children() if _computes_features(child)
    ]
    semi_test_cfg = getattr(model, 'semi_test_cfg', None)
    preferred = _DETECTOR
    if semi_test_cfg is not None:
        preferred = semi_test_cfg.get('predict_on', 'teacher')
    if preferred in inside:
        return preferred
    return inside[0] if len(inside) == 1 else ''


def inner_model(model: HostModule) -> HostModule:
    """The model at :func:`inner_path`."""
    return cast(HostModule, model.get_submodule(inner_path(model)))


def without_prefix(layer: str, model: HostModule, prefixes: Iterable[str]) -> str:
    """A layer's name in an inner model, of its name in the model around that.

    Args:
        layer: dotted name, such as 'detector.neck', or 'neck'.
        model: the inner model, or a plain one.
        prefixes: paths of inner models that the name may begin with.
    """
    first, _, rest = layer.partition('.')
    if rest and first in prefixes and not hasattr(model, first):
        return rest
    return layer


def image_preprocessor(model: HostModule) -> HostModule:
    """What prepares a single batch of images, of several by name where there are."""
    preprocessor: HostModule = model.data_preprocessor
    return getattr(preprocessor, 'data_preprocessor', preprocessor)


def check_trains_on_images(student: HostModule) -> None:
    """Refuse a student whose losses are of more than one batch of images.

    Raises: ConfigError saying why, and what to do instead.
    """
    name = type(student).__name__
    kinds = {kind.__name__ for kind in type(student).__mro__}
    if _SEMI_SUPERVISED in kinds:
        why = (
            'is trained on several batches by name, labelled images and unlabelled '
            'ones that are augmented in two ways, and its teacher is shown one batch. '
            + _alone('labelled images', _LOAD_FROM)
            + ' As the teacher of a plain detector it does serve.'
        )
    elif _VIDEO in kinds:
        why = (
            f'{_ON_CLIPS} Distil a Mask2Former on images; start from it: {_LOAD_FROM}.'
        )
    elif kinds & set(_CLIPS):
        why = f'{_ON_CLIPS} {_alone()}'
    elif _NOT_TRAINED in kinds:
        why = f'has no losses: its parts are trained alone. {_alone()}'
    elif getattr(student.data_preprocessor, 'use_det_processor', True) is False:
        why = (
            'is given clips, and a teacher is shown single images. Set '
            'data_preprocessor.use_det_processor=True, where it can be trained on '
            'images as ByteTrack and OCSORT are.'
        )
    else:
        return
    raise ConfigError(f'{name} {why}')


def _computes_features(model: object) -> bool:
    return hasattr(model, 'backbone') and hasattr(model, 'extract_feat')


def _alone(images: str = 'images', start: str = _INIT_CFG) -> str:
    """The way around: its detector is distilled, and it starts from that."""
    return (
        f'Distil its detector alone, on {images}: student={{{{_base_.model.detector}}}}'
        ", with data_preprocessor=dict(type='DetDataPreprocessor', ...) beside it where"
        f' it has none; then start from that: {start}.'
    )
