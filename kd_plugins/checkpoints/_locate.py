"""From the path of a checkpoint in a config to a file at hand."""

import sys
from hashlib import sha256
from pathlib import Path
from urllib.parse import urlparse

import torch

from ..errors import CheckpointError

_PREFIX = 'kd_plugins::'


def locate(path: str | Path) -> Path:
    """The local file that a checkpoint path names; a URL is downloaded.

    Raises: CheckpointError if there is no such file.
    """
    text = str(path)
    if is_url(text):
        return _download(text)
    if text.startswith(_PREFIX):
        file = _configs() / text[len(_PREFIX) :]
    elif '://' in text or '::' in text:
        raise CheckpointError(
            f"'{text}' has an unknown scheme. Expected a path, an http(s) URL "
            f"or '{_PREFIX}<path under the configs of kd_plugins>'."
        )
    else:
        file = Path(text).expanduser()
    if file.is_dir():
        raise CheckpointError(
            f"'{file}' is a directory, expected a checkpoint file. " + _neighbours(file)
        )
    if text.startswith(_PREFIX) and not file.is_file() and _is_embedded(file):
        raise CheckpointError(
            f"'{text}' is not in the installed package: a wheel has the configs of the "
            'embedded teachers, not their weights. Take the file from configs/ of a '
            'clone, or install the clone (pip install -e .), or train the teacher and '
            f'name what that writes: python {_configs().parent / "tools" / "train.py"} '
            f'{file.with_suffix(".py")}'
        )
    if not file.is_file():
        raise CheckpointError(
            f"there is no file '{file}' (looked from '{Path.cwd()}'). "
            + _neighbours(file.parent)
        )
    return file


def is_url(path: str | Path) -> bool:
    """Whether a path is to be downloaded."""
    return urlparse(str(path)).scheme in ('http', 'https')


def _download(url: str) -> Path:
    name = Path(urlparse(url).path)
    # Two URLs may end alike.
    name = Path(f'{name.stem}.{sha256(url.encode()).hexdigest()[:8]}{name.suffix}')
    file = Path(torch.hub.get_dir()) / 'checkpoints' / name
    if not file.exists():
        file.parent.mkdir(parents=True, exist_ok=True)
        try:  # into a temporary file beside it, renamed when whole
            torch.hub.download_url_to_file(url, str(file), progress=sys.stderr.isatty())
        except Exception as error:
            raise CheckpointError(
                f"'{url}' cannot be downloaded ({type(error).__name__}: "
                f"{error}). Download it by hand to '{file}', or name another file."
            ) from error
    return file


def _configs() -> Path:
    package = Path(__file__).resolve().parent.parent
    installed = package / '.mim' / 'configs'
    return installed if installed.is_dir() else package.parent / 'configs'


def _is_embedded(file: Path) -> bool:
    """Whether it is of a teacher whose config is beside it."""
    return file.suffix == '.safetensors' and file.with_suffix('.py').is_file()


def _neighbours(folder: Path) -> str:
    found = sorted(
        file.name
        for file in (folder.iterdir() if folder.is_dir() else ())
        if file.suffix in ('.pth', '.pt', '.safetensors')
    )
    if not found:
        return f"'{folder}' holds no checkpoint."
    shown = ', '.join(f"'{name}'" for name in found[:6])
    return f'There are: {shown}{", ..." if len(found) > 6 else ""}.'
