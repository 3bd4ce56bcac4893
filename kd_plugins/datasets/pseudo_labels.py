"""The end of a pipeline of images whose labels a teacher made."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from ..errors import ConfigError, located
from ..registry import TRANSFORMS

PSEUDO_LABEL = 'pseudo_label'  # key in the metainfo of a data sample
WEIGHTS = 'weights'  # of the boxes of a data sample, in gt_instances


@TRANSFORMS.register_module()
class PackPseudoLabels:
    """Pack a sample with pseudo-labels so that it differs from others.

    Its data sample has ``pseudo_label=True`` in its metainfo; one of labels that people
    made has no such key.

    Args:
        pack: the host's own last step, ``dict(type='PackDetInputs')`` or
            ``dict(type='PackSegInputs')``.
        scores: the file of annotations that the data set reads: the score of each box
            becomes its weight, ``gt_instances.weights``, which
            :class:`~kd_plugins.engine.hooks.BoxWeightsHook` heeds. The transforms
            before may move boxes, and drop none.

    Raises: ConfigError for a configuration of something else, a file without scores,
        and where boxes were dropped.
    """

    def __init__(self, pack: Mapping[str, Any], scores: str | None = None) -> None:
        with located('PackPseudoLabels'):
            if not isinstance(pack, Mapping) or 'type' not in pack:
                raise ConfigError(
                    f"must be a transform, a dict with 'type', got {pack!r}.", 'pack'
                )
            self.pack = TRANSFORMS.build(dict(pack))
            with located('scores'):
                self._scores = None if scores is None else _read_scores(scores)
        self.scores = scores

    def __call__(self, results: dict[str, Any]) -> dict[str, Any]:
        """A packed sample."""
        packed: dict[str, Any] = self.pack(results)
        sample = packed['data_samples']
        sample.set_metainfo({PSEUDO_LABEL: True})
        if self._scores is not None:
            scores = self._scores.get(results['img_id'], [])
            boxes = len(sample.gt_instances)
            if boxes != len(scores):
                raise ConfigError(
                    f"'{results['img_path']}' has {boxes} boxes left, and "
                    f'{len(scores)} scores: a transform before dropped boxes, as crops '
                    'and mosaics do. Remove scores, or that transform.',
                    'PackPseudoLabels.scores',
                )
            sample.gt_instances[WEIGHTS] = torch.tensor(scores, dtype=torch.float32)
        return packed

    def __repr__(self) -> str:
        return f'{type(self).__name__}(pack={self.pack}, scores={self.scores!r})'


def _read_scores(file: str) -> dict[Any, list[float]]:
    """Scores of the boxes of each image, in order."""
    try:
        content = json.loads(Path(file).read_text())
        scores: dict[Any, list[float]] = {
            image['id']: [] for image in content['images']
        }
        for annotation in content['annotations']:
            scores[annotation['image_id']].append(float(annotation['score']))
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise ConfigError(
            f"'{file}' has no score for each box, as tools/pseudo_label.py writes them "
            f'({error!r}).'
        ) from error
    return scores
