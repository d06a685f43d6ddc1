"""What a sender is behind its verbs: it accepts from any thread, and on its loop connects, dispatches and closes.

Owned by a sender. It promises that each entry which was posted to it is answered, also at a close that runs out of time
and at the end of the process.
"""

from __future__ import annotations

import asyncio
import os
import random
import time
from typing import TYPE_CHECKING, Any

from leasekeeper.engine.host import LINGER
from leasekeeper.errors import BufferFull, Closed
from leasekeeper.futures import done_future, running_future
from leasekeeper.lanes.mailbox import Mailbox
from leasekeeper.loggers import safe_logger
from leasekeeper.sending.accepted import Accepted
from leasekeeper.sending.dispatcher import Dispatcher, Entry
from leasekeeper.sending.flushes import Flush
from leasekeeper.sending.open_senders import forget, remember
from leasekeeper.sending.opening import open_target
from leasekeeper.sending.outgoing import TargetQueue
from leasekeeper.sending.settings import SenderStatistics
from leasekeeper.sending.tracing import trace_source
from leasekeeper.sqs.client import SqsClient

if TYPE_CHECKING:
    from collections.abc import Sequence
    from concurrent.futures import Future

    from leasekeeper.api import SqsApi
    from leasekeeper.engine.host import LoopThread
    from leasekeeper.events import Event
    from leasekeeper.sending.room import Room
    from leasekeeper.sending.settings import SendSettings
    from leasekeeper.sending.uploads import Uploads
    from leasekeeper.sqs.address import QueueAddress
    from leasekeeper.sqs.settings import ClientSettings

log = safe_logger("leasekeeper.send")


