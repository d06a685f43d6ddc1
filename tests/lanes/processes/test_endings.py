"""Why worker processes end, in words and as what that counts."""

from __future__ import annotations

import signal

import pytest

from leasekeeper.lanes.processes.endings import CAUSES, cause_of, reason_of


@pytest.mark.parametrize(
    ("exit_code", "memory", "cause", "words"),
    [
        (-signal.SIGSEGV, False, "crash", "by signal SIGSEGV"),
        (-signal.SIGABRT, False, "crash", "by signal SIGABRT"),
        (-signal.SIGKILL, False, "killed", "by signal SIGKILL"),
        (-signal.SIGKILL, True, "memory", "by signal SIGKILL: the kernel killed it because memory ran out"),
        (3, False, "exit", "with exit code 3"),
        (None, False, "exit", "for an unknown reason"),
    ],
)
def test_an_end_has_a_cause_and_words(exit_code: int | None, memory: bool, cause: str, words: str) -> None:
    assert cause_of(exit_code, memory=memory) == cause
    assert cause in CAUSES
    assert reason_of(exit_code, memory=memory) == words
