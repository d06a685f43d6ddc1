"""The sender: `await sender.send(order)`, or `sender.post(order)` for what need not be waited for.

Owned by the user's program. It works from synchronous code, from any thread and inside event loops; a loop of our own
makes the calls. It promises that each accepted message is sent, or named with the error.
"""

from __future__ import annotations

import copy
from functools import partial
from typing import TYPE_CHECKING, Any, Self, TypeVar

from leasekeeper.engine.host import LoopThread
from leasekeeper.errors import Closed
from leasekeeper.futures import done_future, running_future
from leasekeeper.running import Completion, in_event_loop
from leasekeeper.sending.answers import new_answer, set_answer
from leasekeeper.sending.argument_names import checks_names
from leasekeeper.sending.dispatcher import Entry
from leasekeeper.sending.room import Room
from leasekeeper.sending.scheduling import Scheduling, scheduled_answer
from leasekeeper.sending.send_loop import SendLoop
from leasekeeper.sending.settings import SendSettings
from leasekeeper.sqs.address import address_of
from leasekeeper.sqs.settings import ClientSettings

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Mapping
    from concurrent.futures import Future
    from datetime import datetime

    from leasekeeper.api import Credentials, CredentialsProvider, Outgoing, Sent, SqsApi
    from leasekeeper.payloads.settings import S3Payloads
    from leasekeeper.sending.outgoing import AttributeValue
    from leasekeeper.sending.schedules import Scheduled, Schedules
    from leasekeeper.sending.settings import SenderStatistics

T = TypeVar("T")


