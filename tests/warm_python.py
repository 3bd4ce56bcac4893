"""A Python that has imported torch: what takes most of the time of a start is done.

The program of :func:`warm_python` takes the arguments of ``python`` and gives them to a
server, with its open files, its folder and its environment. The server forks; its child
has imported torch and the hosts' engine, nothing of mmdet, mmseg or kd_plugins, and
runs the script, module or code. The program ends as the child ends; if it is killed, so
is the child. Of python's options it knows ``-u`` and ``-W``; with others it becomes the
real one.
"""

import gc
import json
import os
import runpy
import selectors
import signal
import socket
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib import import_module
from pathlib import Path
from types import ModuleType

# They register nothing, and every start of a tool imports them.
_IMPORTED = (
    *('torch', 'torchvision', 'mmengine.runner', 'mmengine.visualization'),
    *('cv2', 'scipy.optimize', 'pycocotools.cocoeval'),
)
_PROGRAM = """#!{python} -SE
import json, os, socket, sys

arguments = sys.argv[1:]
while arguments[:1] in (['-u'], ['-W']):
    del arguments[: 1 + (arguments[0] == '-W')]
if not arguments or arguments[0][0] == '-' and arguments[0] not in ('-c', '-m'):
    os.execv({python!r}, [{python!r}, *sys.argv[1:]])
arguments = sys.argv[1:]
request = json.dumps([arguments, os.getcwd(), dict(os.environ)]).encode()
with socket.socket(socket.AF_UNIX) as server:
    server.connect({address!r})
    socket.send_fds(server, [len(request).to_bytes(8, 'big')], [0, 1, 2])
    server.sendall(request)
    code = int(server.recv(8) or 1)
if code < 0:
    os.kill(os.getpid(), -code)
os._exit(code)
"""


@contextmanager
def warm_python() -> Iterator[str]:
    """Path of the program; its server ends with the context, and all that it forked."""
    with tempfile.TemporaryDirectory() as folder:
        program, address = Path(folder, 'python'), str(Path(folder, 'server'))
        text = _PROGRAM.format(python=sys.executable, address=address)
        program.write_text(text)
        program.chmod(0o755)
        kept = {
            name: value
            for name, value in os.environ.items()
            if name != 'PYTHONPATH' and not name.startswith('COVERAGE')
        }
        server = subprocess.Popen(
            [sys.executable, __file__, str(program), address],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            env={**kept, 'OMP_NUM_THREADS': '1'},
        )
        with server:
            assert server.stdin is not None and server.stdout is not None
            try:
                server.stdout.readline()  # it listens
                yield str(program)
            finally:
                server.stdin.close()


class _Server:
    """Forks a child for each request, until its standard input is closed."""

    def __init__(self, address: str) -> None:
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(address)
        self.listener.listen(64)
        self.ended, signalled = socket.socketpair()
        for each in (self.ended, signalled):
            each.setblocking(False)
        self.signalled = signalled  # kept open
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(signalled.fileno())
        self.selector = selectors.DefaultSelector()
        for file in (0, self.listener, self.ended):
            self.selector.register(file, selectors.EVENT_READ)
        self.children: dict[int, socket.socket] = {}

    def serve(self) -> tuple[list[str], str, dict[str, str]] | None:
        """In a child: arguments, folder and environment; None at the end."""
        while True:
            for key, _ in self.selector.select():
                if key.fileobj == 0:
                    for child in self.children:
                        self._kill(child)
                    return None
                if key.fileobj is self.ended:
                    self._reap()
                elif key.fileobj is self.listener:
                    request = self._fork()
                    if request is not None:
                        return request
                elif key.data in self.children:  # the program was killed
                    self.selector.unregister(key.fileobj)
                    self._kill(key.data)

    def _fork(self) -> tuple[list[str], str, dict[str, str]] | None:
        connection, _ = self.listener.accept()
        head, files, *_ = socket.recv_fds(connection, 8, 3)
        length = int.from_bytes(head, 'big')
        request = connection.recv(length, socket.MSG_WAITALL)
        child = os.fork()
        if child == 0:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            self.selector.close()
            for each in (self.listener, self.ended, self.signalled, connection):
                each.close()
            for each in self.children.values():
                each.close()
            for number, file in enumerate(files):
                os.dup2(file, number)
                os.close(file)
            os.setpgid(0, 0)
            arguments, folder, environment = json.loads(request)
            return arguments, folder, environment
        with suppress(OSError):  # it has done so itself, or has ended
            os.setpgid(child, child)
        for file in files:
            os.close(file)
        self.children[child] = connection
        self.selector.register(connection, selectors.EVENT_READ, child)
        return None

    def _reap(self) -> None:
        with suppress(BlockingIOError):
            while self.ended.recv(64):
                pass
        while self.children:
            child, status = os.waitpid(-1, os.WNOHANG)
            if child == 0:
                return
            with self.children.pop(child) as connection:
                with suppress(KeyError):
                    self.selector.unregister(connection)
                with suppress(OSError):  # nobody waits for it any more
                    code = os.waitstatus_to_exitcode(status)
                    connection.sendall(str(code).encode())

    @staticmethod
    def _kill(child: int) -> None:
        with suppress(ProcessLookupError):
            os.killpg(child, signal.SIGKILL)


def _run(arguments: list[str], folder: str, environment: dict[str, str]) -> None:
    """What a Python of its own would do."""
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    import_module('numpy').random.seed()
    paths = filter(None, environment.get('PYTHONPATH', '').split(os.pathsep))
    while arguments[0] in ('-u', '-W'):
        if arguments.pop(0) == '-W':
            warnings.simplefilter(arguments.pop(0))  # type: ignore[arg-type]
    kind, *rest = arguments
    first = str(Path(kind).resolve().parent) if kind[0] != '-' else os.getcwd()
    sys.path[:1] = [first, *paths]
    if 'COVERAGE_PROCESS_CONFIG' in environment:
        import_module('coverage').process_startup()
    if kind == '-c':
        sys.argv = ['-c', *rest[1:]]
        main = ModuleType('__main__')
        sys.modules['__main__'] = main
        exec(compile(rest[0], '<string>', 'exec'), main.__dict__)
    elif kind == '-m':
        sys.argv = rest
        runpy.run_module(rest[0], run_name='__main__', alter_sys=True)
    else:
        sys.argv = arguments
        runpy.run_path(kind, run_name='__main__')


def main(program: str, address: str) -> None:
    """Import, and serve."""
    for name in _IMPORTED:
        with suppress(ImportError):
            import_module(name)
    sys.executable = program
    server = _Server(address)
    print('listening', flush=True)
    gc.freeze()
    request = server.serve()
    if request is not None:
        _run(*request)


if __name__ == '__main__':
    main(*sys.argv[1:])
