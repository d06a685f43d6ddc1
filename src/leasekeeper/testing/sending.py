"""Senders for tests: they refuse what SQS would refuse, note what is sent, and may deliver it in virtual time.

Used by `run_handler` and by trials, in place of the senders that handlers get as `Annotated[Sender, "queue"]`.
"""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager, contextmanager, nullcontext
from typing import TYPE_CHECKING, Any

from leasekeeper.api import Sent
from leasekeeper.futures import done_future
from leasekeeper.running import Completion, in_event_loop
from leasekeeper.sending.answers import InLoop
from leasekeeper.sending.outgoing import TargetQueue
from leasekeeper.sending.senders import queue_of

if TYPE_CHECKING:
    import inspect
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
    from contextlib import AbstractContextManager

    from leasekeeper.api import Outgoing
    from leasekeeper.injection import Get, GetLater

    Deliver = Callable[[str, Outgoing], Awaitable[Sent]]


class RecordedSenders:
    """An injector of senders whose messages are noted.

    Args:
        deliver: takes a queue's name and a message to SQS, on the loop where this was made; None: they go nowhere.

    Attributes:
        sent: the bodies of what was sent, by the queue's name, in order.
    """

    def __init__(self, deliver: Deliver | None = None) -> None:
        self._deliver = deliver
        self._loop = asyncio.get_running_loop() if deliver is not None else None
        self.sent: dict[str, list[str]] = {}

    def gives(self, parameter: inspect.Parameter) -> bool:
        """Whether it is annotated with `Annotated[Sender, "queue"]`."""
        return queue_of(parameter) is not None

    @contextmanager
    def scope(self, message: Any, /) -> Iterator[Get]:  # noqa: ARG002 - the injectors'
        """The senders of one run of a `def` handler."""
        yield lambda parameter: RecordedSender(str(queue_of(parameter)), self.take)

    @asynccontextmanager
    async def scope_async(self, message: Any, /) -> AsyncIterator[GetLater]:  # noqa: ARG002 - the injectors'
        """The senders of one run of an `async def` handler; at its end what was posted is waited for."""
        made: list[RecordedSender] = []

        async def get(parameter: inspect.Parameter) -> RecordedSender:
            made.append(RecordedSender(str(queue_of(parameter)), self.take))
            return made[-1]

        yield get
        for sender in made:
            await sender.flush()

    def override(self, kind: Any, value: Any) -> AbstractContextManager[object]:  # noqa: ARG002 - the injectors'
        """Nothing here depends on other values."""
        return nullcontext()

    def take(self, queue: str, outgoing: Outgoing) -> Completion[Sent]:
        """Note a message, and deliver it."""
        if self._deliver is None or self._loop is None:
            self._note(queue, outgoing)
            return Completion(done_future(Sent("00000000-0000-4000-a000-000000000000", "")))
        delivering = self._delivered(queue, outgoing)
        if in_event_loop():
            return InLoop(asyncio.ensure_future(delivering))
        return Completion(asyncio.run_coroutine_threadsafe(delivering, self._loop))

    async def _delivered(self, queue: str, outgoing: Outgoing) -> Sent:
        assert self._deliver is not None
        answer = await self._deliver(queue, outgoing)
        self._note(queue, outgoing)
        return answer

    def _note(self, queue: str, outgoing: Outgoing) -> None:
        self.sent.setdefault(queue, []).append(outgoing.body)


class RecordedSender:
    """Stands where a `Sender` stands: `send`, `post`, `flush` and `room`."""

    def __init__(self, queue: str, take: Callable[[str, Outgoing], Completion[Sent]]) -> None:
        self._queue = queue
        self._take = take
        self._target = TargetQueue(queue, fifo=queue.endswith(".fifo"))
        self._posted: list[Completion[Sent]] = []

    def send(self, body: Any, **given: Any) -> Completion[Sent]:
        """As `Sender.send`."""
        return self._take(self._queue, self._made(body, **given))

    def post(self, body: Any, **given: Any) -> None:
        """As `Sender.post`."""
        self._posted.append(self._take(self._queue, self._made(body, **given)))

    def _made(
        self,
        body: Any,
        *,
        group: str | None = None,
        delay: int | None = None,
        attributes: Any = None,
        deduplication_id: str | None = None,
    ) -> Outgoing:
        outgoing, _ = self._target.outgoing(
            body, group=group, delay=delay, attributes=attributes, deduplication_id=deduplication_id
        )
        return outgoing

    async def flush(self) -> None:
        """Wait until what was posted is delivered."""
        for each in self._posted:
            await each

    async def room(self, size: int = 0) -> None:
        """There is always room."""
        del size

    def __repr__(self) -> str:
        return f"<RecordedSender {self._queue}>"
