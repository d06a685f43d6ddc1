"""Runs tests side by side: in processes that are forked when all tests are collected.

`conftest.py` takes it for `--side-by-side`. Each of the processes has everything imported and collected when it starts,
takes pieces of the tests until none is left, and sends one message a test; decision 68 compares this with pytest-xdist.
It promises that every test is reported: one that ends its process fails, with whatever code, and what that process
had left is run by others.
"""

from __future__ import annotations

import gc
import mmap
import os
import signal
import struct
import sys
import tempfile
import warnings
from multiprocessing.connection import Connection, Pipe, wait
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path
    from typing import NoReturn

NUMBER = struct.Struct("=i")
NONE = -1
LOOKS = 1.0
"""Seconds after which a process that says nothing is looked at: children of tests may hold its connection open."""


class SideBySide:
    """A plugin of pytest.

    Args:
        config: pytest's.
        count: how many processes.
        piece_of: which tests belong together, by their ids: one process runs all of a piece.
    """

    def __init__(self, config: pytest.Config, count: int, piece_of: Callable[[str], str]) -> None:
        self._config = config
        self._count = count
        self._piece_of = piece_of

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool | None:
        """Run all tests; None where there is nothing to run, and pytest says why."""
        if session.testsfailed or self._config.option.collectonly:
            return None
        places = {item.nodeid: place for place, item in enumerate(session.items)}
        left = set(places.values())
        while left and not (session.shouldfail or session.shouldstop):
            for nodeid in self._run(session, self._pieces(session, left)):
                left.discard(places[nodeid])
        if session.shouldfail:
            raise session.Failed(session.shouldfail)
        if session.shouldstop:
            raise session.Interrupted(session.shouldstop)
        return True

    def _pieces(self, session: pytest.Session, left: set[int]) -> list[list[int]]:
        pieces: dict[str, list[int]] = {}
        for place in sorted(left):
            pieces.setdefault(self._piece_of(session.items[place].nodeid), []).append(place)
        return list(pieces.values())

    def _run(self, session: pytest.Session, pieces: list[list[int]]) -> Iterator[str]:
        """The ids of the tests that are reported, until all processes have ended."""
        base: Path = self._config._tmp_path_factory.getbasetemp()  # type: ignore[attr-defined]
        workers: dict[Connection, _Worker] = {}
        with tempfile.TemporaryFile(buffering=0) as pile:
            # The processes share this file and where it is read, so each number is read by one of them.
            pile.write(b"".join(map(NUMBER.pack, range(len(pieces)))))
            pile.seek(0)
            try:
                for number in range(min(self._count, len(pieces))):
                    worker = _Worker(session, pieces, pile.fileno(), base / f"worker-{number}")
                    workers[worker.start()] = worker
                while workers:
                    for connection in wait(list(workers), LOOKS) or list(workers):
                        assert isinstance(connection, Connection)
                        code = workers[connection].code()  # asked first: it sends nothing more afterwards
                        yield from self._received(connection, everything=code is not None)
                        if code is not None:
                            place = workers.pop(connection).place
                            if place is not None:
                                yield self._lost(session.items[place], code)
                            elif code:  # others would end in the same way
                                raise RuntimeError(f"a process ended with code {code} while it ran no test")
                    if session.shouldfail or session.shouldstop:
                        pile.seek(0, os.SEEK_END)
            finally:
                for worker in workers.values():
                    worker.kill()

    def _received(self, connection: Connection, *, everything: bool) -> Iterator[str]:
        """The id of the test that a message is about, if there is a message; with `everything`, those of all."""
        hook = self._config.hook
        while connection.poll():
            try:
                name, content = connection.recv()
            except (EOFError, OSError):  # the process has ended, perhaps within a message
                return
            if name == "report":
                report: pytest.TestReport = hook.pytest_report_from_serializable(config=self._config, data=content)
                hook.pytest_runtest_logreport(report=report)
                yield report.nodeid
            else:
                hook.pytest_warning_recorded.call_historic(kwargs=content)
            if not everything:
                return

    def _lost(self, item: pytest.Item, code: int) -> str:
        sentence = f"the process that ran this test ended with code {code}"
        report = pytest.TestReport(item.nodeid, item.location, {}, "failed", sentence, "call")
        self._config.hook.pytest_runtest_logreport(report=report)
        return item.nodeid


