"""An exported file in the place of its model: it is scored by the host's evaluator."""

import re
from typing import Any

from torch import Tensor, nn

from ..host_types import DataSample, HostModule
from .images import as_input, fitted, single_images
from .metadata import DENSE, SEGMENTATION
from .session import OnnxFile

# Images a run, where a file takes any number.
_IMAGES = 2
_LEVEL = re.compile(r'_\d+$')


class OnnxPredictor(nn.Module):
    """Predicts by ONNX Runtime, and fills data samples as the host's model does.

    What the host does with outputs that are no part of the
    graph (back to the size of the image on disk; of a dense file the decoding) it does
    here as well.

    Args:
        file: opened.
        model: the host's model of the same config; its weights are not used.
    """

    def __init__(self, file: OnnxFile, model: HostModule) -> None:
        super().__init__()
        self.file, self.model = file, model.cpu()
        self.eval()

    def test_step(self, data: dict[str, Any]) -> list[DataSample]:
        """The data samples of a batch, with predictions.

        Args:
            data: ``inputs`` and ``data_samples``, as the loader gives them.

        Raises: ConfigError for images that do not fit into the file.
        """
        metadata = self.file.metadata
        pairs = [
            (fitted(image, sample, metadata), sample)
            for image, sample in single_images(data)
        ]
        number = metadata.batch_size or _IMAGES
        if len({image.shape for image, _ in pairs}) > 1:
            groups = [[pair] for pair in pairs]
        else:
            groups = [
                pairs[start : start + number] for start in range(0, len(pairs), number)
            ]
        return [result for group in groups for result in self._results(group)]

    def _results(self, group: list[tuple[Tensor, DataSample]]) -> list[DataSample]:
        """Of images of one size, no more than the file takes at a time."""
        metadata = self.file.metadata
        images = [image for image, _ in group]
        samples = [sample for _, sample in group]
        # A file for a number of images gets as many: the last one several times.
        missing = (metadata.batch_size or len(images)) - len(images)
        batch = as_input([*images, *images[-1:] * missing], metadata)
        if metadata.task == SEGMENTATION:
            (logits,) = self.file.run(batch, ['logits'])
            results: list[DataSample] = self.model.postprocess_result(
                logits[: len(samples)], samples
            )
            return results
        outputs = [output[: len(samples)] for output in self.file.run(batch)]
        if metadata.task == DENSE:
            boxes = self._decoded(outputs, samples)
        else:
            boxes = [_instances(*each) for each in zip(*outputs, samples, strict=True)]
        predicted: list[DataSample] = self.model.add_pred_to_datasample(samples, boxes)
        return predicted

    def _decoded(self, outputs: list[Tensor], samples: list[DataSample]) -> Any:
        maps: dict[str, list[Tensor]] = {}
        for name, output in zip(self.file.outputs, outputs, strict=True):
            maps.setdefault(_LEVEL.sub('', name), []).append(output)
        metas = [sample.metainfo for sample in samples]
        return self.model.bbox_head.predict_by_feat(
            *maps.values(), batch_img_metas=metas, rescale=True
        )


def _instances(
    boxes: Tensor, scores: Tensor, labels: Tensor, sample: DataSample
) -> Any:
    """Detections in pixels of the image on disk."""
    from mmdet.structures.bbox import scale_boxes
    from mmengine.structures import InstanceData

    filled = labels >= 0
    factor = [1 / side for side in sample.metainfo['scale_factor']]
    return InstanceData(
        bboxes=scale_boxes(boxes[filled], factor),
        scores=scores[filled],
        labels=labels[filled],
    )
