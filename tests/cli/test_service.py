"""All targets of a run as one service: what its signal handler may do."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, cast

from leasekeeper.cli.service import Services

if TYPE_CHECKING:
    import pytest

    from leasekeeper.cli.targets import Target


class Interrupted:
    """A target that is stopped, and interrupted there by the handler of another signal, in the same thread."""

    def __init__(self) -> None:
        self.services = Services([cast("Target", self)])
        self.said: list[bool] = []

    def request_stop(self, *, force: bool = False) -> None:
        self.said.append(force)
        if not force:
            self.services.request_stop(force=True)


def test_a_signal_inside_the_handler_of_another_deadlocks_nothing() -> None:
    target = Interrupted()
    target.services.request_stop()
    assert target.said == [False, True]
    assert target.services.signalled


class Idle:
    """A target whose stop may take ten seconds."""

    longest_stop = 10.0

    def request_stop(self, *, force: bool = False) -> None: ...


def test_what_a_stop_does_not_use_is_left_to_the_end_of_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    services = Services([cast("Target", Idle())])
    now[0] += 60
    assert services.stop_left == 10.0  # nothing has asked for the stop: it ended by itself
    services.request_stop()
    now[0] += 3
    services.stop_unasked()
    assert services.stop_left == 7.0
    services.request_stop(force=True)
    assert services.stop_left == 0.0
