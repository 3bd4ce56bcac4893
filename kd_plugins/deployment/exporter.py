"""From a module to a file, and what to do where that fails."""

import re
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from inspect import signature
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import ConfigError
from ..extras import extra
from .metadata import KEY, Metadata

_OPSET = 17  # RoIAlign as the hosts align it: 16 or later
# Of torch 2.4 it is the only one.
_BY_TRACING: dict[str, Any] = (
    {'dynamo': False} if 'dynamo' in signature(torch.onnx.export).parameters else {}
)
_UNKNOWN = re.compile(r"operator '(\w+::\w+)'")


def to_onnx(graph: Any, image: Tensor, *, dynamic: bool) -> Any:
    """Trace a module.

    The exporter is the one by tracing (``dynamo=False``): the other takes minutes for
    a Faster R-CNN, where this one takes seconds, and that of torch 2.4 does not know
    these models. What comes out is compared with torch in any case.

    Args:
        graph: in eval, from images to tensors, with ``outputs`` and ``free_axes()``.
        image: an example (N, C, H, W).
        dynamic: whether the lengths of the free axes are free.

    Returns: an ``onnx.ModelProto``.

    Raises: ConfigError naming the part of the model that the exporter cannot do.
    """
    with extra('export', 'an ONNX file'):
        import onnx
    with TemporaryDirectory() as folder, _quiet(), _named(graph) as running:
        path = Path(folder) / 'student.onnx'
        try:
            shapes = [output.shape for output in graph(image)]
            axes = graph.free_axes() if dynamic else {}
            torch.onnx.export(
                graph,
                (image,),
                str(path),
                input_names=['image'],
                output_names=list(graph.outputs),
                dynamic_axes=axes,
                opset_version=_OPSET,
                **_BY_TRACING,
            )
        except Exception as error:
            raise _explained(error, graph, image, list(running)) from error
        model = onnx.load(str(path))
    # The exporter gives lengths that it does not know one name, also where they differ,
    # and ONNX Runtime takes its word: what is known is said, the rest it finds itself.
    del model.graph.value_info[:]
    for output, shape in zip(model.graph.output, shapes, strict=True):
        free = axes.get(output.name, {})
        for number, (side, length) in enumerate(
            zip(output.type.tensor_type.shape.dim, shape, strict=True)
        ):
            if number not in free:
                side.dim_value = length
    return model


def save_onnx(model: Any, metadata: Metadata, path: Path) -> None:
    """Write a model, as :func:`to_onnx` gives it, with its description."""
    import onnx

    onnx.helper.set_model_props(model, {KEY: metadata.text()})
    onnx.save(model, str(path))


@contextmanager
def _quiet() -> Iterator[None]:
    """Without what tracing says of every shape: the comparison says what matters."""
    fast_path = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)  # an operator that ONNX lacks
    try:
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter('ignore')
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fast_path)


@contextmanager
def _named(graph: nn.Module) -> Iterator[list[str]]:
    """Names of the modules that run, the outermost first; after an error, that ran."""
    running: list[str] = []

    def leave(*_: object) -> None:
        running.pop()

    handles = []
    for name, module in graph.named_modules():

        def enter(*_: object, name: str = name) -> None:
            running.append(name)

        handles.append(module.register_forward_pre_hook(enter))
        handles.append(module.register_forward_hook(leave))
    try:
        yield running
    finally:
        for handle in handles:
            handle.remove()


def _explained(
    error: Exception, graph: nn.Module, image: Tensor, running: Sequence[str]
) -> ConfigError:
    """What failed, in which part, and what to do."""
    unknown = _UNKNOWN.search(str(error))
    place = running[-1] if running else ''
    if unknown is not None:
        place = _place_of(unknown[1], graph, image) or place
        said = f"ONNX has no operator for '{unknown[1]}'"
    else:
        said = f'{type(error).__name__}: {str(error).strip().splitlines()[0][:200]}'
    kind = ''
    if place:
        module = graph.get_submodule(place)
        kind = f' ({type(module).__name__})'
    name = place.removeprefix('model.') or 'the model'
    return ConfigError(
        f'torch.onnx.export fails in {name}{kind}: {said}. Leave out --dynamic if it '
        'is given; of a one-stage detector export what the head says (--dense); or use '
        'another part there.'
    )


def _place_of(operator: str, graph: nn.Module, image: Tensor) -> str:
    """The innermost module that calls an operator, by its dotted name."""
    traced: Any = torch.jit.trace(graph, (image,), check_trace=False, strict=False)
    for node in traced.inlined_graph.nodes():
        if node.kind() == operator:
            return str(node.scopeName().rpartition('/')[2]).removeprefix('__module.')
    return ''
