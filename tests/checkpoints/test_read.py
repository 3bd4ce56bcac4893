import io
import os
import pickle
import re
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from mmengine.config import ConfigDict
from mmengine.logging import HistoryBuffer, MessageHub
from torch import nn

from kd_plugins.checkpoints import _locate, locate, read_checkpoint, state_dict_of
from kd_plugins.errors import CheckpointError


class Model(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 1)
        self.norm = nn.BatchNorm2d(4)


def write(tmp_path: Path, content: object, name: str = 'model.pth') -> Path:
    path = tmp_path / name
    torch.save(content, path)
    return path


class Calls:
    """Pickles as a call of any function."""

    def __init__(self, function: Any, *args: object) -> None:
        self.call = (function, args)

    def __reduce__(self) -> Any:
        return self.call


def training_checkpoint(tmp_path: Path) -> dict[str, Any]:
    """What mmengine's runner saves: message hub, optimiser and meta included."""
    hub = MessageHub('checkpoint')
    hub.update_scalar('train/loss', np.float32(0.5))
    hub.update_scalar('train/lr', 0.1)
    hub.update_info('iter', 3)
    model = Model()
    optimizer = torch.optim.AdamW(model.parameters())
    model.conv(torch.ones(1, 3, 2, 2)).sum().backward()
    optimizer.step()
    return {
        'meta': {
            'epoch': 0,
            'iter': 3,
            'cfg': 'a = 1',
            'dataset_meta': {
                'classes': ('cat', 'dog', 'emu'),
                'palette': np.arange(6, dtype=np.uint8).reshape(2, 3),
                'keypoints': ConfigDict(nose=dict(id=0)),
            },
        },
        'state_dict': model.state_dict(),
        'message_hub': hub.state_dict(),
        'optimizer': optimizer.state_dict(),
        'param_schedulers': [{'last_step': 3, 'base_values': [0.1]}],
        'seen': {frozenset({1}), 2},
        'counts': defaultdict(int, a=1),
        'groups': defaultdict(list, a=[2**70, b'', b'bytes']),
        'score': np.float64(0.25),
        'names': np.array(['a', 'bc']),
        'big_endian': np.array([1, 2], dtype='>i4'),
        'dtype': torch.float16,
        'size': torch.Size([1, 2]),
        'device': torch.device('cpu'),
    }


@pytest.mark.parametrize('legacy', [False, True])
def test_reads_what_mmengine_saves(tmp_path: Path, legacy: bool) -> None:
    content = training_checkpoint(tmp_path)
    path = tmp_path / 'iter_3.pth'
    torch.save(content, path, _use_new_zipfile_serialization=not legacy)

    read = read_checkpoint(path)

    assert list(read) == list(content)
    for name, value in content['state_dict'].items():
        assert torch.equal(read['state_dict'][name], value)
    state = read['optimizer']['state'][0]
    assert torch.equal(state['exp_avg'], content['optimizer']['state'][0]['exp_avg'])
    assert (read['score'], read['size'], read['dtype']) == (0.25, (1, 2), torch.float16)
    assert read['seen'] == content['seen']
    assert read['names'].tolist() == ['a', 'bc']
    assert read['big_endian'].tolist() == [1, 2]
    meta = read['meta']['dataset_meta']
    assert meta['palette'].tolist() == [[0, 1, 2], [3, 4, 5]]
    assert meta['keypoints'] == {'nose': {'id': 0}}
    assert meta['classes'] == ('cat', 'dog', 'emu')
    # the log of scalars is of no use to anybody here, and is not kept
    log = read['message_hub']['log_scalars']['train/loss']
    assert not isinstance(log, HistoryBuffer)


def test_arrays_that_were_read_are_saved_as_ordinary_ones(tmp_path: Path) -> None:
    path = write(tmp_path, {'palette': np.arange(3)})
    again = write(tmp_path, read_checkpoint(path), 'again.pth')
    loaded = torch.load(again, weights_only=False)['palette']
    assert type(loaded) is np.ndarray
    assert loaded.tolist() == [0, 1, 2]


@pytest.mark.parametrize('legacy', [False, True])
@pytest.mark.parametrize(
    ('function', 'args', 'name'),
    [
        (os.system, ('touch {}',), 'posix.system'),
        (eval, ("__import__('os').system('touch {}')",), 'builtins.eval'),
        (getattr, (HistoryBuffer, '__init__'), r'builtins.getattr\(.*__init__'),
        (getattr, (torch.Tensor, 'tofile'), r'builtins.getattr\(.*tofile'),
        (np.load, ('{}',), 'numpy.*load'),
        (torch.load, ('{}',), 'torch.serialization.load'),
        (torch.hub.load, ('{}',), 'torch.hub.load'),
        (np.dtype, ('O',), r"numpy.dtype\('O'\)"),
    ],
)
def test_any_other_global_is_refused_by_its_name_and_not_called(
    tmp_path: Path, function: Any, args: tuple[Any, ...], name: str, legacy: bool
) -> None:
    witness = tmp_path / 'witness'
    args = tuple(a.format(witness) if isinstance(a, str) else a for a in args)
    content = {'state_dict': Model().state_dict(), 'extra': Calls(function, *args)}
    path = tmp_path / 'evil.pth'
    torch.save(content, path, _use_new_zipfile_serialization=not legacy)
    message = rf"'.*evil.pth' holds the pickled global '{name}"
    with pytest.raises(CheckpointError, match=message):
        read_checkpoint(path)
    assert not witness.exists()


