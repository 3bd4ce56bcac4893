"""A small dry run of both models, to know shapes before training."""

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase

from ..errors import ConfigError, LocatedError
from ..host_types import HostModule
from ..inner_models import without_prefix
from ..random_stream import RandomStream
from ..recorders import Recorder, recording
from ..recorders.recorder import tensors_in
from ..teachers.class_map import ClassMap
from .base import SIDES, Side, UnservedError, several_copies
from .run import FrozenRun, frozen

Size = tuple[int, int]
# Large enough for stride 64, and cheap; then those that heads of a fixed size ask for.
STANDARD_SIZES = (128, 256, 512)
_SEED = 128
_LEAVES = (_NormBase, nn.modules.dropout._DropoutNd)


class DryRunError(ConfigError):
    """A model failed on a black image of one size; another size may do."""


@dataclass(frozen=True)
class Probe:
    """Both models, and what is known of how they differ.

    Attributes:
        student: the student model, or the one inside it that is compared.
        teacher: the teacher's, likewise.
        teacher_name: under which pairs ask for it.
        scale: the teacher's input size over that of the student.
        class_map: which classes they share, where they know others.
        size: height and width of the black image that the student is shown.
        prefixes: with what names of layers may begin: where in larger models the two
            lie.
        same_images: whether both models see the same images.
    """

    student: HostModule
    teacher: HostModule
    teacher_name: str = 'teacher'
    scale: float = 1.0
    class_map: ClassMap | None = None
    size: Size = field(default=(STANDARD_SIZES[0], STANDARD_SIZES[0]))
    prefixes: tuple[str, ...] = ()
    same_images: bool = True

    def model(self, side: Side) -> HostModule:
        """The student or the teacher."""
        return self.student if side == 'student' else self.teacher

    def layer(self, side: Side, path: str) -> str:
        """A layer's name in that model, without the prefix of one around it."""
        return without_prefix(path, self.model(side), self.prefixes)

    def check_channels(self) -> None:
        """Refuse a teacher of images of another kind: both see the same ones.

        Raises: ConfigError with both numbers of channels.
        """
        student, teacher = (input_channels(self.model(side)) for side in SIDES)
        if self.same_images and student != teacher:
            raise ConfigError(
                f'the student reads images of {student} channels, the teacher of '
                f'{teacher}, and both see the same images. Choose a teacher of as many.'
            )

    def sizes(self) -> list[Size]:
        """Sizes to try in turn: the smallest standard one, then the others by area.

        A backbone's ``img_size``, a preprocessor's ``size`` and a ``crop_size`` say
        that a model may want just this one.
        """
        first, *others = ((side, side) for side in STANDARD_SIZES)
        sizes = {*others, *declared_sizes(self.student), *declared_sizes(self.teacher)}
        by_area = sorted(sizes, key=lambda size: (size[0] * size[1], size))
        return list(dict.fromkeys([first, *by_area]))

    def check_images(self, what: str) -> None:
        """Refuse a student that in training looks at several copies of each image.

        Args:
            what: of the student looks at them, for messages.

        Raises: UnservedError; nothing for a student that cannot be run, of which the
            first step tells.
        """
        try:
            with self.run('student', ()) as run:
                maps = tensors_in(run.features)
        except DryRunError:
            return
        if maps and len(maps[0]) != run.batch_size:
            raise UnservedError(
                several_copies(what, len(maps[0]), run.batch_size), key='(student)'
            )

    @contextmanager
    def run(
        self, side: Side, recorders: Sequence[Recorder[Any]], gradient: bool = False
    ) -> Iterator[FrozenRun]:
        """Features of either model for a black image.

        The student runs as it trains, but for norms and dropout: some backbones give
        other maps then. The teacher runs as it predicts.

        Args:
            side: which model.
            recorders: what to attach to it.
            gradient: whether its tensors carry a graph, as they do in training.

        Raises: DryRunError if the model cannot be run that way.
        """
        model = self.model(side)
        if not hasattr(model, 'extract_feat'):
            raise ConfigError(
                f'{type(model).__name__} computes no features of single images '
                '(extract_feat), as models of video do not. Choose a model of images.',
                key=f'({side})',
            )
        scale = self.scale if side == 'teacher' else 1.0
        inputs = _black_image(model, [round(length * scale) for length in self.size])
        run: FrozenRun | None = None
        try:
            # A model may draw: the adapters' initial weights must not depend on it.
            with (
                RandomStream(_SEED).active(),
                frozen(model, gradient),
                warnings.catch_warnings(),
            ):
                warnings.simplefilter('ignore')  # they come again in training
                if side == 'student':
                    _as_in_training(model)
                with recording(model, recorders) as records:
                    run = FrozenRun(model, records, inputs, gradient=gradient)
                    run.compute_features('heads')
                    yield run
        except LocatedError:
            raise
        except Exception as error:  # whatever a foreign model may raise
            raise self._failed(model, side, inputs, run, error) from error

    @staticmethod
    def _failed(
        model: HostModule,
        side: Side,
        inputs: Tensor,
        run: FrozenRun | None,
        error: Exception,
    ) -> DryRunError:
        parts = [name for name in ('backbone', 'neck') if hasattr(model, name)]
        if run is None or run.features is None or not parts:
            advice = (
                'It cannot be run from images as far as its features, so nothing of it '
                'can be compared before training. Choose another model.'
            )
        else:
            layers = ' or '.join(f"layer='{name}'" for name in parts)
            advice = f'Its features do run: use a pair of {layers}.'
        return DryRunError(
            f'a dry run of the {side} ({type(model).__name__}) on a black image '
            f'{tuple(inputs.shape)} failed: {type(error).__name__}: {error}. {advice}'
        )


def declared_sizes(model: HostModule) -> list[Size]:
    """Image sizes (height, width) that a model's parts were made for."""
    preprocessor = getattr(model, 'data_preprocessor', None)
    test_cfg = getattr(model, 'test_cfg', None) or {}
    values = [
        getattr(getattr(model, 'backbone', None), 'img_size', None),
        getattr(preprocessor, 'size', None),
        test_cfg.get('crop_size') if isinstance(test_cfg, dict) else None,
    ]
    sizes = []
    for item in values:
        if isinstance(item, int):
            item = (item, item)
        if isinstance(item, (tuple, list)) and len(item) == 2:
            sizes.append((int(item[0]), int(item[1])))
    return sizes


def input_channels(model: HostModule) -> int:
    """Channels of the images that a model reads: those of its first convolution."""
    focus = 1
    for module in getattr(model, 'backbone', model).modules():
        if type(module).__name__ == 'Focus':  # lays four pixels over one another
            focus = 4
        if isinstance(module, nn.Conv2d):
            return module.in_channels // focus
    return 3


def _black_image(model: HostModule, size: Sequence[int]) -> Tensor:
    parameter = next(model.parameters())
    return torch.zeros(
        1,
        input_channels(model),
        *size,
        device=parameter.device,
        dtype=parameter.dtype,
    )


def _as_in_training(model: nn.Module) -> None:
    """Let the model's own code see that it trains, without statistics or dropout."""
    for module in model.modules():
        # DropPath and its like have neither, and draw.
        parts = (*module.children(), *module.parameters(recurse=False))
        if parts and not isinstance(module, _LEAVES):
            module.training = True
