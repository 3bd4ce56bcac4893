"""tools/distill.py on the embedded data, without a key written by hand."""

from importlib import import_module
from pathlib import Path

import pytest

from kd_plugins.checkpoints import read_checkpoint
from kd_plugins.config_files import read_config
from tests.engine.hooks.toy import names, unformatted

distill = import_module('tools.distill')
CONFIGS = Path(__file__).parents[2] / 'configs'
# Student and teacher, whose weights lie beside its config.
EMBEDDED = [
    (
        'digits/faster-rcnn_r18-w16_fpn_1k_digits-300',
        'digits/faster-rcnn_r18-w32_fpn_4k_digits',
    ),
    ('digits/gfl_r18-w16_fpn_1k_digits-300', 'digits/gfl_r18-w32_fpn_3k_digits'),
    (
        'mosaics/pspnet_r18-w6-d8_1500it_mosaics-300-128x128',
        'mosaics/pspnet_r18-w24-d8_4k_mosaics-128x128',
    ),
]
# Of the run, to make it small; nothing of what is distilled.
SMALL = (
    'train_cfg.max_iters=2',
    'train_cfg.val_interval=2',
    'train_dataloader.batch_size=2',
    'val_dataloader.batch_size=2',
    'custom_hooks=[]',
)


@pytest.mark.slow
@pytest.mark.host
@pytest.mark.parametrize(('student', 'teacher'), EMBEDDED)
def test_two_iterations_without_a_key_of_a_pair(
    student: str,
    teacher: str,
    tiny_digits: Path,
    tiny_mosaics: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert tiny_digits.parent == tiny_mosaics.parent
    monkeypatch.setenv('KD_PLUGINS_DATA', str(tiny_digits.parent))
    name = f'distill_tool_{Path(student).stem}'
    with unformatted():
        distill.main(
            [
                *(f'{CONFIGS}/{student}.py', f'{CONFIGS}/{teacher}.py'),
                *(f'{CONFIGS}/{teacher}.safetensors', '--work-dir', str(tmp_path)),
                *('--cfg-options', *SMALL, *labels(student)),
                *(f'experiment_name={name}', f'visualizer.name={name}'),
            ]
        )
    assert names(tmp_path) == {'iter_2.pth', 'student_iter_2.pth'}
    whole = read_checkpoint(tmp_path / 'iter_2.pth')['state_dict']
    assert any(key.startswith('student.') for key in whole)
    stems = (Path(each).stem for each in (student, teacher))
    cfg = read_config(tmp_path / f'{"_from_".join(stems)}.py')
    assert cfg.model.pairs == dict(type='auto')
    (log,) = tmp_path.glob('*/*.log')
    said = log.read_text()
    for part in ('Price (medians', '  teacher ', 'Verdict on the pairs'):
        assert part in said


def labels(student: str) -> list[str]:
    """All of the tiny data: of its first 300 images there are none."""
    folder, ending = (
        ('annotations', 'json') if student.startswith('digits') else ('splits', 'txt')
    )
    return [f'train_dataloader.dataset.ann_file={folder}/train.{ending}']


def test_help_says_what_it_does(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match='0'):
        distill.main(['--help'])
    said = capsys.readouterr().out
    assert 'usage:' in said and '--no-teacher-score' in said
