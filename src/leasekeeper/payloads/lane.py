"""The lane of payloads: a lane around another one, which is given a message when its payload is here.

Owned by a consumer with `payloads=`. What waits for a payload waits here, under its lease, and costs no other message
anything. It promises that every message is answered exactly once, as any lane does; that the payloads which are here
have no more bytes than `payload_memory`, unless a single one has more; and that an object is deleted only after SQS has
confirmed the delete of its message within the lease.
"""

from __future__ import annotations

import asyncio
import sys
from dataclasses import replace
from typing import TYPE_CHECKING

import msgspec

from leasekeeper.lanes.api import Answer, LaneStatistics, Resizable, Together
from leasekeeper.outcomes import NOT_STARTED, Failed, Reject
from leasekeeper.payload import Offloaded, PayloadGone, forget, new_number, register, ticket
from leasekeeper.payloads.budget import Budget
from leasekeeper.payloads.deletes import Deletes
from leasekeeper.payloads.fetching import Fetcher
from leasekeeper.payloads.pointers import body_with, find_pointer, without_marker
from leasekeeper.payloads.stalls import Stalls

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from leasekeeper.core.delivery import Delivery
    from leasekeeper.lanes.api import Lane
    from leasekeeper.message import Received
    from leasekeeper.options import Options
    from leasekeeper.outcomes import Outcome
    from leasekeeper.payloads.pointers import Pointer
    from leasekeeper.payloads.settings import S3Payloads

PARALLEL = 32
"""Objects that are fetched at the same time, at most."""


