"""A checkpoint that is cut short, or has a flipped bit, is refused by name.

Where a flipped bit changes nothing (a date in the archive, padding), the content is
what was written, to the last bit. Records of a teacher's cache: test_cache.py.
"""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from mmengine.config import ConfigDict
from torch import Tensor

from kd_plugins.apis import export_student
from kd_plugins.checkpoints import check_whole
from kd_plugins.engine.files import newest_checkpoint
from kd_plugins.errors import CheckpointError
from kd_plugins.registry import MODELS
from kd_plugins.teachers.checkpoints import load_weights
from tests.distillers.tiny import all_pairs, config, faster_rcnn
from tests.engine.hooks.toy import names, same_state, train
from tests.faults.damage import flipped, flipped_weight, truncated

pytestmark = [
    pytest.mark.host,
    # Of torch 2.4, on any file that is not only weights.
    pytest.mark.filterwarnings('ignore:You are using `torch.load`:FutureWarning'),
]
CUT, FLIPPED = 20, 100
REFUSED = 'refused, the message names the file'
HARMLESS = 'of no consequence, the content is the same'


def outcomes(
    whole: Path, damaged: list[bytes], read: Callable[[Path], dict[str, Tensor]]
) -> tuple[int, int]:
    """How many damaged copies are refused, and how many read as the whole file is.

    Fails for one that is read as something else, or refused in another way.
    """
    expected = read(whole)
    copy = whole.with_name(f'damaged_{whole.name}')
    refused = same = 0
    for content in damaged:
        copy.write_bytes(content)
        try:
            weights = read(copy)
        except CheckpointError as error:
            refused += copy.name in str(error)
        else:
            assert same_state(weights, expected)
            same += 1
    assert refused + same == len(damaged)
    return refused, same


def note(
    fault: Callable[..., None], what: str, cut: int, flips: tuple[int, int]
) -> None:
    fault(f'{what}, cut short', REFUSED, cut)
    fault(f'{what}, a flipped bit', REFUSED, flips[0])
    fault(f'{what}, a flipped bit', HARMLESS, flips[1])


@pytest.mark.parametrize('what', ['teacher', 'student'])
def test_weights_in_an_archive(
    tmp_path: Path, what: str, fault: Callable[..., None]
) -> None:
    train(tmp_path)
    path = tmp_path / ('iter_10.pth' if what == 'teacher' else 'student_iter_10.pth')
    content = path.read_bytes()
    read: Callable[[Path], dict[str, Tensor]] = load_weights
    cut = outcomes(path, list(truncated(content, CUT)), read)
    assert cut == (CUT, 0)
    bits = outcomes(path, list(flipped(content, FLIPPED)), read)
    assert bits[0] > FLIPPED // 2
    note(fault, f"a {what}'s .pth", cut[0], bits)


def test_weights_exported_as_safetensors(
    tmp_path: Path, fault: Callable[..., None]
) -> None:
    model = MODELS.build(config(all_pairs()))
    torch.save({'state_dict': model.state_dict(), 'meta': {}}, tmp_path / 'iter_1.pth')
    cfg = tmp_path / 'student.py'
    cfg.write_text(f'model = {faster_rcnn().to_dict()!r}')
    path = tmp_path / 'student.safetensors'
    export_student(str(tmp_path / 'iter_1.pth'), path, config=str(cfg))
    content = path.read_bytes()
    cut = outcomes(path, list(truncated(content, CUT)), load_weights)
    assert cut == (CUT, 0)
    bits = outcomes(path, list(flipped(content, FLIPPED)), load_weights)
    assert bits == (FLIPPED, 0)
    note(fault, 'an exported .safetensors', cut[0], bits)


def test_the_newest_checkpoint_of_a_run(
    tmp_path: Path, fault: Callable[..., None]
) -> None:
    train(tmp_path)
    before, newest = tmp_path / 'iter_8.pth', tmp_path / 'iter_10.pth'
    content = newest.read_bytes()
    expected = torch.load(newest, weights_only=False)['state_dict']
    counts = {before: 0, newest: 0}
    for damaged in [*truncated(content, CUT), *flipped(content, FLIPPED)]:
        newest.write_bytes(damaged)
        os.utime(before, (0, 0))
        chosen = newest_checkpoint(tmp_path, 'iter_{}.pth')
        assert chosen is not None
        counts[chosen] += 1
        if chosen == newest:
            read = torch.load(newest, weights_only=False)['state_dict']
            assert same_state(read, expected)
        else:
            with pytest.raises(CheckpointError, match=r'iter_10\.pth. is damaged'):
                check_whole_or_empty(newest)
    assert counts[before] > CUT + FLIPPED // 2
    kind = 'the newest training checkpoint, cut short or a flipped bit'
    fault(kind, 'resumed from the one before', counts[before])
    fault(kind, HARMLESS, counts[newest])


def check_whole_or_empty(path: Path) -> None:
    """As the runner does; of what is cut so short that it is no archive, the host."""
    check_whole(path)
    if path.stat().st_size < 4:
        raise CheckpointError(f"'{path}' is damaged: the host's reader says so.")


@pytest.mark.parametrize('damage', ['cut short', 'a flipped bit'])
def test_a_damaged_run_resumes_from_the_file_before(
    tmp_path: Path, damage: str, fault: Callable[..., None]
) -> None:
    whole = train(tmp_path / 'whole').model.state_dict()
    train(tmp_path / 'run')
    path = tmp_path / 'run' / 'iter_10.pth'
    content = path.read_bytes()
    damaged = truncated(content, 3) if damage == 'cut short' else flipped(content, 3)
    path.write_bytes(list(damaged)[1])
    again = train(tmp_path / 'run', resume=True)
    assert same_state(again.model.state_dict(), whole)
    assert names(tmp_path / 'run') == names(tmp_path / 'whole')
    fault(f'resume, the newest file {damage}', 'the end is the same bit for bit')


@pytest.mark.parametrize('resume', [True, False])
def test_a_damaged_file_that_is_named_is_refused(
    tmp_path: Path, resume: bool, fault: Callable[..., None]
) -> None:
    train(tmp_path)
    path = tmp_path / 'iter_10.pth'
    content = path.read_bytes()
    path.write_bytes(list(flipped(content, 3))[1])
    key = 'resume' if resume else 'load_from'
    with pytest.raises(CheckpointError, match=rf"^{key}: '.*iter_10.pth' is damaged:"):
        train(tmp_path, resume=resume, load_from=str(path))
    fault(f'{key} names a damaged file', REFUSED)


def test_weights_of_a_damaged_file_are_not_started_from(
    tmp_path: Path, fault: Callable[..., None]
) -> None:
    model = MODELS.build(config(all_pairs()))
    path = tmp_path / 'student.pth'
    weights = model.student.state_dict()
    torch.save({'state_dict': weights}, path)
    largest = max(weights.values(), key=Tensor.numel)
    path.write_bytes(flipped_weight(path.read_bytes(), largest))
    init = ConfigDict(type='Pretrained', checkpoint=str(path))
    model = MODELS.build(config(all_pairs(), init_cfg=init))
    with pytest.raises(CheckpointError, match=r'^model\.init_cfg\.checkpoint: .*damag'):
        model.init_weights()
    fault('init_cfg names a damaged file', REFUSED)
