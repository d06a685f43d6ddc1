"""What the tests of the engine share: whether threads of ours are left."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.fixture
def no_thread_left() -> Callable[[], bool]:
    """Whether every thread that was started since has ended, or is about to: it can tell only before its last step.

    Threads of tests before may go on, e.g. those of senders, which live as long as the process.
    """
    before = set(threading.enumerate())

    def look() -> bool:
        ours = [each for each in threading.enumerate() if each.name.startswith("leasekeeper") and each not in before]
        for each in ours:
            each.join(60)
        return not any(each.is_alive() for each in ours)

    return look
