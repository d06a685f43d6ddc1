"""All targets of a run as one service: what its signal handler may do."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from leasekeeper.cli.service import Services

if TYPE_CHECKING:
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
