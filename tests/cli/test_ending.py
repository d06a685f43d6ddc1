"""The end of the command's process: exit functions of other code run, and keep it only for a bounded time."""

from __future__ import annotations

import subprocess
import sys

import pytest

pytestmark = pytest.mark.slow

HANGS = """
import atexit, logging, threading
from leasekeeper.cli.ending import end

logging.basicConfig(format="%(levelname)s %(name)s: %(message)s")
atexit.register(print, "flushed")  # registered first, so it would run last
{more}
end(3, limit={limit})
"""


def ended(more: str, limit: float) -> subprocess.CompletedProcess[str]:
    code = HANGS.format(more=more, limit=limit)
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60)


def test_what_is_registered_runs_to_its_end() -> None:
    done = ended("threading.Thread(target=threading.Event().wait).start()  # waits for ever", 60.0)
    assert (done.returncode, done.stdout, done.stderr) == (3, "flushed\n", "")


def test_what_hangs_is_cut_off_and_said() -> None:
    """As the shutdown of OpenTelemetry's batch processor, whose exporter waits for a collector."""
    done = ended("atexit.register(threading.Event().wait)", 0.5)
    assert (done.returncode, done.stdout) == (3, "")
    assert done.stderr.startswith(
        "WARNING leasekeeper.run: exit function threading.Event.wait has not ended within 0.5 s, so it is cut off; an "
    )


def test_a_sender_is_closed_before_what_hangs_is_cut_off() -> None:
    """What it accepted is sent, or named."""
    sender = """
import concurrent.futures
from leasekeeper.sending import open_senders

class Sender:
    def finish(self):
        print("closed")
        done = concurrent.futures.Future()
        done.set_result(None)
        return done

open_senders.remember(Sender())
atexit.register(threading.Event().wait)
"""
    done = ended(sender, 0.1)
    assert (done.returncode, done.stdout) == (3, "closed\n")


@pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX signals")
def test_a_terminal_that_is_closed_cuts_nothing_short() -> None:
    """It sends several signals: the first has asked for the stop."""
    closed = "import signal\natexit.register(signal.raise_signal, signal.SIGHUP)"
    done = ended(closed, 60.0)
    assert (done.returncode, done.stdout, done.stderr) == (3, "flushed\n", "")


def test_a_log_handler_that_hangs_keeps_nothing() -> None:
    handler = """
class Hangs(logging.Handler):
    def emit(self, record):
        threading.Event().wait()

logging.getLogger().addHandler(Hangs())
atexit.register(threading.Event().wait)
"""
    assert ended(handler, 0.1).returncode == 3


def test_the_time_that_a_sender_takes_to_close_is_not_taken_from_other_code() -> None:
    """Telemetry, which ends after it, tells of what it sent last."""
    sender = """
import concurrent.futures
from leasekeeper.sending import open_senders

class Sender:
    done = None
    def finish(self):
        if self.done is None:
            self.done = concurrent.futures.Future()
            threading.Timer(3.5, self.done.set_result, [None]).start()
        return self.done

open_senders.remember(Sender())
atexit.unregister(print)
atexit.unregister(open_senders.close_all)
atexit.register(lambda: (threading.Event().wait(0.3), print("flushed")))
atexit.register(open_senders.close_all)
"""
    done = ended(sender, 3.0)  # a busy machine has time enough
    assert (done.returncode, done.stdout, done.stderr) == (3, "flushed\n", "")


SLOW = """
import time
from leasekeeper.cli import ending

def save():
    time.sleep(1.0)
    print("saved")

atexit.register(save)
ending.grant({granted})
"""


def test_an_exit_function_of_the_program_has_the_time_that_the_stop_has_left() -> None:
    """Also after a stop that took all of its time, and after an exit function of a library that hangs."""
    done = ended(SLOW.format(granted=60.0), 0.5)  # a busy machine has time enough to begin
    assert (done.returncode, done.stdout, done.stderr) == (3, "saved\nflushed\n", "")


def test_an_exit_function_of_the_program_that_hangs_is_cut_off_and_named() -> None:
    hangs = "atexit.register(lambda: threading.Event().wait())\nfrom leasekeeper.cli import ending\nending.grant(0.1)"
    done = ended(hangs, 0.5)
    assert (done.returncode, done.stdout) == (3, "")
    assert done.stderr == (
        "WARNING leasekeeper.run: exit function __main__.<lambda> has not ended within 0.6 s, so it is cut off\n"
    )


def test_a_signal_cuts_exit_functions_short() -> None:
    hangs = """
import os, signal, sys

def save():
    os.kill(os.getpid(), signal.SIGTERM)
    threading.Event().wait()

atexit.register(save)
"""
    done = ended(hangs, 60.0)
    assert (done.returncode, done.stdout, done.stderr) == (3, "", "")
