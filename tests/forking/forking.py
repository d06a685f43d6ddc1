"""Programs that start in milliseconds: forked from a process that has imported what they need.

Owned by the tests of examples and the acceptance tests. A forked program is a process like any other: with its own
arguments, directory, environment, output, signals, exit code and end of the interpreter. Only its imports are not made
again, which would take more time than all that the tests look at. Run as a program, this file is the process that
forks.
"""

from __future__ import annotations

import atexit
import json
import os
import select
import signal
import socket
import subprocess
import sys
import time
import types
from contextlib import suppress
from multiprocessing import process
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

IMPORTED = (
    "uvloop",
    "botocore.session",
    "leasekeeper.cli.program",
    "leasekeeper.cli.serve",
    "leasekeeper.supervision.start",
    "leasekeeper.keeper.attendants",
    "ctypes",
)
"""What the programs of the tests import."""
_forkers: dict[tuple[str, ...], Forker] = {}


class Forked:
    """A forked program, with the part of `subprocess.Popen` that tests use."""

    def __init__(self, forker: Forker, pid: int) -> None:
        self._forker = forker
        self.pid = pid

    @property
    def returncode(self) -> int | None:
        """As of the last look."""
        return self._forker.ended.get(self.pid)

    def poll(self) -> int | None:
        """The exit code, or minus the signal that killed it; None while it runs."""
        self._forker.look(0.0)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Wait for its end."""
        end = time.monotonic() + (timeout or 3600.0)
        while (code := self.poll()) is None:
            left = end - time.monotonic()
            if left <= 0:
                raise subprocess.TimeoutExpired(f"process {self.pid}", timeout or 0.0)
            self._forker.look(left)
        return code

    def send_signal(self, number: int) -> None:
        """Send a signal, unless it has ended."""
        if self.poll() is None:
            with suppress(ProcessLookupError):  # it has ended since
                os.kill(self.pid, number)

    def kill(self) -> None:
        """Send SIGKILL, unless it has ended."""
        self.send_signal(signal.SIGKILL)


class Forker:
    """A process that forks, started with these flags of Python."""

    def __init__(self, flags: Sequence[str]) -> None:
        self._link, other = socket.socketpair()
        command = [sys.executable, *flags, __file__, str(other.fileno())]
        clean = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "AWS_"))}
        self._process = subprocess.Popen(
            command, pass_fds=[other.fileno()], env=clean, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL
        )
        other.close()
        self._buffer = b""
        self._started: list[int] = []
        self.ended: dict[int, int] = {}
        """Exit codes by process."""
        atexit.register(self.close)

    def start(
        self, arguments: Sequence[str], directory: Path, environment: Mapping[str, str], out: Path, err: Path
    ) -> Forked:
        """Run a script or the command `leasekeeper`: the first argument is its file."""
        asked = {
            "arguments": arguments,
            "directory": str(directory),
            "environment": environment,
            "outputs": [str(out), str(err)],
        }
        self._link.sendall(json.dumps(asked).encode() + b"\n")
        while not self._started:
            self.look(60.0)
        return Forked(self, self._started.pop())

    def look(self, seconds: float) -> None:
        """Read what the process reports within so many seconds."""
        if not select.select([self._link], [], [], seconds)[0]:
            return
        data = self._link.recv(65_536)
        if not data:
            raise RuntimeError("the process that forks has ended")
        *lines, self._buffer = (self._buffer + data).split(b"\n")
        for line in lines:
            word, pid, *code = line.split()
            if word == b"started":
                self._started.append(int(pid))
            else:
                self.ended[int(pid)] = int(code[0])

    def close(self) -> None:
        """End it."""
        self._link.close()
        self._process.wait()


def forker(*flags: str) -> Forker:
    """The forker of this test process with these flags; made when first asked for."""
    if flags not in _forkers:
        _forkers[flags] = Forker(flags)
    return _forkers[flags]


def _serve(link: socket.socket) -> dict[str, Any] | None:
    """Fork for each request. Returns a request in each forked process, and None here at the end."""
    woken, wake = socket.socketpair()
    wake.setblocking(False)
    signal.set_wakeup_fd(wake.fileno())
    signal.signal(signal.SIGCHLD, lambda *_: None)
    running: set[int] = set()
    buffer = b""
    while True:
        ready = select.select([link, woken], [], [])[0]
        if woken in ready:
            woken.recv(4096)
            _report(link, running)
        if link in ready:
            data = link.recv(1 << 20)
            if not data:  # the tests have ended, or were killed
                for pid in running:
                    with suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)
                return None
            buffer += data
        while b"\n" in buffer:
            line, _, buffer = buffer.partition(b"\n")
            pid = os.fork()
            if pid == 0:
                signal.set_wakeup_fd(-1)
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                for each in (woken, wake, link):
                    each.close()
                request: dict[str, Any] = json.loads(line)
                return request
            running.add(pid)
            link.sendall(b"started %d\n" % pid)


def _report(link: socket.socket, running: set[int]) -> None:
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if not pid:
            return
        running.discard(pid)
        link.sendall(b"ended %d %d\n" % (pid, os.waitstatus_to_exitcode(status)))


def _warm_up() -> None:
    """Import what programs need, and let botocore read its models of SQS."""
    for name in IMPORTED:
        __import__(name)
    from leasekeeper.sqs.endpoint import locate
    from leasekeeper.sqs.settings import ClientSettings

    locate(ClientSettings(region="us-east-1"))


def _become(request: dict[str, Any]) -> tuple[types.CodeType, dict[str, Any]]:
    """Let this process be the program that was asked for; returns its code and its globals."""
    os.chdir(request["directory"])
    vars(process)["ORIGINAL_DIR"] = request["directory"]  # relative to which its children find the script
    os.environ.clear()
    os.environ.update(request["environment"])
    for number, path in enumerate(request["outputs"], 1):
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(file, number)
        os.close(file)
    sys.argv = request["arguments"]
    script = Path(sys.argv[0])
    sys.path[0] = str(script.parent.resolve())
    module = types.ModuleType("__main__")
    module.__file__ = str(script)
    sys.modules["__main__"] = module
    return compile(script.read_bytes(), str(script), "exec"), vars(module)


class ForkedChild:
    """What `subprocess.Popen` is for a supervisor: it forks where that starts another interpreter.

    The supervisor's own objects stay on the stack of the new process until it ends, so nothing of them is closed twice.
    """

    def __init__(self, command: Sequence[str], *, env: Mapping[str, str], pass_fds: Sequence[int]) -> None:
        self.returncode: int | None = None
        arguments = [sys.argv[0], *command[command.index("leasekeeper") + 1 :]]
        self.pid = os.fork()
        if self.pid == 0:
            self._become(arguments, env, set(pass_fds))

    @staticmethod
    def _become(arguments: Sequence[str], environment: Mapping[str, str], kept: set[int]) -> None:
        signal.set_wakeup_fd(-1)
        for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP, signal.SIGINT}:
            if callable(signal.getsignal(number)):
                signal.signal(number, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        for each in list(Path("/proc/self/fd").iterdir()):
            if (descriptor := int(each.name)) > 2 and descriptor not in kept:
                with suppress(OSError):
                    os.close(descriptor)
        os.environ.clear()
        os.environ.update(environment)
        sys.argv = list(arguments)
        module = types.ModuleType("__main__")
        module.__file__ = sys.argv[0]
        sys.modules["__main__"] = module
        try:
            exec(compile(Path(sys.argv[0]).read_bytes(), sys.argv[0], "exec"), vars(module))
        except BaseException as error:
            _show(type(error), error, error.__traceback__)
        os._exit(1)


def _fork_children() -> None:
    """Let the supervisor of this process fork the processes that it starts."""
    from leasekeeper.supervision import child

    real = subprocess.Popen

    def start(command: Sequence[str], **how: Any) -> Any:
        return ForkedChild(command, **how) if "leasekeeper" in command else real(command, **how)

    names = {name: value for name, value in vars(subprocess).items() if not name.startswith("__")}
    vars(child)["subprocess"] = types.SimpleNamespace(**names | {"Popen": start})


def _show(kind: type[BaseException], error: BaseException, trace: types.TracebackType | None) -> None:
    """Print an error without the frame of this file."""
    while trace is not None and trace.tb_frame.f_code.co_filename == __file__:
        trace = trace.tb_next
    sys.__excepthook__(kind, error, trace)


if __name__ == "__main__":
    _warm_up()
    if (asked := _serve(socket.socket(fileno=int(sys.argv[1])))) is not None:
        sys.excepthook = _show
        code, names = _become(asked)
        del asked
        _fork_children()
        exec(code, names)  # the program, at the place from which the interpreter ends as it does for each program
