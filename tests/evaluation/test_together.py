"""Several checkpoints of a segmentor, scored as one."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from mmengine.registry import DefaultScope
from mmengine.runner import Runner
from PIL import Image
from torch import nn

from kd_plugins.apis.test import evaluate
from kd_plugins.apis.train import prepare_config
from kd_plugins.errors import ConfigError
from kd_plugins.evaluation.together import MeanSegmentor, mean_logits
from kd_plugins.registry import MODELS

BAN = 'configs/ban/ban-generations_psp-w6_4500it_mosaics-300.py'
ALONE = 'configs/mosaics/pspnet_r18-w6-d8_1500it_mosaics-300-128x128.py'


def one_pixel(probs: list[float]) -> torch.Tensor:
    return torch.tensor(probs).log().view(-1, 1, 1)


def test_the_mean_is_that_of_probabilities_by_hand() -> None:
    # A constant added to all logits of a member changes nothing.
    one, other = one_pixel([0.90, 0.10]), one_pixel([0.02, 0.98]) + 3.0
    mean = mean_logits([one, other]).exp().flatten()
    assert mean.tolist() == pytest.approx([0.46, 0.54])
    both = one_pixel([0.60, 0.40]), one_pixel([0.6, 0.4])
    assert mean_logits(both).exp().flatten().tolist() == pytest.approx([0.6, 0.4])


def test_of_one_class_it_is_that_of_its_probability_by_hand() -> None:
    kept = [torch.tensor(each).view(1, 1, 1) for each in (0.2, 0.9)]
    assert mean_logits(kept).sigmoid().item() == pytest.approx(0.55)


def test_of_one_class_the_host_decides_by_its_threshold(
    tiny_mosaics: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv('KD_PLUGINS_DATA', str(tiny_mosaics.parent))
    cfg = prepare_config(ALONE)
    # Where the members' own probabilities lie on both sides.
    cfg.model.decode_head.update(num_classes=2, out_channels=1, threshold=0.5)
    cfg.model.pop('auxiliary_head', None)
    models = []
    with DefaultScope.overwrite_default_scope('mmseg'):
        for seed in range(3):
            torch.manual_seed(seed)
            models.append(MODELS.build(cfg.model).eval())
            models[-1].init_weights()
            torch.nn.init.normal_(models[-1].decode_head.conv_seg.weight)
        batch = next(iter(Runner.build_dataloader(cfg.test_dataloader)))
    probs = torch.stack(
        [
            torch.stack([each.seg_logits.data for each in model.test_step(batch)])
            for model in models
        ]
    )
    assert probs.min() >= 0 and probs.max() <= 1  # as the host keeps them
    expected = probs.mean(dim=0)
    assert 0 < (expected > 0.5).float().mean() < 1
    for sample, mean in zip(
        MeanSegmentor(models).test_step(batch), expected, strict=True
    ):
        torch.testing.assert_close(sample.seg_logits.data, mean)
        sure = (mean - 0.5).abs() > 1e-5
        assert torch.equal(sample.pred_sem_seg.data[sure], (mean > 0.5)[sure].float())


def test_generations_are_scored_as_one(
    tmp_path: Path, tiny_mosaics: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv('KD_PLUGINS_DATA', str(tiny_mosaics.parent))
    cfg = prepare_config(BAN, work_dir=str(tmp_path / 'work'))
    cfg.visualizer.name = str(tmp_path)  # the host keeps it for the whole process
    (prepare,) = (hook for hook in cfg.custom_hooks if 'Prepare' in hook.type)
    prepare.update(train=8, val=4)  # what is there
    files, models = [], []
    with DefaultScope.overwrite_default_scope('mmseg'):
        for seed in range(3):
            torch.manual_seed(seed)
            models.append(MODELS.build(prepare_config(ALONE).model))
            models[-1].init_weights()
            files.append(str(tmp_path / f'generation_{seed}.pth'))
            torch.save(models[-1].state_dict(), files[-1])
        data = Runner.build_dataloader(prepare_config(ALONE).test_dataloader)
    maps = tmp_path / 'maps'
    evaluate(cfg, files, out=str(maps))
    expected = {}
    for batch in data:
        probs = []
        for model in models:
            samples = model.eval().test_step(batch)
            probs.append([each.seg_logits.data.softmax(dim=0) for each in samples])
        for sample, *each in zip(samples, *probs, strict=True):
            merged = (each[0] + each[1] + each[2]).argmax(dim=0)
            expected[Path(sample.img_path).stem] = merged.numpy()
    assert len(expected) == 4
    for name, labels in expected.items():
        assert np.array_equal(np.array(Image.open(maps / f'{name}.png')), labels)


class Detector(nn.Module):
    def test_step(self, data: dict[str, Any]) -> list[dict[str, int]]:
        return [dict(pred_instances=1)]


def test_what_has_no_classes_of_pixels_is_refused() -> None:
    with pytest.raises(
        ConfigError, match=r"checkpoint: .* a segmentor, .*\['pred_instances'\]"
    ):
        MeanSegmentor([Detector(), Detector()]).test_step({})


@pytest.mark.parametrize('option', ['tta', 'fidelity'])
def test_options_that_look_at_one_model_are_refused(option: str) -> None:
    with pytest.raises(ConfigError, match=f'--{option} looks at one model'):
        evaluate(prepare_config(BAN), ['a.pth', 'b.pth'], **{option: True})
