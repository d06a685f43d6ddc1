"""How the answer about a message gets back to the caller: by a future of its loop, or by one that a thread waits for.

Used by the sender. It promises that a loop is woken once for all answers that come together.
"""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING

from leasekeeper.api import Sent
from leasekeeper.futures import running_future
from leasekeeper.lanes.mailbox import Mailbox
from leasekeeper.running import Completion, in_event_loop

if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from concurrent.futures import Future

    Found = Sent | Exception
    Tell = Callable[[Found], object]

_mailboxes: dict[asyncio.AbstractEventLoop, Mailbox[tuple[asyncio.Future[Sent], Found]]] = {}
"""Those of loops that are open, but for some that were closed after the newest came."""


class InLoop(Completion[Sent]):
    """The completion of a send inside an event loop."""

    __slots__ = ("_awaited",)

    def __init__(self, future: asyncio.Future[Sent]) -> None:
        self._awaited = future
        self.asked = False

    def done(self) -> bool:
        """Whether there is an answer."""
        return self._awaited.done()

    def result(self, timeout: float | None = None) -> Sent:  # noqa: ARG002 - it cannot wait in its own loop
        """The answer; await it first."""
        self.asked = True
        return self._awaited.result()

    def __await__(self) -> Generator[object, None, Sent]:
        self.asked = True
        return self._awaited.__await__()


def new_answer() -> tuple[Tell, Callable[[], Completion[Sent]]]:
    """What takes the answer, from any thread, and what gives the caller something to wait for it."""
    if not in_event_loop():
        waited: Future[Sent] = running_future()
        return partial(set_answer, waited), partial(Completion, waited)
    loop = asyncio.get_running_loop()
    mailbox = _mailboxes.get(loop)
    if mailbox is None:
        for closed in [each for each in list(_mailboxes) if each.is_closed()]:
            _mailboxes.pop(closed, None)
        mailbox = _mailboxes[loop] = Mailbox(loop, _answered)
    future: asyncio.Future[Sent] = loop.create_future()
    return partial(_post, mailbox, future), partial(InLoop, future)


def _post(mailbox: Mailbox[tuple[asyncio.Future[Sent], Found]], future: asyncio.Future[Sent], found: Found) -> None:
    mailbox.post_one((future, found))


def _answered(items: list[tuple[asyncio.Future[Sent], Found]]) -> None:
    for future, found in items:
        if not future.done():  # its caller may have been cancelled
            set_answer(future, found)


def set_answer(future: asyncio.Future[Sent] | Future[Sent], found: Found) -> None:
    """Give a future its answer."""
    if isinstance(found, Sent):
        future.set_result(found)
    else:
        future.set_exception(found)