def test_the_witness_would_appear_with_an_unrestricted_pickle(tmp_path: Path) -> None:
    witness = tmp_path / 'witness'
    pickle.loads(pickle.dumps(Calls(os.system, f'touch {witness}')))
    assert witness.exists()


def test_arrays_of_objects_are_refused(tmp_path: Path) -> None:
    path = write(tmp_path, {'names': np.array([None, 'a'], dtype=object)})
    with pytest.raises(CheckpointError, match=r"numpy.dtype\('O8'\).*refused"):
        read_checkpoint(path)


def test_structured_arrays_are_refused(tmp_path: Path) -> None:
    path = write(tmp_path, {'table': np.zeros(2, dtype=[('a', 'i4')])})
    with pytest.raises(CheckpointError, match=r'numpy.dtype\(.V4.\).*refused'):
        read_checkpoint(path)


def test_a_dtype_with_a_crafted_state_is_refused(tmp_path: Path) -> None:
    class Crafted:
        def __reduce__(self) -> Any:
            state = (3, '<', None, ('a',), {'a': (None, 0)}, 8, 1, 0)
            return np.dtype, ('f8', False, True), state

    with pytest.raises(CheckpointError, match=r'numpy.dtype.*with state'):
        read_checkpoint(write(tmp_path, {'dtype': Crafted()}))


def test_an_array_with_a_crafted_state_is_refused(tmp_path: Path) -> None:
    class Crafted:
        def __reduce__(self) -> Any:
            rebuild = np.zeros(1).__reduce__()
            assert isinstance(rebuild, tuple)
            return rebuild[0], rebuild[1], (1, (1,), np.dtype('f8'), False, [object])

    with pytest.raises(CheckpointError, match=r'numpy\.ndarray of list'):
        read_checkpoint(write(tmp_path, {'array': Crafted()}))


@pytest.mark.parametrize('keep', [0.0, 0.3, 0.9, 0.999])
@pytest.mark.parametrize('kind', ['zip', 'legacy', 'safetensors'])
def test_a_truncated_file_says_so(tmp_path: Path, kind: str, keep: float) -> None:
    path = tmp_path / ('x.safetensors' if kind == 'safetensors' else 'x.pth')
    if kind == 'safetensors':
        from safetensors.torch import save_file

        save_file(Model().state_dict(), path)
    else:
        zipped = kind == 'zip'
        torch.save(Model().state_dict(), path, _use_new_zipfile_serialization=zipped)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(keep * len(whole))])
    message = r'cannot be read: truncated, corrupt.*Name another file'
    with pytest.raises(CheckpointError, match=f'(?s){message}'):
        read_checkpoint(path)


def test_a_torchscript_archive_is_refused(tmp_path: Path) -> None:
    import zipfile

    path = tmp_path / 'script.pth'
    with zipfile.ZipFile(path, 'w') as archive:
        archive.writestr('script/constants.pkl', b'')
    with pytest.raises(CheckpointError, match='a TorchScript archive, not weights'):
        read_checkpoint(path)


def test_a_tar_archive_is_refused(tmp_path: Path) -> None:
    import tarfile

    path = tmp_path / 'old.pth'
    with tarfile.open(path, 'w') as archive:
        archive.addfile(tarfile.TarInfo('storages'), io.BytesIO())
    with pytest.raises(CheckpointError, match='a tar archive, as torch wrote them'):
        read_checkpoint(path)


def test_a_missing_file_names_those_beside_it(tmp_path: Path) -> None:
    write(tmp_path, {}, 'iter_3.pth')
    path = tmp_path / 'iter_4.pth'
    message = r"there is no file '.*iter_4.pth'.*There are: 'iter_3.pth'"
    with pytest.raises(CheckpointError, match=message):
        read_checkpoint(path)


def test_a_directory_is_no_checkpoint(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r'is a directory.*holds no checkpoint'):
        read_checkpoint(tmp_path)


def test_an_unknown_scheme_says_what_there_is() -> None:
    with pytest.raises(CheckpointError, match=r"'s3://x/y.pth' has an unknown scheme"):
        read_checkpoint('s3://x/y.pth')


def test_a_file_that_holds_no_mapping_is_no_checkpoint(tmp_path: Path) -> None:
    path = write(tmp_path, [1, 2])
    with pytest.raises(CheckpointError, match='holds a list, expected a dict'):
        read_checkpoint(path)


def test_weights_are_the_state_dict_or_the_checkpoint_itself() -> None:
    state = Model().state_dict()
    assert state_dict_of({'state_dict': state, 'meta': {}}, 'x.pth') is state
    assert state_dict_of(state, 'x.pth') is state


