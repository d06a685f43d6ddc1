"""The lane of payloads: a lane around another one, which is given a message when its payload is here.

Owned by a consumer with `payloads=`. What waits for a payload waits here, under its lease, and costs no other message
anything. It promises that every message is answered exactly once, as any lane does, and that the payloads which are
here have no more bytes than `payload_memory`, unless a single one has more.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from leasekeeper.lanes.api import Answer, LaneStatistics, Resizable, Together
from leasekeeper.loggers import OnceAMinute, safe_logger
from leasekeeper.outcomes import NOT_STARTED, Failed, Reject, Unclaimed
from leasekeeper.payload import (
    PayloadGone,
    PayloadsDown,
    forget,
    new_number,
    register,
    ticket,
)
from leasekeeper.payloads.fetching import Fetcher
from leasekeeper.payloads.held import Held
from leasekeeper.payloads.pointers import body_with, find_pointer, offloaded
from leasekeeper.texts import one_line

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from leasekeeper.core.delivery import Delivery
    from leasekeeper.lanes.api import Lane
    from leasekeeper.options import Options
    from leasekeeper.outcomes import Outcome
    from leasekeeper.payloads.finished_objects import FinishedObjects
    from leasekeeper.payloads.pointers import Pointer
    from leasekeeper.payloads.settings import S3Payloads

log = safe_logger("leasekeeper.payloads")

PARALLEL = 32
"""Objects that are fetched at the same time, at most."""


class PayloadLane:
    """Fetches payloads before `lane` runs the messages that point to them.

    Args:
        lane: runs the handlers.
        payloads: the option.
        options: the consumer's.
        lazy: whether handlers read payloads themselves, in pieces.
        finished: deletes the objects of finished messages, from when the lane is open.
        post: takes answers about what was not started, in the next turn of the loop.
        lane_closed: called when the lane can run nothing any more.
        clock: seconds, monotonic.
        copies: whether rejected messages are copied to a dead-letter queue: else they hold up their group.

    Attributes:
        passed_on: how many messages were given to the lane behind.
    """

    def __init__(
        self,
        lane: Lane[Delivery],
        payloads: S3Payloads,
        options: Options,
        *,
        lazy: bool,
        finished: FinishedObjects,
        post: Callable[[Sequence[Answer[Delivery]]], object],
        lane_closed: Callable[[], None],
        clock: Callable[[], float],
        copies: bool,
    ) -> None:
        self._lane = lane
        self._payloads = payloads
        self._options = options
        self._number = new_number() if lazy else ""
        self._post = post
        self._lane_closed = lane_closed
        self._clock = clock
        self._passing = (Reject,) if copies else ()
        self._held = Held(options.payload_memory)
        self._parallel = asyncio.Semaphore(PARALLEL)
        self._fetching: dict[asyncio.Task[None], Sequence[Delivery]] = {}
        self.passed_on = 0
        self._finished = finished
        self._told = OnceAMinute(log)
        self._fetcher: Fetcher | None = None
        self.looks_before_start = lane.looks_before_start
        self.end = lane.end
        self.stop_collecting = lane.stop_collecting

    async def open(self) -> None:
        """Connect to the store, and open the lane behind."""
        options = self._options
        store = self._store = await self._payloads.connect(
            region=options.region, profile=options.profile, credentials=options.credentials
        )
        await self._payloads.check(store)
        self._fetcher = Fetcher(store, self._payloads.buckets, options.max_payload)
        if self._number:
            register(self._number, self._fetcher)
        if self._payloads.delete == "acked":
            self._finished.open(store)
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
        return not ready or self._submit(ready)

    def _submit(self, units: Sequence[Delivery]) -> bool:
        self.passed_on += len(units)
        return self._lane.submit(units)

    def submit_together(self, units: Sequence[Delivery]) -> bool:
        """As `submit`, for messages that go into one batch, in order."""
        if (pointers := self._pointers(units)) is None:
            return self._submit_together(units)
        self._begin(units, pointers)
        return True

    def _submit_together(self, units: Sequence[Delivery]) -> bool:
        assert isinstance(self._lane, Together)
        self.passed_on += len(units)
        return self._lane.submit_together(units)

    def _pointers(self, units: Sequence[Delivery]) -> dict[Delivery, Pointer | Reject] | None:
        """The pointers of those that have one; None if none has."""
        found: dict[Delivery, Pointer | Reject] = {}
        for unit in units:
            if self._held.was_kept(unit):
                continue
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

    async def _bring(self, units: Sequence[Delivery], pointers: dict[Delivery, Pointer | Reject]) -> None:
        """Fetch what these point to, then have them run; in order, and up to the first that cannot be fetched now."""
        outcomes: dict[Delivery, Outcome] = {}
        began = self._clock()
        try:
            sizes = await self._reserve(units, pointers, outcomes)
            for unit, size in sizes.items():
                await self._try(unit, outcomes, partial(self._fetch, unit, pointers[unit], size))
                if self._holds_up(outcomes.get(unit)):
                    break
        finally:
            # Without an entry it was recalled: the answer of S3 may come at the same moment, and end no `await`.
            recalled = self._fetching.pop(asyncio.current_task(), None) is None  # type: ignore[arg-type] # it is one
            if recalled:
                for unit in units:
                    self._drop(unit)
        if not recalled:
            self._pass_on(units, outcomes, began)

    def _pass_on(self, units: Sequence[Delivery], outcomes: dict[Delivery, Outcome], began: float) -> None:
        """Answer for those that have an outcome, and for all behind one that holds them up; have the others run."""
        ready: list[Delivery] = []
        answers: list[Answer[Delivery]] = []
        behind: Outcome | None = None
        for unit in units:
            outcome = behind or outcomes.get(unit)
            if outcome is None:
                ready.append(unit)
                continue
            if self._holds_up(outcome) and behind is None:
                behind = outcome if isinstance(outcome, Unclaimed) else NOT_STARTED
            if isinstance(outcome, Failed | Reject) and self._holds_up(outcome) and ready:
                outcome = NOT_STARTED  # behind others of its group it goes back, and is the first when it comes again
            self._drop(unit)
            if outcome is not NOT_STARTED:
                # What an outage judges is how long this took a slot; otherwise it took a handler no time.
                unit.started = unit.started or (began if isinstance(outcome, Unclaimed) else self._clock())
            answers.append(Answer(unit, outcome))
        if answers:
            self._post(answers)
        if ready and not (self._submit_together(ready) if len(units) > 1 else self._submit(ready)):
            self._lane_closed()

    def _holds_up(self, outcome: Outcome | None) -> bool:
        """Whether those behind a message of a group wait when it ends so."""
        return outcome is not None and not isinstance(outcome, self._passing)

    async def _try(
        self, unit: Delivery, outcomes: dict[Delivery, Outcome], step: Callable[[], Awaitable[None]]
    ) -> None:
        """Make a step for one message; note how it ends if that fails."""
        if unit.lost:
            outcomes[unit] = NOT_STARTED
            return
        try:
            await step()
        except PayloadGone as gone:
            # Another consumer may have finished it while its answer lay unread here. If it exists, it comes again.
            outcomes[unit] = NOT_STARTED if self._finished.stalls.any_since(unit.requested_at) else gone
        except Reject as refusal:
            outcomes[unit] = refusal
        except (PayloadsDown, OSError) as error:
            self._told.warning("payloads cannot be fetched, their messages are tried again: %s", one_line(error))
            outcomes[unit] = Unclaimed(0.0, error)
        except Exception as error:  # the store may be a user's
            outcomes[unit] = Failed(error)

    # One payload

    async def _reserve(
        self, units: Sequence[Delivery], pointers: dict[Delivery, Pointer | Reject], outcomes: dict[Delivery, Outcome]
    ) -> dict[Delivery, int]:
        """Take the bytes of these payloads, all at once: who holds a part and waits for more may wait for ever."""
        sizes: dict[Delivery, int] = {}
        for unit in units:
            if unit in pointers:
                await self._try(unit, outcomes, partial(self._measure, unit, pointers[unit], sizes))
                if self._holds_up(outcomes.get(unit)):
                    break
        if not self._number and sizes:
            await self._held.take(sizes)
        return sizes

    async def _measure(self, unit: Delivery, pointer: Pointer | Reject, sizes: dict[Delivery, int]) -> None:
        if isinstance(pointer, Reject):
            raise pointer
        fetcher = self._fetcher
        assert fetcher is not None
        bucket, key, size, _ = pointer
        fetcher.check(bucket, None if self._number else size)
        if size is None and not self._number:
            async with self._parallel:
                size = await fetcher.size(bucket, key)
            fetcher.check(bucket, size)
        sizes[unit] = size or 0

    async def _fetch(self, unit: Delivery, pointer: Pointer | Reject, size: int) -> None:
        fetcher = self._fetcher
        assert fetcher is not None
        assert not isinstance(pointer, Reject)
        bucket, key = pointer.bucket, pointer.key
        if self._number:
            body = ticket(self._number, bucket, key, pointer.size)
            self._finished.begin_reading(unit)
        else:
            try:
                async with self._parallel:
                    body = _text(await fetcher.fetch(bucket, key, size), bucket, key)
            except BaseException:
                self._drop(unit)
                raise
            self._held.came(unit, size, body)
        sent = unit.received.as_sent
        unit.received = offloaded(sent, pointer, body_with(sent, pointer, body))

    def _drop(self, unit: Delivery) -> None:
        """Its payload is not needed any more."""
        if self._number:
            self._finished.end_reading(unit)
        self._held.drop(unit)

    # What ends

    def let_go(self, answers: Sequence[Answer[Delivery]]) -> None:
        """Let go of the payloads of handlers that have ended. To be called with all answers of the lane."""
        for answer in answers:
            # A thread that runs on after its time-out still has it; `Freed` tells when it has ended.
            if answer.final and not (isinstance(answer.outcome, Failed) and answer.outcome.still_running):
                if isinstance(answer.outcome, Unclaimed) and not self._number:
                    self._held.keep(answer.unit)
                else:
                    self._drop(answer.unit)

    async def probe(self) -> None:
        """As `Fetcher.probe`."""
        assert self._fetcher is not None
        await self._fetcher.probe(self._payloads.bucket, f"{self._payloads.prefix}leasekeeper-probe")

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
        self._finished.rest()
        await self._lane.close()
        forget(self._number)
        await self._finished.close()
        if self._fetcher is not None and self._payloads.client is None:
            await self._store.close()

    def statistics(self) -> LaneStatistics:
        """What the lane is doing now, and what waits for payloads."""
        now = self._lane.statistics()
        waiting = now.waiting + sum(map(len, list(self._fetching.values())))
        return replace(now, waiting=waiting, payload_bytes=self._held.budget.taken)

    def __repr__(self) -> str:
        return f"<PayloadLane {len(self._fetching)} fetching, {self._held!r}, before {self._lane!r}>"


def _text(data: bytearray, bucket: str, key: str) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise Reject(
            f"its payload s3://{bucket}/{key} is not UTF-8 ({error.reason} at byte {error.start:,}): a handler that is "
            "annotated with Message[Payload] gets it as bytes"
        ) from None