class Sender:
    """Sends messages to a queue, ten to a call.

    Args:
        queue: the queue's name, URL or ARN.
        linger: seconds that a message may wait for others to fill its batch, 0 to 60.
        buffer: messages that may wait to be confirmed, 1 or more.
        buffer_bytes: bytes of these, 1 or more.
        timeout: seconds from its first try after which a message is given up, above 0; at most 240 for FIFO queues,
            because SQS remembers deduplication ids for 300.
        flush_timeout: seconds that `flush` and `close` wait, above 0.
        parallel: calls that may be out at once, 1 to 100. A message group of a FIFO queue has one.
        strict_order: FIFO queues: at most one message of a group in a call. Without it SQS may, rarely, refuse one
            message of a group for a while and take the next one; that one says `out_of_order`.
        on_error: called with a posted message and the error when it could not be sent, on the sender's thread.
        payloads: where large payloads go: `leasekeeper.payloads.S3Payloads`. Unset: such messages are refused.
        trace: whether messages carry their span and the baggage; unset: if a `Tracing` was made before the start.
        schedules: how `schedule` reaches EventBridge Scheduler: `leasekeeper.sending.Schedules`.
        client: a client to use, of any `SqsApi`; it is not closed. Unset: one made from the next four.
        region: the region; unset: as boto3 finds it.
        endpoint_url: where to send calls; unset: as boto3 finds it.
        profile: of ~/.aws/config.
        credentials: credentials, or a function that returns some.

    Raises:
        ConfigurationError: a malformed queue, an unknown argument, or a number out of its bounds.
    """

    @checks_names
    def __init__(
        self,
        queue: str,
        *,
        linger: float = 0.02,
        buffer: int = 10_000,
        buffer_bytes: int = 64 * 1024 * 1024,
        timeout: float = 30.0,
        flush_timeout: float = 30.0,
        parallel: int = 8,
        strict_order: bool = False,
        on_error: Callable[[Outgoing, Exception], object] | None = None,
        payloads: S3Payloads | None = None,
        trace: bool | None = None,
        schedules: Schedules | None = None,
        client: SqsApi | None = None,
        region: str | None = None,
        endpoint_url: str | None = None,
        profile: str | None = None,
        credentials: Credentials | CredentialsProvider | None = None,
    ) -> None:
        self.address = address_of(queue, region)
        settings = SendSettings(
            linger=linger,
            timeout=timeout,
            flush_timeout=flush_timeout,
            parallel=parallel,
            strict_order=strict_order,
            on_error=on_error,
            payloads=payloads,
            trace=trace,
        )
        settings.check(queue, fifo=self.address.fifo, buffer=buffer, buffer_bytes=buffer_bytes)
        self._room = Room(buffer, buffer_bytes)
        self._thread = LoopThread(f"leasekeeper-send-{self.address.name}")
        connection = ClientSettings(
            region=region, endpoint_url=endpoint_url, profile=profile, credentials=credentials, queue=self.address
        )
        self._scheduling = Scheduling(schedules, connection)
        self._loop = SendLoop(
            self.address,
            client=client,
            connection=connection,
            settings=settings,
            room=self._room,
            thread=self._thread,
        )
        self.posted: list[Future[Any] | Completion[Any]] | None = None
        """What was posted or sent in one run of a handler; None outside."""

    # Verbs

    def start(self) -> Completion[None]:
        """Connect, and find the queue. `async with` and `with` do so.

        Raises:
            QueueUnusable: the queue does not exist, cannot be reached, or we may not use it.
            CredentialsMissing: no credentials were found.
        """
        return Completion(self.begin())

    def begin(self) -> Future[None]:
        """`start()` without waiting. Never raises."""
        return self._loop.begin()

    def send(
        self,
        body: Any,
        *,
        group: str | None = None,
        delay: int | None = None,
        attributes: Mapping[str, AttributeValue] | None = None,
        deduplication_id: str | None = None,
    ) -> Completion[Sent]:
        """Send a message, and wait until SQS has it.

        On a standard queue, a call whose answer is lost is made again, so the message may be there twice. On a FIFO
        queue it cannot: its deduplication id is fixed here.

        Args:
            body: text; or anything that msgspec or pydantic writes as JSON.
            group: the message group: order on FIFO queues, where it is needed; tenant on standard ones.
            delay: seconds before it can be received, 0 to 900; standard queues only.
            attributes: at most ten; text, numbers or bytes.
            deduplication_id: FIFO queues. Unset: SQS makes it from the body if the queue is set so, else a new one.

        Returns:
            In an event loop, something to await; in synchronous code it has waited, and `.result()` is the answer.

        Raises:
            ConfigurationError: at the call: SQS would refuse the message.
            Closed: at the call: the sender is not open.
            SqsError: SQS refused the message, or the call failed until `timeout`.
        """
        outgoing, size = self._loop.target.outgoing(
            body, group=group, delay=delay, attributes=attributes, deduplication_id=deduplication_id
        )
        tell, completion = new_answer()
        waits = in_event_loop()
        self._loop.accept(Entry(outgoing, size, tell), wait=not waits, beyond=waits)
        return self._noted(completion())

    def post(
        self,
        body: Any,
        *,
        group: str | None = None,
        delay: int | None = None,
        attributes: Mapping[str, AttributeValue] | None = None,
        deduplication_id: str | None = None,
    ) -> None:
        """Accept a message and return; it is sent soon. `flush` and `close` raise what could not be sent.

        Arguments as those of `send`. Without room it waits, in synchronous code, at most `timeout`.

        Raises:
            ConfigurationError: SQS would refuse the message.
            Closed: the sender is not open.
            BufferFull: there is no room; in an event loop, await `room()` first.
        """
        outgoing, size = self._loop.target.outgoing(
            body, group=group, delay=delay, attributes=attributes, deduplication_id=deduplication_id
        )
        tell = None
        if self.posted is not None:
            posted: Future[Sent] = running_future()
            tell = partial(set_answer, posted)
            self.posted.append(posted)
        self._loop.accept(Entry(outgoing, size, tell), wait=not in_event_loop(), beyond=False)

    def schedule(
        self,
        body: Any,
        *,
        at: datetime,
        name: str | None = None,
        group: str | None = None,
        attributes: Mapping[str, AttributeValue] | None = None,
        deduplication_id: str | None = None,
    ) -> Completion[Scheduled]:
        """Have a message sent later, and wait until that is settled.

        On a standard queue SQS delays it by itself for up to 900 seconds, if it needs no name. Otherwise it becomes a
        one-time schedule of EventBridge Scheduler: `at` is rounded up to a full minute, and the message comes within
        that minute. What is past is sent at once, or in the next minute if it has a name.

        Args:
            body: as that of `send`; in a schedule at most 262,144 bytes with its attributes.
            at: when, with its time zone.
            name: makes it one message, however often this is called: a schedule of this name, which is there already,
                stays as it is. `unschedule` takes it back.
            group: as that of `send`.
            attributes: as those of `send`; in a schedule no bytes.
            deduplication_id: as that of `send`.

        Raises:
            ConfigurationError: at the call: SQS or the scheduler would refuse it, or it needs `schedules=`.
            Closed: at the call: the sender is not open.
            SqsError: SQS or the scheduler refused the message, or could not be reached.
        """
        self._loop.check_open()
        target = self._loop.target
        plan = self._scheduling.plan(target, at, name)
        outgoing, size = target.outgoing(
            body, group=group, delay=plan.delay, attributes=attributes, deduplication_id=deduplication_id
        )
        if not plan.by_sqs:
            return self._begun(lambda: self._scheduling.schedule(target, outgoing, plan.at, name))
        tell, answered = scheduled_answer(plan.at)
        waits = in_event_loop()
        self._loop.accept(Entry(outgoing, size, tell), wait=not waits, beyond=waits)
        return self._noted(Completion(answered))

    def unschedule(self, name: str) -> Completion[bool]:
        """Take back a message that was scheduled under a name. Its answer is False if there is none, or no more.

        Raises:
            ConfigurationError: the sender has no `schedules`.
            Closed: at the call: the sender is not open.
            SqsError: the scheduler refused the call, or could not be reached.
        """
        self._loop.check_open()
        return self._begun(lambda: self._scheduling.unschedule(self._loop.target, name))

    def _begun(self, work: Callable[[], Coroutine[Any, Any, T]]) -> Completion[T]:
        begun = self._thread.begin(work)
        if begun is None:
            raise Closed(f"sender of {self.address.name} is closing")
        return self._noted(Completion(begun))

    def _noted(self, completion: Completion[T]) -> Completion[T]:
        """The same; the end of a handler's run waits for it, if the handler does not."""
        if self.posted is not None:
            self.posted.append(completion)
        return completion

    async def room(self, size: int = 0) -> None:
        """Wait until there is room for a message of that many bytes."""
        self._loop.check_open()
        await self._room.wait_in_loop(size)
        self._loop.check_open()

    def flush(self) -> Completion[None]:
        """Send everything that was accepted, and wait until SQS has it.

        Raises:
            Unsent: messages that were posted since the last `flush` could not be sent, or not within `flush_timeout`.
        """
        return Completion(self._loop.flush())

    def close(self) -> Completion[None]:
        """Send everything that was accepted, wait at most `flush_timeout`, and close. May be called twice.

        Raises:
            Unsent: messages that were posted could not be sent.
        """
        return Completion(self.finish())

    def finish(self) -> Future[None]:
        """`close()` without waiting. Never raises."""
        if self._loop.forked:
            return done_future(None)
        self._thread.begin(self._scheduling.close)
        return self._loop.finish()

    def __enter__(self) -> Self:
        if in_event_loop():
            raise Closed(f"sender of {self.address.name}: use `async with` in an event loop")
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
        self._thread.join()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    def for_run(self) -> Sender:
        """This sender for one run of a handler: it remembers what is posted, for the end of that run."""
        run = copy.copy(self)
        run.posted = []
        return run

    # What it looks like

    def statistics(self) -> SenderStatistics:
        """A snapshot."""
        return self._loop.statistics()

    def __repr__(self) -> str:
        return f"<Sender {self.address.name} {'open' if self._loop.open else 'closed'}, {self._room.taken} held>"
