"""The supervisor with real processes: small scripts in the place of consumers."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from leasekeeper.supervision.child import Child

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytestmark = [pytest.mark.slow, pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX signals")]

SUPERVISE = """
import os, sys
from leasekeeper.supervision.plan import Plan
from leasekeeper.supervision.supervisor import Supervisor

count, *command = sys.argv[1:]
os._exit(Supervisor(Plan(arguments=(), count=int(count)), os.environ, command=lambda _: command).run())
"""
CHILD = """
import os, signal, sys, threading
from leasekeeper.supervision.lifeline import Lifeline

line = Lifeline.from_environment(os.environ)
assert line is not None
told, count = threading.Event(), 0

def say(*words):
    # In one write: the children share the file, and `print` may write each word by itself (PYTHONUNBUFFERED).
    os.write(1, (" ".join(map(str, words)) + "\\n").encode())

def hear(number, _):
    global count
    level = line.level(number, count)
    if level > count:
        count = level
        told.set()

for number in (signal.SIGTERM, signal.SIGINT):
    signal.signal(number, hear)
line.listen()
line.begins()
line.tell(ready=1.0)
say("pid", line.number, os.getpid())
"""
DRAINS = """
told.wait()
say("told", line.number, count)
counts = {"received": 3, "handled": 2, "done": 2, "released": 1, "given_back": {"not_started": 1}}
line.tell(ends="signal", reports=[{"queue": "orders", "seconds": 2.5, **counts}])
"""
NEEDS_FORCE = """
while count < 2:
    signal.pause()
