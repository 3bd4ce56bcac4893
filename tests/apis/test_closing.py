"""What a distillation says when it ends: each thing once, and what can be pasted."""

import shlex
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from mmengine.config import Config
from mmengine.logging import HistoryBuffer
from torch import nn

from kd_plugins.apis import closing
from kd_plugins.apis.closing import closing_block, pasted
from kd_plugins.engine.hooks import GradientSharesHook

ROOT = Path(__file__).parents[2]
BOXES = {
    'coco/bbox_mAP': 0.412,
    'teacher/coco/bbox_mAP': 0.703,
    'fidelity/agreement': 0.934,
    'fidelity/recall': 0.71,
}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the user stands; a distillation is what its runner says it is."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(closing, 'is_distiller', lambda model: model is not None)
    return tmp_path


def ended(
    work_dir: Path, validated: dict[str, float], verdict: str = '', **content: Any
) -> Any:
    """A runner after the training, with its files on disk."""
    work_dir.mkdir()
    hook = GradientSharesHook()
    if verdict:
        hook.verdict = SimpleNamespace(sentence=verdict)  # type: ignore[assignment]
    for name in ('my config.py', 'student_iter_4.pth'):
        (work_dir / name).touch()
    cfg = Config(
        dict(model=dict(teacher=None), test_dataloader=dict(batch_size=1), **content)
    )
    object.__setattr__(cfg, '_filename', '/elsewhere/my config.py')
    scalars = {
        f'val/{key}': HistoryBuffer([value], [1]) for key, value in validated.items()
    }
    hub = SimpleNamespace(
        log_scalars={**scalars, 'train/loss': HistoryBuffer([3.0], [1])},
        runtime_info={'last_ckpt': str(work_dir / 'iter_4.pth')},
    )
    return SimpleNamespace(
        model=nn.Identity(),
        hooks=[hook],
        cfg=cfg,
        message_hub=hub,
        work_dir=str(work_dir),
        timestamp='now',
    )


def test_each_thing_stands_once(folder: Path) -> None:
    runner = ended(folder / 'run 1', BOXES, 'All 2 pairs had a fair share.')
    assert closing_block(runner) == (
        'What the distillation came to:\n'
        '  student     41.2 mAP\n'
        '  teacher     70.3 mAP\n'
        '  agreement   93 % of the objects that both find; the student finds 71 % of '
        'what its teacher finds\n'
        '  verdict     All 2 pairs had a fair share.\n'
        "  checkpoint  'run 1/student_iter_4.pth'\n"
        f'  test it     python {ROOT}/tools/test.py '
        "'run 1/my config.py' 'run 1/student_iter_4.pth'"
    )


def test_the_command_names_files_that_are_there(
    folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    elsewhere = tmp_path_factory.mktemp('elsewhere') / 'run'
    for work_dir in (folder / 'run', elsewhere):
        block = closing_block(ended(work_dir, {}))
        assert block is not None
        python, *files = shlex.split(block.splitlines()[-1].partition('test it')[2])
        assert python == 'python'
        assert all(Path(file).is_file() for file in files) and len(files) == 3
        below = work_dir.is_relative_to(folder)
        assert Path(files[-1]).is_absolute() is not below


def test_without_test_data_it_is_exported(folder: Path) -> None:
    runner = ended(folder / 'run', {})
    runner.cfg.test_dataloader = None
    block = closing_block(runner)
    assert block is not None
    assert block.endswith(
        f'  export it   python {ROOT}/tools/export_student.py '
        'run/student_iter_4.pth run/student.safetensors'
    )


@pytest.mark.parametrize(
    ('validated', 'expected'),
    [
        ({'mIoU': 40.0, 'fidelity/agreement': 0.8}, '80 % of the pixels'),
        # of no object that both find it is not known how often they agree
        (
            {'coco/bbox_mAP': 0.0, 'fidelity/recall': 0.0},
            'the student finds 0 % of what its teacher finds',
        ),
        ({'mIoU': 40.0}, None),
    ],
)
def test_agreement_is_of_what_was_measured(
    folder: Path, validated: dict[str, float], expected: str | None
) -> None:
    block = closing_block(ended(folder / 'run', validated))
    assert block is not None
    lines = [line.strip() for line in block.splitlines()]
    found = [line for line in lines if line.startswith('agreement')]
    assert found == ([] if expected is None else [f'agreement   {expected}'])


def test_where_nothing_was_trained_there_is_no_block(folder: Path) -> None:
    runner = ended(folder / 'run', {'images': 4.0})
    runner.message_hub.runtime_info.clear()
    assert closing_block(runner) is None
    runner = ended(folder / 'plain', BOXES)
    runner.model = None
    assert closing_block(runner) is None


def test_a_home_of_links_stays_as_the_user_names_it(folder: Path) -> None:
    (folder / 'real').mkdir()
    (folder / 'link').symlink_to('real')
    assert pasted('link/a.pth') == 'link/a.pth'
