"""Chromium without a window, through its DevTools pipe; nothing to install."""

import base64
import itertools
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

NAMES = (
    *('chromium', 'chromium-browser', 'google-chrome', 'google-chrome-stable'),
    'chrome',
)
# Becomes the browser, which reads its file 3 and writes its file 4.
_PLACE = """
import fcntl, os, sys
files = [fcntl.fcntl(int(text), fcntl.F_DUPFD, 10) for text in sys.argv[1:3]]
os.dup2(files[0], 3)
os.dup2(files[1], 4)
os.execv(sys.argv[3], sys.argv[3:])
"""
_KEYS = {'Tab': 9, 'Enter': 13, ' ': 32}


def find_chromium() -> str | None:
    """Path of a Chromium; None if there is none."""
    return next((found for name in NAMES if (found := shutil.which(name))), None)


class Page:
    """The page that the browser shows."""

    def __init__(self, to_browser: int, from_browser: int) -> None:
        self._to = os.fdopen(to_browser, 'wb', buffering=0)
        self._from = os.fdopen(from_browser, 'rb', buffering=0)
        self._numbers = itertools.count(1)
        self._rest = b''
        self._session: str | None = None
        self.requests: list[str] = []
        self.errors: list[str] = []
        self._loaded = 0
        target = self.call('Target.createTarget', url='about:blank')['targetId']
        attached = self.call('Target.attachToTarget', targetId=target, flatten=True)
        self._session = attached['sessionId']
        for domain in ('Page', 'Network', 'Runtime', 'Log'):
            self.call(f'{domain}.enable')

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        """Result of a command of the DevTools protocol."""
        number = next(self._numbers)
        message = {'id': number, 'method': method, 'params': params}
        if self._session is not None:
            message['sessionId'] = self._session
        self._to.write(json.dumps(message).encode() + b'\0')
        while True:
            answer = self._read()
            if answer.get('id') == number:
                assert 'error' not in answer, answer['error']
                return answer['result']

    def _read(self) -> dict[str, Any]:
        while b'\0' not in self._rest:
            part = os.read(self._from.fileno(), 1 << 16)
            assert part, 'the browser ended'
            self._rest += part
        text, _, self._rest = self._rest.partition(b'\0')
        message: dict[str, Any] = json.loads(text)
        method, params = message.get('method'), message.get('params', {})
        if method == 'Network.requestWillBeSent':
            self.requests.append(params['request']['url'])
        elif method == 'Runtime.exceptionThrown':
            self.errors.append(str(params['exceptionDetails']))
        elif method == 'Log.entryAdded' and params['entry']['level'] == 'error':
            self.errors.append(params['entry']['text'])
        elif method == 'Page.loadEventFired':
            self._loaded += 1
        return message

    def open(self, path: Path, at: str = '') -> None:
        """Show a file, and wait until all of it is there."""
        self.call('Page.navigate', url='about:blank')
        self.run('0')
        before = self._loaded
        self.call('Page.navigate', url=f'{path.resolve().as_uri()}{at}')
        while self._loaded == before:
            self._read()

    def run(self, script: str) -> Any:
        """Value of an expression of JavaScript."""
        answer = self.call('Runtime.evaluate', expression=script, returnByValue=True)
        assert 'exceptionDetails' not in answer, answer
        return answer['result'].get('value')

    def resize(self, width: int, height: int = 800, scheme: str = 'light') -> None:
        """Be a screen of this size, in CSS pixels."""
        self.call(
            'Emulation.setDeviceMetricsOverride',
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=width < 600,
        )
        features = [{'name': 'prefers-color-scheme', 'value': scheme}]
        self.call('Emulation.setEmulatedMedia', features=features)

    def press(self, key: str) -> None:
        """Press a key, as a hand would."""
        text = {'Enter': '\r', ' ': ' '}.get(key, '')
        for kind in ('keyDown', 'keyUp'):
            self.call(
                'Input.dispatchKeyEvent',
                type=kind,
                key=key,
                code='Space' if key == ' ' else key,
                windowsVirtualKeyCode=_KEYS[key],
                **({'text': text} if text and kind == 'keyDown' else {}),
            )

    def picture(self, path: Path, *, whole: bool = True) -> None:
        """Write what is seen as PNG; the whole page by default."""
        answer = self.call('Page.captureScreenshot', captureBeyondViewport=whole)
        path.write_bytes(base64.b64decode(answer['data']))

    def close(self) -> None:
        self._to.close()
        self._from.close()


@contextmanager
def chromium(program: str, folder: Path) -> Iterator[Page]:
    """A browser of its own, its profile in this folder."""
    command_read, command_write = os.pipe()
    answer_read, answer_write = os.pipe()

    process = subprocess.Popen(
        [
            *(sys.executable, '-S', '-c', _PLACE, str(command_read), str(answer_write)),
            *(program, '--headless=new', '--no-sandbox', '--disable-gpu'),
            *('--remote-debugging-pipe', f'--user-data-dir={folder}'),
            *('--no-first-run', '--disable-dev-shm-usage', '--hide-scrollbars'),
        ],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        pass_fds=(command_read, answer_write),
    )
    os.close(command_read)
    os.close(answer_write)
    page = None
    try:
        page = Page(command_write, answer_read)
        yield page
    finally:
        process.terminate()
        process.wait(30)
        if page is not None:
            page.close()
