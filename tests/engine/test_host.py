"""The host: a thread with a loop, which is there or says why not."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from leasekeeper.engine import host

if TYPE_CHECKING:
    import asyncio

    import pytest


def test_a_loop_that_cannot_be_made_is_an_error_and_not_a_wait_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a process that has used up its descriptors; later, with some free again, there is a loop."""
    make, free = host.new_event_loop, False

    def scarce() -> asyncio.AbstractEventLoop:
        if not free:
            raise OSError(24, "Too many open files")
        return make()

    monkeypatch.setattr(host, "new_event_loop", scarce)
    thread = host.LoopThread("engine")
    errors: list[Exception] = []

    def ask() -> None:
        try:
            thread.enter()
        except OSError as error:
            errors.append(error)

    asking = threading.Thread(target=ask, daemon=True)
    asking.start()
    asking.join(5)
    assert [str(each) for each in errors] == ["[Errno 24] Too many open files"]
    free = True
    assert thread.enter().is_running()
    thread.leave().result(5)
