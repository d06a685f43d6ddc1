"""Signals that ask a run for a stop."""

from __future__ import annotations

import signal
import sys

import pytest

from leasekeeper.guard import Signals

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX signals")


def test_a_closed_terminal_asks_for_a_stop_and_cuts_none_short() -> None:
    counts: list[int] = []
    with Signals(counts.append) as signals:
        for _ in range(3):
            signal.raise_signal(signal.SIGHUP)
        assert signals.count == 1
        signal.raise_signal(signal.SIGTERM)
    assert counts == [1, 2]
    assert signal.getsignal(signal.SIGHUP) is signal.SIG_DFL


def test_a_program_that_ignores_or_handles_a_closed_terminal_goes_on_to_do_so() -> None:
    """`nohup` ignores it."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    counts: list[int] = []
    try:
        with Signals(counts.append):
            signal.raise_signal(signal.SIGHUP)
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)
    assert counts == []