class _Worker:
    """One of the processes: here, what is known of it; there, a plugin that sends what happens."""

    def __init__(self, session: pytest.Session, pieces: list[list[int]], pile: int, folder: Path) -> None:
        self._session = session
        self._config = session.config
        self._pieces = pieces
        self._pile = pile
        self._folder = folder
        self._at = mmap.mmap(-1, NUMBER.size)
        self._move_to(NONE)
        self._pid = 0
        self._begun = False
        self._sent: Connection

    def start(self) -> Connection:
        """Start the process; where its messages come from."""
        received, self._sent = Pipe(duplex=False)
        sys.stdout.flush()
        sys.stderr.flush()
        self._pid = os.fork()
        if not self._pid:
            received.close()  # if pytest is killed, nothing reads from here: the next message ends the process
            self._live()
        self._sent.close()
        return received

    @property
    def place(self) -> int | None:
        """Which test it runs, or ran when it ended; None before the first and after the last."""
        place: int = NUMBER.unpack_from(self._at)[0]
        return None if place == NONE else place

    def _move_to(self, place: int) -> None:
        NUMBER.pack_into(self._at, 0, place)

    def code(self) -> int | None:
        """The code that the process ended with; None while it lives."""
        pid, status = os.waitpid(self._pid, os.WNOHANG)
        return os.waitstatus_to_exitcode(status) if pid else None

    def kill(self) -> None:
        """End the process. Servers that its tests have started end with it."""
        os.kill(self._pid, signal.SIGKILL)
        os.waitpid(self._pid, 0)

    def _live(self) -> NoReturn:
        code = 1
        try:
            self._folder.mkdir(exist_ok=True)
            self._config._tmp_path_factory._basetemp = self._folder  # type: ignore[attr-defined]
            plugins = self._config.pluginmanager
            capture: Any = plugins.getplugin("capturemanager")
            capture.stop_global_capturing()  # its files are shared with the other processes
            capture.start_global_capturing()
            plugins.unregister(name="terminalreporter")
            plugins.register(self)  # it is told of all warnings so far, which the others know
            self._begun = True
            self._session.teardown = self._collect_garbage  # type: ignore[method-assign]
            self._work()
            self._save_coverage()
            code = 0
        except KeyboardInterrupt:
            code = 2
        except BaseException:
            self._config.notify_exception(pytest.ExceptionInfo.from_current(), self._config.option)
        finally:
            os._exit(code)

    def _work(self) -> None:
        session = self._session
        coming = self._coming()
        place = next(coming, None)
        while place is not None:
            self._move_to(place)
            following = next(coming, None)
            after = None if following is None else session.items[following]
            self._config.hook.pytest_runtest_protocol(item=session.items[place], nextitem=after)
            if session.shouldfail or session.shouldstop:
                session._setupstate.teardown_exact(None)
                break
            place = following
        self._move_to(NONE)

    def _coming(self) -> Iterator[int]:
        while number := os.read(self._pile, NUMBER.size):
            yield from self._pieces[NUMBER.unpack(number)[0]]

    def _collect_garbage(self) -> None:
        """Have the teardown of the last test blamed for a socket that was never closed, at its very end.

        Pytest collects garbage when it ends itself, and this process ends before.
        """
        gc.collect()

    def _save_coverage(self) -> None:
        """Save what pytest-cov measures, in a file for this process; pytest-cov combines them."""
        coverage = sys.modules.get("coverage")
        if coverage is not None and (measured := coverage.Coverage.current()) is not None:
            measured.stop()
            measured.save()

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.passed and report.when != "call" and not self._config.option.durations:
            return
        data = self._config.hook.pytest_report_to_serializable(config=self._config, report=report)
        self._sent.send(("report", data))

    def pytest_warning_recorded(
        self, warning_message: warnings.WarningMessage, when: str, nodeid: str, location: object
    ) -> None:
        if not self._begun:
            return
        text = f"{warning_message.category.__name__}: {warning_message.message}"
        said = warnings.WarningMessage(text, UserWarning, warning_message.filename, warning_message.lineno)
        self._sent.send(("warning", {"warning_message": said, "when": when, "nodeid": nodeid, "location": location}))