class SendLoop:
    """What a sender is on its loop.

    Attributes:
        open: whether it accepts.
        target: the queue; known in full when it is open.
    """

    def __init__(
        self,
        address: QueueAddress,
        *,
        client: SqsApi | None,
        connection: ClientSettings,
        settings: SendSettings,
        room: Room,
        thread: LoopThread,
    ) -> None:
        self.open = False
        self.target = TargetQueue(address.name, fifo=address.fifo)
        self._address = address
        self._client = client
        self._connection = connection
        self._settings = settings
        self._room = room
        self._thread = thread
        self._pid = os.getpid()
        self._ready: Future[None] | None = None
        self._ended = running_future()
        self._mailbox: Mailbox[Entry | Flush] | None = None
        self._dispatcher: Dispatcher | None = None
        self._uploads: Uploads | None = None
        self._task: asyncio.Task[Any] | None = None
        self._asked = False
        self._close_asked: asyncio.Event | None = None
        self._accepted = Accepted(address.name, room, settings)

    # From any thread

    def begin(self) -> Future[None]:
        """Start without waiting; a second call changes nothing."""
        if self._ready is None:
            self._ready = running_future()
            try:
                loop = self._thread.enter()
            except (OSError, RuntimeError) as error:  # no descriptors, or no threads, are left
                self._ended.set_result(None)
                self._ready.set_exception(error)
                return self._ready
            asyncio.run_coroutine_threadsafe(self._live(self._ready), loop)
        return self._ready

    @property
    def forked(self) -> bool:
        """Whether this is a forked child of the process that made it."""
        return self._pid != os.getpid()

    def check_open(self) -> None:
        """Raise `Closed` unless it accepts here."""
        if not self.open or self.forked:
            raise Closed(
                f"sender of {self.target.name} is not open here: use `with Sender(...)`, `async with`, or start(); "
                "a forked child needs another one"
            )

    def accept(self, entry: Entry, *, wait: bool, beyond: bool) -> None:
        """Take an entry, and so promise its answer.

        Args:
            entry: the message.
            wait: whether to wait for room, at most `timeout`.
            beyond: whether it needs no room.

        Raises:
            Closed: it is not open.
            BufferFull: there is no room.
        """
        room = self._room
        self.check_open()  # first without the lock: another thread may have held it when this process was forked
        with room.lock:
            if not (room.has(entry.held) or beyond) and not (
                wait and room.wait(entry.held, self._settings.timeout, lambda: self.open)
            ):
                self.check_open()
                raise BufferFull(
                    f"sender of {self.target.name} holds {room.taken:,} messages with {room.taken_bytes:,} bytes: "
                    "await sender.room(), send less, or raise buffer= and buffer_bytes="
                )
            self.check_open()
            entry.number = room.take(entry.held)
            self._post(entry)  # under the lock: the order of numbers is that of the mailbox

    def flush(self) -> Future[None]:
        """A future that is done when everything that was accepted before is sent, or when the time is over.

        Raises:
            Closed: it is not open.
        """
        flush = Flush()
        self.check_open()  # as in `accept`
        with self._room.lock:
            self.check_open()
            self._post(flush)
        return flush.done

    def _post(self, item: Entry | Flush) -> None:
        assert self._mailbox is not None
        self._mailbox.post_one(item)

    def finish(self) -> Future[None]:
        """Close without waiting. The future has the error `Unsent` if something was not sent."""
        if self._ready is None:
            return done_future(None)
        self._refuse()
        self._asked = True
        self._thread.call_soon(self._close)
        return self._ended

    # On the loop

    def _close(self) -> None:
        if self._close_asked is not None:
            self._close_asked.set()
        elif self._task is not None:
            self._task.cancel()  # it is still connecting: there is nothing to send

    async def _live(self, ready: Future[None]) -> None:
        self._task = asyncio.current_task()
        failure: BaseException | None = None
        client = self._client
        try:
            client = client or await SqsClient.connect(self._connection)
            url, target = await open_target(client, self._address, self._settings.payloads)
            target.trace = trace_source(self._settings.trace)
            self.target = target
            if self._settings.payloads is not None:
                from leasekeeper.sending.uploads import open_uploads

                self._uploads = await open_uploads(self._settings, self._connection, fifo=self.target.fifo)
            self._close_asked = asyncio.Event()
            if self._asked:
                self._close_asked.set()
            await self._serve(client, url, ready)
        except (Exception, asyncio.CancelledError) as error:
            failure = error
        finally:
            self.open = False
            self._room.wake()
            forget(self)
            if client is not None and self._client is None:
                await self._close_client(client)
            if self._uploads is not None:
                await self._close_client(self._uploads)
            self._leave(ready, failure)

    async def _serve(self, client: SqsApi, url: str, ready: Future[None]) -> None:
        settings = self._settings
        dispatcher = self._dispatcher = Dispatcher(
            client,
            url,
            self.target,
            linger=settings.linger,
            timeout=settings.timeout,
            parallel=settings.parallel,
            strict_order=settings.strict_order,
            answered=self._accepted.answered,
            emit=_tell,
            clock=time.monotonic,
            draw=random.random,
        )
        mailbox = self._mailbox = Mailbox(asyncio.get_running_loop(), self._received)
        assert self._close_asked is not None
        if self._uploads is not None:
            self._uploads.begin(dispatcher.add, lambda entry, error: self._accepted.answered([(entry, error)]))
        run = asyncio.ensure_future(dispatcher.run())
        self.open = not self._asked
        remember(self)
        ready.set_result(None)
        asked = asyncio.ensure_future(self._close_asked.wait())
        try:
            await asyncio.wait((asked, run), return_when=asyncio.FIRST_COMPLETED)
            self._refuse()
            mailbox.close()
            self._received(mailbox.take_back())
            left = settings.flush_timeout
            if self._uploads is not None:
                left = await self._uploads.finish(left)
            dispatcher.close()
            await asyncio.wait((run,), timeout=left)
            if not run.done():
                dispatcher.abandon()
                await asyncio.wait((run,), timeout=LINGER)
        finally:
            asked.cancel()
            run.cancel()
            self._give_up(run)

    def _refuse(self) -> None:
        """Accept nothing more, and wake those who wait for room."""
        with self._room.lock:
            self.open = False
        self._room.wake()

    async def _close_client(self, client: SqsApi | Uploads) -> None:
        try:
            async with asyncio.timeout(LINGER):
                await client.close()
        except Exception as error:
            log.warning("queue %s: closing the connections failed with %r", self.target.name, error)

    def _leave(self, ready: Future[None], failure: BaseException | None) -> None:
        """Leave the loop; callers hear of the end when its thread is gone."""
        if isinstance(failure, asyncio.CancelledError):
            failure = Closed(f"sender of {self.target.name} was closed at its start")
        unsent = self._accepted.take_failed()

        def conclude(_: object) -> None:
            if not ready.done():
                ready.set_exception(failure or Closed(f"sender of {self.target.name} was closed at its start"))
                self._ended.set_result(None)
            elif (error := failure or unsent) is not None:
                self._ended.set_exception(error)
            else:
                self._ended.set_result(None)

        self._thread.leave().add_done_callback(conclude)

    def _received(self, items: Sequence[Entry | Flush]) -> None:
        assert self._dispatcher is not None
        entries: list[Entry] = []
        for item in items:
            if isinstance(item, Entry):
                entries.append(item)
                continue
            self._take(entries)
            entries = []
            self._accepted.flush(item)
            self._dispatcher.flush()
        self._take(entries)

    def _take(self, entries: Sequence[Entry]) -> None:
        if entries and self._dispatcher is not None:
            self._accepted.add(entries)
            (self._uploads.take if self._uploads is not None else self._dispatcher.add)(entries)

    def _give_up(self, run: asyncio.Future[None]) -> None:
        """Name everything that is left at the end, which a bug of ours may have brought about."""
        bug = run.exception() if run.done() and not run.cancelled() else None
        if bug is None:
            limit = f"flush_timeout={self._settings.flush_timeout:g} s"
            error = Closed(f"sender of {self.target.name} was closed before SQS confirmed the message, after {limit}")
        else:
            log.error("queue %s: a bug of Leasekeeper has ended the sender", self.target.name, exc_info=bug)
            error = Closed(f"sender of {self.target.name} was ended by a bug of Leasekeeper, {bug!r}: please report it")
        self._accepted.give_up(error)

    def statistics(self) -> SenderStatistics:
        """A snapshot; may be called from any thread."""
        dispatcher = self._dispatcher
        return SenderStatistics(
            queue=self.target.name,
            sent=self._accepted.sent,
            failed=self._accepted.failed,
            held=self._room.taken,
            held_bytes=self._room.taken_bytes,
            calls=0 if dispatcher is None else dispatcher.statistics().calls,
            retries=0 if dispatcher is None else dispatcher.retries,
        )

    def __repr__(self) -> str:
        return f"<SendLoop {self.target.name} {len(self._accepted)} outstanding>"


def _tell(event: Event) -> None:
    """A bug of a client or of ours: the dispatcher tells nothing else."""
    log.error("%s", getattr(event, "what", event), exc_info=getattr(event, "error", None))
