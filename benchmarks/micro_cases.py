"""The operations of core objects and lanes that `micro.py` measures, each as it is used at full load.

A case makes its operation once. The operation restores the state that it found, so that it can be repeated. It runs
inside a running event loop, and never waits.
"""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, cast

import msgspec
import pydantic

from leasekeeper.core.batch import Batch
from leasekeeper.core.delivery import LeasePolicy
from leasekeeper.core.ledger import Ledger
from leasekeeper.core.median import StreamingMedian
from leasekeeper.core.pool import Pool
from leasekeeper.core.ring import Ring
from leasekeeper.core.semaphore import WeightedSemaphore
from leasekeeper.core.throttle_policy import ThrottlePolicy
from leasekeeper.core.throttler import Throttler
from leasekeeper.lanes.decoding import decoder_of
from leasekeeper.lanes.handler import Handler
from leasekeeper.lanes.mailbox import Mailbox
from leasekeeper.message import Received
from leasekeeper.schedules import Exponential

if TYPE_CHECKING:
    import asyncio
    from contextvars import Context

Operation = Callable[[], object]


@dataclass(frozen=True, slots=True)
class Case:
    """An operation with its name and description."""

    name: str
    says: str
    make: Callable[[], Operation]


CASES: list[Case] = []


def case(name: str, says: str) -> Callable[[Callable[[], Operation]], None]:
    """Add a case: the decorated function makes its operation."""
    return lambda make: CASES.append(Case(name, says, make))


# What the cases work on


def received(number: int, body: str = "x" * 500) -> Received:
    return Received(
        message_id=f"{number:08x}-7f3a-4c1e-9b52-0d8e6a4f1c27",
        receipt=f"{number:0350d}",
        body=body,
        md5_of_body=hashlib.md5(body.encode()).hexdigest(),
        system={"ApproximateReceiveCount": "1", "SentTimestamp": "1700000000000"},
    )


TEN = [received(number) for number in range(10)]
POLICY = LeasePolicy(visibility=30, extend_after=15)


class Order(msgspec.Struct):
    id: int
    customer: str
    items: list[str]


class Model(pydantic.BaseModel):
    id: int
    customer: str
    items: list[str]


ORDER = received(1, json.dumps({"id": 1, "customer": "anna", "items": ["tea", "honey", "bread"] * 10}))


# The ledger


@case("ledger-ten", "receive, done and deleted of ten messages")
def _() -> Operation:
    # With `remember` above 0 these ten would count as finished from the second time on.
    ledger = Ledger(LeasePolicy(visibility=30, extend_after=15, remember=0))

    def operation() -> None:
        fresh, _ = ledger.receive(TEN, requested_at=0.0, now=0.1)
        ledger.done(fresh)
        ledger.deleted([(row, row.receipt) for row in fresh], 0.2)

    return operation


def _held(leases: int) -> Ledger:
    ledger = Ledger(POLICY)
    for number in range(leases):
        at = number * 15 / leases
        ledger.receive([received(10 * number + each) for each in range(10)], requested_at=at, now=at)
    return ledger


@case("ledger-beat", "tick and extended of ten messages, 20,000 held in 2,000 leases")
def _() -> Operation:
    ledger = _held(2_000)

    def operation() -> None:
        now = ledger.leases.next_due()
        ledger.leases.extended([(row, row.receipt, 30) for row in ledger.leases.tick(now)], now)

    return operation


@case("ledger-look", "next_due and a tick that finds nothing due, 20,000 held")
def _() -> Operation:
    ledger = _held(2_000)
    return lambda: ledger.leases.tick(min(ledger.leases.next_due(), 14.0) - 1.0)


# Other decisions


@case("batch", "add and take of ten")
def _() -> Operation:
    batch: Batch[int] = Batch(size=10, linger=0.5)
    items = list(range(10))
    return lambda: (batch.add(items, 1.0), batch.take(1.0))


@case("median", "extend by ten and value")
def _() -> Operation:
    median = StreamingMedian()
    values = [0.017 * each % 0.031 for each in range(10)]

    def operation() -> None:
        median.extend(values)
        median.value  # noqa: B018 - a property that sorts

    return operation


@case("ring", "push and pop")
def _() -> Operation:
    ring: Ring[int] = Ring(100)

    def operation() -> None:
        ring.push(1)
        ring.pop()

    return operation


@case("pool", "submit and finished, workers idle")
def _() -> Operation:
    pool: Pool[int] = Pool(maximum=20, waiting_room=100, idle_timeout=10.0)

    def operation() -> None:
        assignment = pool.submit(1, 1.0)
        assert assignment is not None
        pool.finished(assignment.worker, 1.0)

    return operation


@case("pool-waiting", "submit and finished, all workers busy")
def _() -> Operation:
    pool: Pool[int] = Pool(maximum=1, waiting_room=100, idle_timeout=10.0)
    pool.submit(1, 1.0)
    return lambda: (pool.submit(1, 1.0), pool.finished(0, 1.0))


@case("semaphore", "acquire_up_to ten and release them")
def _() -> Operation:
    semaphore = WeightedSemaphore(100)

    def operation() -> None:
        semaphore.acquire_up_to(10)
        semaphore.release(10)

    return operation


@case("throttler-received", "a full receive is counted")
def _() -> Operation:
    throttler, clock = Throttler(ThrottlePolicy(concurrency=100, visibility=30)), itertools.count(1)
    throttler.settled(0.5, in_hand=[0.02] * 10, worked=[0.01] * 10)
    return lambda: throttler.received(next(clock) * 0.01, asked=10, got=10, latency=0.005)


@case("throttler-settled", "ten settled messages are counted")
def _() -> Operation:
    throttler, clock = Throttler(ThrottlePolicy(concurrency=100, visibility=30)), itertools.count(1)
    in_hand, worked = [0.02] * 10, [0.01] * 10
    return lambda: throttler.settled(next(clock) * 0.001, in_hand=in_hand, worked=worked)


@case("backoff", "a delay with jitter")
def _() -> Operation:
    schedule = Exponential(base=2.0, maximum=900.0)
    return lambda: schedule.delay(3, 0.5)


# The lanes


@case("mailbox", "ten posts of one item, received together")
def _() -> Operation:
    class Loop:
        woken: Callable[[], None]

        def is_closed(self) -> bool:
            return False

        def call_soon_threadsafe(self, callback: Callable[[], None], *, context: Context) -> None:
            del context
            self.woken = callback

    loop, item = Loop(), (1,)
    mailbox: Mailbox[int] = Mailbox(cast("asyncio.AbstractEventLoop", loop), lambda _: None)

    def operation() -> None:
        for _ in range(10):
            mailbox.post(item)
        loop.woken()

    return operation


@case("handler", "a coroutine handler that takes text is run")
def _() -> Operation:
    async def nothing(body: str) -> None: ...

    run = partial(Handler(nothing, queue="orders").run, lambda _answer: True)
    (row,), _ = Ledger(POLICY).receive(TEN[:1], requested_at=0.0, now=0.1)

    def operation() -> None:
        try:
            run(row).send(None)
        except StopIteration:
            return

    return operation


@case("decode-struct", "a body of 300 bytes becomes a msgspec Struct")
def _() -> Operation:
    decode = decoder_of(Order, "ship")
    return lambda: decode(ORDER)


@case("decode-pydantic", "the same becomes a pydantic model")
def _() -> Operation:
    decode = decoder_of(Model, "ship")
    return lambda: decode(ORDER)