say("forced", line.number)
"""


class Supervised:
    """A supervisor in a process, with children that run a script."""

    def __init__(self, directory: Path, count: int, code: str, first: str = "") -> None:
        script = directory / "child.py"
        script.write_text(textwrap.dedent(CHILD) + textwrap.dedent(code))
        self._out = directory / "out"
        with self._out.open("a") as out:
            self.process = subprocess.Popen(
                [sys.executable, "-c", first + SUPERVISE, str(count), sys.executable, str(script)],
                stdout=out,
                stderr=out,
            )

    @property
    def said(self) -> str:
        return self._out.read_text()

    def lines(self, word: str) -> list[list[int]]:
        """The numbers in the lines that start with this word."""
        found = [line.split() for line in self.said.splitlines()]
        return [[int(each) for each in line[1:]] for line in found if line[:1] == [word]]

    def until(self, condition: Callable[[], object]) -> None:
        pause, end = threading.Event(), time.monotonic() + 30
        while not condition():
            assert time.monotonic() < end, self.said
            pause.wait(0.01)

    def end(self) -> int:
        return self.process.wait(30)


@pytest.fixture
def supervised(tmp_path: Path) -> Iterator[Callable[..., Supervised]]:
    made: list[Supervised] = []

    def make(count: int, code: str, first: str = "") -> Supervised:
        made.append(Supervised(tmp_path, count, code, first))
        return made[-1]

    yield make
    for each in made:
        each.process.kill()
        each.process.wait()


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_a_signal_to_the_supervisor_and_its_children_stops_each_child_once_and_the_last_line_adds_up(
    supervised: Callable[..., Supervised],
) -> None:
    """As from a terminal (INT) or from systemd (TERM), which signal all of them."""
    run = supervised(2, DRAINS)
    run.until(lambda: len(run.lines("pid")) == 2)
    for _, pid in run.lines("pid"):
        os.kill(pid, signal.SIGINT)
    run.process.send_signal(signal.SIGINT)
    assert run.end() == 0
    assert sorted(run.lines("told")) == [[1, 1], [2, 1]]
    assert run.said.rstrip().endswith(
        "all 2 processes: queue orders: 6 received: 4 done, 2 given back (2 not started) in 2.5 s"
    )


def test_a_closed_terminal_is_one_stop_and_its_last_lines_have_no_reader(
    supervised: Callable[..., Supervised], tmp_path: Path
) -> None:
    """It sends SIGHUP to all of them, some more than once."""
    away = f"import os\nos.dup2(os.open({str(tmp_path / 'fifo')!r}, os.O_WRONLY), 2)\n"
    os.mkfifo(tmp_path / "fifo")
    run = supervised(1, DRAINS, away)
    with (tmp_path / "fifo").open("rb"):
        run.until(lambda: len(run.lines("pid")) == 1)
    for _ in range(3):
        run.process.send_signal(signal.SIGHUP)
    assert run.end() == 0
    assert run.lines("told") == [[1, 1]]


def test_a_child_that_is_killed_is_replaced(supervised: Callable[..., Supervised]) -> None:
    run = supervised(2, DRAINS)
    run.until(lambda: len(run.lines("pid")) == 2)
    number, pid = run.lines("pid")[0]
    os.kill(pid, signal.SIGKILL)
    run.until(lambda: len(run.lines("pid")) == 3)
    run.process.send_signal(signal.SIGTERM)
    assert run.end() == 0
    assert (
        f"process {number} (pid {pid}) ended with SIGKILL (killed from outside, for example because memory ran out); "
        "starting another" in run.said
    )
    assert "2 of 3 processes: queue orders: 6 received" in run.said
    assert run.said.rstrip().endswith("1 process ended without a report: what it did is not counted")


def test_a_second_signal_reaches_the_children_as_force(supervised: Callable[..., Supervised]) -> None:
    run = supervised(1, NEEDS_FORCE)
    run.until(lambda: run.lines("pid"))

    def forced() -> bool:
        run.process.send_signal(signal.SIGINT)
        return bool(run.lines("forced"))

    run.until(forced)
    assert run.end() == 0


def test_children_stop_when_the_supervisor_is_killed(supervised: Callable[..., Supervised]) -> None:
    run = supervised(2, DRAINS)
    run.until(lambda: len(run.lines("pid")) == 2)
    run.process.kill()
    run.until(lambda: sorted(run.lines("told")) == [[1, 1], [2, 1]])
    run.until(lambda: not any(alive(pid) for _, pid in run.lines("pid")))


def test_orphans_of_children_are_waited_for(supervised: Callable[..., Supervised]) -> None:
    """As PID 1 of a container, the supervisor inherits them. Here the kernel is asked to give it them."""
    orphan = """
    import subprocess, textwrap
    code = '''
    import os, time
    if os.fork() == 0:
        os.setsid()
        time.sleep(0.05)
        os._exit(0)
    print("left", flush=True)
    '''
    subprocess.run([sys.executable, "-S", "-c", textwrap.dedent(code)])
    """
    run = supervised(1, textwrap.dedent(orphan) + DRAINS, "import ctypes; ctypes.CDLL(None).prctl(36, 1)\n")
    run.until(lambda: "left" in run.said)

    def children() -> set[str]:
        return set(Path(f"/proc/{run.process.pid}/task/{run.process.pid}/children").read_text().split())

    run.until(lambda: children() == {str(run.lines("pid")[0][1])})
    run.process.send_signal(signal.SIGTERM)
    assert run.end() == 0


def test_a_mistake_that_all_children_make_is_printed_once(supervised: Callable[..., Supervised]) -> None:
    refused = """
    assert line.refuse("leasekeeper: --concurrency='x': must be a whole number")
    say("refused", line.number)
    """
    run = supervised(2, textwrap.dedent(refused) + DRAINS)
    run.until(lambda: sorted(run.lines("refused")) == [[1], [2]])
    run.process.send_signal(signal.SIGTERM)
    assert run.end() == 0
    assert run.said.splitlines().count("leasekeeper: --concurrency='x': must be a whole number") == 1


EARLY = """
import os, signal, sys
number = int(sys.argv[1])
os.kill(os.getpid(), number)
from leasekeeper.supervision.lifeline import Lifeline

heard, line = [], Lifeline.from_environment(os.environ)
signal.signal(number, lambda *_: heard.append(1))
before = len(heard)
line.listen()
line.tell(heard=[before, len(heard)])
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP])
def test_what_a_terminal_sends_before_a_process_has_its_signal_handlers_waits_for_them(number: signal.Signals) -> None:
    """It sends Ctrl-C, and that it was closed, to all processes: an import would end with a traceback, or at once."""
    child = Child([sys.executable, "-c", EARLY, str(int(number))], os.environ)
    assert os.waitpid(child.pid, 0)[1] == 0
    assert child.said() == [{"heard": [0, 1]}]
    child.ended(0)
    assert number not in signal.pthread_sigmask(signal.SIG_BLOCK, ())
