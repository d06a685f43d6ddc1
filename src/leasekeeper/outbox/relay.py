"""The relay: sends the rows of an outbox, from a thread and a loop for itself, until it is stopped.

Owned by the user's program, an app (`app.relay`) or `leasekeeper outbox relay`. Any number may run side by side. It
promises that each row is sent at least once, and that rows of one group of a FIFO queue are sent in the order of their
ids, whichever relays send them.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Self

from leasekeeper.engine.host import LINGER, LoopThread
from leasekeeper.errors import Closed
from leasekeeper.futures import done_future, failed_future, running_future
from leasekeeper.idempotency.postgres import check_psycopg
from leasekeeper.loggers import safe_logger
from leasekeeper.outbox.counts import Counts, QueueCounts
from leasekeeper.outbox.relay_loop import RelayLoop
from leasekeeper.outbox.settings import RelaySettings
from leasekeeper.outbox.statistics import OutboxQueue, RelayStatistics
from leasekeeper.running import Completion, run

if TYPE_CHECKING:
    from collections.abc import Sequence
    from concurrent.futures import Future

    from leasekeeper.api import Credentials, CredentialsProvider, SqsApi
    from leasekeeper.options import Options
    from leasekeeper.outbox.outbox import Outbox

log = safe_logger("leasekeeper.outbox")

STOP = 15.0
"""Seconds that a stop waits for the calls that are out; then their rows are left to the next relay."""


class Relay:
    """Sends the rows of an outbox.

    It can be started again after its stop.

    Args:
        outbox: the table.
        poll: seconds between looks into the table when no notification comes, 0.01 to 3600. Rows with a delay, and
            those that are tried again, are found by a look.
        parallel: calls that may be out at once for each queue, 1 to 100.
        strict_order: FIFO queues: at most one message of a group in a call. Without it SQS may, rarely, refuse one
            message of a group for a while and take the next one.
        client: a client to use for all queues, of any `SqsApi`; it is not closed. Unset: made from the next four.
        region: the region; unset: as boto3 finds it.
        endpoint_url: where to send calls; unset: as boto3 finds it.
        profile: of ~/.aws/config.
        credentials: credentials, or a function that returns some.

    Raises:
        ConfigurationError: psycopg is not installed, or a number is out of its bounds.
    """

    def __init__(
        self,
        outbox: Outbox,
        *,
        poll: float = 1.0,
        parallel: int = 8,
        strict_order: bool = True,
        client: SqsApi | None = None,
        region: str | None = None,
        endpoint_url: str | None = None,
        profile: str | None = None,
        credentials: Credentials | CredentialsProvider | None = None,
    ) -> None:
        check_psycopg("Relay")
        self.outbox = outbox
        self.settings = RelaySettings(
            poll=poll,
            parallel=parallel,
            strict_order=strict_order,
            client=client,
            region=region,
            endpoint_url=endpoint_url,
            profile=profile,
            credentials=credentials,
        )
        self.settings.check()
        self._thread = LoopThread(f"leasekeeper-outbox-{outbox.table}")
        self._counts = Counts()
        self._ready: Future[None] | None = None
        self._ended: Future[RelayStatistics] = done_future(self.statistics())
        self._loop: RelayLoop | None = None
        self._stop_asked = False

    def reach_as(self, options: Options) -> None:
        """Reach SQS as a consumer with these options does, where this relay was not told how."""
        given = {
            name: getattr(options, name)
            for name in ("client", "region", "endpoint_url", "profile", "credentials")
            if getattr(self.settings, name) is None
        }
        self.settings = replace(self.settings, **given)

    # Verbs

    def start(self) -> Completion[None]:
        """Connect, and send from now on. `async with` and `with` do so.

        Raises:
            ConfigurationError: the table does not exist, or is of another version; or the bucket does not exist.
            LeasekeeperError: the database cannot be reached. Later it may be away: the relay goes on when it is back.
        """
        return Completion(self.begin())

    def begin(self) -> Future[None]:
        """`start()` without waiting. Never raises."""
        if self._ready is not None and not self._ended.done():
            return self._ready
        self._counts = Counts()
        self._stop_asked = False
        try:
            loop = self._thread.enter()
        except (OSError, RuntimeError) as error:  # no descriptors, or no threads, are left
            return failed_future(error)
        ready, self._ended = running_future(), running_future()
        self._ready = ready
        asyncio.run_coroutine_threadsafe(self._live(ready, self._ended), loop)
        return ready

    def stop(self) -> Completion[RelayStatistics]:
        """Stop: what is on its way is settled, for at most 15 seconds; all other rows wait for the next relay."""
        return Completion(self.finish())

    def finish(self, *, force: bool = False) -> Future[RelayStatistics]:
        """`stop()` without waiting. Never raises."""
        self.request_stop(force=force)
        return self._ended

    def request_stop(self, *, force: bool = False) -> None:  # noqa: ARG002 - a transaction is short
        """Ask for a stop without waiting; takes no lock, so that signal handlers may call it."""
        self._stop_asked = True
        self._thread.call_soon(self._close)

    def run(self) -> RelayStatistics:
        """Start, send until SIGTERM or SIGINT, and stop."""
        statistics: RelayStatistics = run(self)
        return statistics

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        self._thread.join()

    # On its loop

    def _close(self) -> None:
        if self._loop is not None:
            self._loop.close()

    async def _live(self, ready: Future[None], ended: Future[RelayStatistics]) -> None:
        relay_loop = RelayLoop(self.outbox, self._counts, self.settings)
        failure: BaseException | None = None
        try:
            await relay_loop.open()
            self._loop = relay_loop
            if self._stop_asked:
                relay_loop.close()
            ready.set_result(None)
            await self._run(relay_loop)
        except (Exception, asyncio.CancelledError) as error:
            failure = error
            if ready.done():
                log.exception("outbox %s: the relay ended with an error", self.outbox.table)
        self._loop = None
        self._counts.connected = False

        def conclude(_: object) -> None:
            if not ready.done():
                ready.set_exception(failure or Closed("the relay was closed at its start"))
                ended.set_result(self.statistics())
            elif failure is not None:
                ended.set_exception(failure)
            else:
                ended.set_result(self.statistics())

        self._thread.leave().add_done_callback(conclude)

    async def _run(self, relay_loop: RelayLoop) -> None:
        work = asyncio.ensure_future(relay_loop.run())
        closed = asyncio.ensure_future(relay_loop.closed.wait())
        await asyncio.wait((work, closed), return_when=asyncio.FIRST_COMPLETED)
        closed.cancel()
        await asyncio.wait((work,), timeout=STOP)
        if not work.done():
            log.warning("outbox %s: calls had no answer in %g s; their rows stay", self.outbox.table, STOP)
            work.cancel()
            await asyncio.wait((work,))
            return
        work.result()

    # What it looks like

    @property
    def ends(self) -> Sequence[Future[Any]]:
        """A future that is done when its present life has ended."""
        return [self._ended]

    @property
    def longest_stop(self) -> float:
        """Seconds that a stop may take."""
        return STOP + 2 * LINGER

    def statistics(self) -> RelayStatistics:
        """A snapshot; may be called from any thread."""
        counts, table = self._counts, self.outbox.table
        queues = tuple(
            OutboxQueue(table=table, queue=name, **{each: getattr(now, each) for each in QueueCounts.__slots__})
            for name, now in sorted(counts.queues.copy().items())
        )
        return RelayStatistics(
            table=table,
            sent=sum(queue.sent for queue in queues),
            retried=sum(queue.retried for queue in queues),
            refused=sum(queue.refused for queue in queues),
            calls=counts.calls,
            connected=counts.connected,
            waiting=sum(queue.waiting for queue in queues),
            oldest=max((queue.oldest for queue in queues), default=0.0),
            queues=queues,
        )

    def __repr__(self) -> str:
        return f"<Relay of {self.outbox.table}, {self.statistics().sent} sent>"