@pytest.mark.parametrize(
    ('content', 'names'),
    [
        ({'model': {}, 'epoch': 3}, "'model', 'epoch'"),
        ({'state_dict': {'a': torch.ones(1), 'b': 2}}, "'state_dict'"),
        ({'state_dict': {}}, "'state_dict'"),
        ({}, 'nothing'),
    ],
)
def test_a_checkpoint_without_weights_names_what_it_holds(
    content: Any, names: str
) -> None:
    with pytest.raises(
        CheckpointError, match=f"'x.pth' has no weights: .* It holds: {names}"
    ):
        state_dict_of(content, 'x.pth')


def test_without_numpy_tensors_are_read_and_an_array_is_not_blamed_on_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, 'numpy', None)
    monkeypatch.delitem(sys.modules, 'kd_plugins.checkpoints._numpy', raising=False)
    state = read_checkpoint(write(tmp_path, Model().state_dict()))
    assert set(state) == set(Model().state_dict())
    monkeypatch.undo()
    path = write(tmp_path, {'palette': np.arange(3)})
    monkeypatch.setitem(sys.modules, 'numpy', None)
    monkeypatch.delitem(sys.modules, 'kd_plugins.checkpoints._numpy', raising=False)
    with pytest.raises(ModuleNotFoundError, match='numpy'):
        read_checkpoint(path)


def test_without_safetensors_the_file_is_not_blamed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, 'safetensors', None)
    (tmp_path / 'model.safetensors').touch()
    with pytest.raises(ModuleNotFoundError, match='safetensors'):
        read_checkpoint(tmp_path / 'model.safetensors')


def test_safetensors_give_weights_and_their_header(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    path = tmp_path / 'model.safetensors'
    header = {'dataset_meta': '{"classes": ["a", "b"]}', 'made_by': 'a test'}
    save_file(Model().state_dict(), path, header)
    read = read_checkpoint(path)
    assert read['meta'] == {
        'made_by': 'a test',
        'dataset_meta': {'classes': ['a', 'b']},
    }
    Model().load_state_dict(read['state_dict'])


def test_a_url_is_downloaded_once_into_the_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.hub, 'get_dir', lambda: str(tmp_path))
    asked = []

    def download(url: str, file: str, progress: bool) -> None:
        asked.append(url)
        torch.save(Model().state_dict(), file)

    monkeypatch.setattr(torch.hub, 'download_url_to_file', download)
    url = 'https://somewhere.org/models/x-1234.pth?download=1'
    for _ in range(2):
        assert set(read_checkpoint(url)) == set(Model().state_dict())
    assert asked == [url]
    (cached,) = (tmp_path / 'checkpoints').glob('x-1234.*.pth')
    other = 'https://somewhere.org/others/x-1234.pth'
    read_checkpoint(other)  # of the same name, but another file
    assert asked == [url, other]
    cached.write_bytes(cached.read_bytes()[:100])
    with pytest.raises(CheckpointError, match='Delete it and download it again'):
        read_checkpoint(url)


def test_a_failed_download_says_where_to_put_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def download(url: str, file: str, progress: bool) -> None:
        raise OSError('no route')

    monkeypatch.setattr(torch.hub, 'get_dir', lambda: str(tmp_path))
    monkeypatch.setattr(torch.hub, 'download_url_to_file', download)
    message = r"no route\). Download it by hand to '.*checkpoints/x.\w{8}.pth'"
    with pytest.raises(CheckpointError, match=message):
        read_checkpoint('http://somewhere.org/x.pth')


def test_the_package_prefix_finds_files_among_the_configs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / 'kd_plugins'
    monkeypatch.setattr(
        _locate, '__file__', str(package / 'checkpoints' / '_locate.py')
    )
    (tmp_path / 'configs' / 'digits').mkdir(parents=True)
    path = write(tmp_path / 'configs' / 'digits', {'a': torch.ones(1)}, 'x.pth')
    assert locate('kd_plugins::digits/x.pth') == path
    # an installed package carries its own
    installed = package / '.mim' / 'configs'
    (installed / 'digits').mkdir(parents=True)
    with pytest.raises(CheckpointError, match=r'no file .*\.mim/configs/digits/x.pth'):
        locate('kd_plugins::digits/x.pth')


def test_a_wheel_says_where_the_weights_of_an_embedded_teacher_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / 'kd_plugins'
    monkeypatch.setattr(
        _locate, '__file__', str(package / 'checkpoints' / '_locate.py')
    )
    digits = package / '.mim' / 'configs' / 'digits'
    digits.mkdir(parents=True)
    (digits / 'teacher.py').touch()
    tool = package / '.mim' / 'tools' / 'train.py'
    command = re.escape(f'python {tool} {digits}/teacher.py')
    with pytest.raises(CheckpointError, match=rf'not in the inst.* clone.*{command}$'):
        locate('kd_plugins::digits/teacher.safetensors')
    with pytest.raises(CheckpointError, match='there is no file'):
        locate('kd_plugins::digits/other.safetensors')
