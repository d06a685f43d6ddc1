"""What the tests of the engine share: a server, and whether threads of ours are left."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest

from leasekeeper.local import LocalSqs

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@pytest.fixture(scope="module")
def server() -> Iterator[LocalSqs]:
    with LocalSqs() as sqs:
        yield sqs


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