class PayloadLane:
    """Fetches payloads before `lane` runs the messages that point to them.

    Args:
        lane: runs the handlers.
        payloads: the option.
        options: the consumer's.
        queue: the queue's name, for the log.
        lazy: whether handlers read payloads themselves, in pieces.
        post: takes answers about what was not started, in the next turn of the loop.
        lane_closed: called when the lane can run nothing any more.
        clock: seconds, monotonic.
    """

    def __init__(
        self,
        lane: Lane[Delivery],
        payloads: S3Payloads,
        options: Options,
        *,
        queue: str,
        lazy: bool,
        post: Callable[[Sequence[Answer[Delivery]]], object],
        lane_closed: Callable[[], None],
        clock: Callable[[], float],
    ) -> None:
        self._lane = lane
        self._payloads = payloads
        self._options = options
        self._queue = queue
        self._number = new_number() if lazy else ""
        self._post = post
        self._lane_closed = lane_closed
        self._clock = clock
        self._budget = Budget(options.payload_memory)
        self._parallel = asyncio.Semaphore(PARALLEL)
        self._fetching: dict[asyncio.Task[None], Sequence[Delivery]] = {}
        self._held: dict[Delivery, int] = {}
        """Bytes that are taken for the payload of a message, from before it is fetched until its handler has ended."""
        self._deletes: Deletes | None = None
        self._fetcher: Fetcher | None = None
        self._stalls = Stalls(options.visibility_timeout, clock)
        self.end = lane.end
        self.stop_collecting = lane.stop_collecting

    async def open(self) -> None:
        """Connect to the store, and open the lane behind."""
        options = self._options
        store = self._store = await self._payloads.connect(
            region=options.region, profile=options.profile, credentials=options.credentials
        )
        self._fetcher = Fetcher(store, self._payloads.buckets, options.max_payload)
        if self._number:
            register(self._number, self._fetcher)
        if self._payloads.delete == "acked":
            self._deletes = Deletes(store, self._queue)
            self._stalls.watch()
        await self._lane.open()

    # What comes in

    def submit(self, units: Sequence[Delivery]) -> bool:
        """Run what has its payload, and fetch those of the others."""
        ready: list[Delivery] = []
        for unit in units:
            if (pointers := self._pointers([unit])) is None:
                ready.append(unit)
            else:
                self._begin([unit], pointers)
        return not ready or self._lane.submit(ready)

    def submit_together(self, units: Sequence[Delivery]) -> bool:
        """As `submit`, for messages that go into one batch, in order."""
        if (pointers := self._pointers(units)) is None:
            assert isinstance(self._lane, Together)
            return self._lane.submit_together(units)
        self._begin(units, pointers)
        return True

    def _pointers(self, units: Sequence[Delivery]) -> dict[Delivery, Pointer | Reject] | None:
        """The pointers of those that have one; None if none has."""
        found: dict[Delivery, Pointer | Reject] = {}
        for unit in units:
            try:
                pointer = find_pointer(unit.received.as_sent)
            except Reject as refusal:
                found[unit] = refusal
            else:
                if pointer is not None:
                    found[unit] = pointer
        return found or None

    def _begin(self, units: Sequence[Delivery], pointers: dict[Delivery, Pointer | Reject]) -> None:
        task = asyncio.get_running_loop().create_task(self._bring(units, pointers), name="leasekeeper payload")
        self._fetching[task] = units
        task.add_done_callback(self._brought)

    def _brought(self, task: asyncio.Task[None]) -> None:
        self._fetching.pop(task, None)

    async def _bring(self, units: Sequence[Delivery], pointers: dict[Delivery, Pointer | Reject]) -> None:
        """Fetch what these point to, then have them run; in order, and up to the first that cannot be fetched now."""
        outcomes: dict[Delivery, Outcome] = {}
        ready: list[Delivery] = []
        for unit in units:
            if (pointer := pointers.get(unit)) is not None:
                outcome = await self._outcome(unit, pointer)
                if outcome is not None:
                    outcomes[unit] = outcome
                    if isinstance(outcome, Reject):
                        continue
                    break
            ready.append(unit)
        later = [unit for unit in units if unit not in outcomes and unit not in ready]
        now = self._clock()
        answers = []
        for unit, found in outcomes.items():
            # Behind others of its group it goes back, and is the first when it comes again.
            outcome = NOT_STARTED if isinstance(found, Failed) and ready else found
            if outcome is not NOT_STARTED:
                unit.started = unit.started or now
            answers.append(Answer(unit, outcome))
        answers += [Answer(unit, NOT_STARTED) for unit in later]
        if answers:
            self._post(answers)
        if ready and not (self._submit_together(ready) if len(units) > 1 else self._lane.submit(ready)):
            self._lane_closed()

    def _submit_together(self, units: Sequence[Delivery]) -> bool:
        assert isinstance(self._lane, Together)
        return self._lane.submit_together(units)

    async def _outcome(self, unit: Delivery, pointer: Pointer | Reject) -> Outcome | None:
        """Bring the payload of one message; None if it is here, else how the message ends."""
        if unit.lost:
            return NOT_STARTED
        if isinstance(pointer, Reject):
            return pointer
        try:
            await self._fetch(unit, pointer)
        except PayloadGone as gone:
            # Another consumer may have finished it while its answer lay unread here. If it exists, it comes again.
            return NOT_STARTED if self._stalls.any_since(unit.requested_at) else gone
        except Reject as refusal:
            return refusal
        except asyncio.CancelledError:
            self._drop(unit)
            raise
        except Exception as error:  # the store may be a user's
            return Failed(error)
        return None

    # One payload

    async def _fetch(self, unit: Delivery, pointer: Pointer) -> None:
        fetcher = self._fetcher
        assert fetcher is not None
        bucket, key, size, _ = pointer
        fetcher.check(bucket, None if self._number else size)
        if self._number:
            body = ticket(self._number, bucket, key, size)
        else:
            async with self._parallel:
                if size is None:
                    size = await fetcher.size(bucket, key)
                    fetcher.check(bucket, size)
            # Its bytes are there twice while they become text.
            await self._budget.take(2 * size)
            self._held[unit] = 2 * size
            try:
                async with self._parallel:
                    body = _text(await fetcher.fetch(bucket, key, size), bucket, key)
            except BaseException:
                self._drop(unit)
                raise
            self._budget.give_back(2 * size - sys.getsizeof(body))
            self._held[unit] = sys.getsizeof(body)
        sent = unit.received.as_sent
        unit.received = offloaded(sent, pointer, body_with(sent, pointer, body))

    def _drop(self, unit: Delivery) -> None:
        """Its payload is not needed any more."""
        if (size := self._held.pop(unit, None)) is not None:
            self._budget.give_back(size)
            received = unit.received
            if isinstance(received, Offloaded):
                unit.received = msgspec.structs.replace(received, body=received.sent.body)

    # What ends

    def answered(
        self, settle: Callable[[Sequence[Answer[Delivery]]], None], answers: Sequence[Answer[Delivery]]
    ) -> None:
        """Let go of the payloads of handlers that have ended, then settle. To be called with all answers."""
        for answer in answers:
            # A thread that runs on after its time-out still has it; `Freed` tells when it has ended.
            if answer.final and not (isinstance(answer.outcome, Failed) and answer.outcome.still_running):
                self._drop(answer.unit)
        settle(answers)

    def acked(self, rows: Sequence[Delivery]) -> None:
        """SQS has deleted these within their leases: delete their objects, if there is no doubt about that.

        Those that have a copy keep theirs, and so do messages whose answer may have lain unread in a stopped process:
        others may have received them since, and SQS also confirms deletes with an older receipt.
        """
        if self._deletes is not None:
            stalled_since = self._stalls.any_since
            self._deletes.add(
                [
                    (row.received.bucket, row.received.key)
                    for row in rows
                    if isinstance(row.received, Offloaded)
                    and row.failure is None
                    and not stalled_since(row.requested_at)
                ]
            )

    # The lane

    def resize(self, options: Options) -> None:
        """Let more handlers run at the same time, or fewer."""
        if isinstance(self._lane, Resizable):
            self._lane.resize(options)

    def recall(self) -> None:
        """Answer `NotStarted` for everything that waits, also for its payload."""
        fetching, self._fetching = self._fetching, {}
        for task, units in fetching.items():
            task.cancel()
            self._post([Answer(unit, NOT_STARTED) for unit in units])
        self._lane.recall()

    async def close(self) -> None:
        """Close the lane behind, and delete the objects that wait for it."""
        fetching, self._fetching = self._fetching, {}
        for task in fetching:
            task.cancel()
        self._stalls.close()
        await self._lane.close()
        forget(self._number)
        if self._deletes is not None:
            await self._deletes.close()
        if self._fetcher is not None and self._payloads.client is None:
            await self._store.close()

    def statistics(self) -> LaneStatistics:
        """What the lane is doing now, and what waits for payloads."""
        now = self._lane.statistics()
        waiting = now.waiting + sum(map(len, list(self._fetching.values())))
        return replace(now, waiting=waiting, payload_bytes=self._budget.taken)

    def __repr__(self) -> str:
        return f"<PayloadLane {len(self._fetching)} fetching, {self._budget!r}, before {self._lane!r}>"


def offloaded(sent: Received, pointer: Pointer, body: str) -> Offloaded:
    """The message with its payload."""
    return Offloaded(
        message_id=sent.message_id,
        receipt=sent.receipt,
        body=body,
        system=sent.system,
        attributes=without_marker(sent.attributes),
        sent=sent,
        bucket=pointer.bucket,
        key=pointer.key,
    )


def _text(data: bytearray, bucket: str, key: str) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise Reject(
            f"its payload s3://{bucket}/{key} is not UTF-8 ({error.reason} at byte {error.start:,}): a handler that is "
            "annotated with Message[Payload] gets it as bytes"
        ) from None
