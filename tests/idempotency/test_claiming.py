"""The work on a store that waits: its claims are extended with the leases of their messages, in its own thread."""

from __future__ import annotations

import asyncio
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

from leasekeeper.idempotency import Claimed, Idempotency, MemoryStore, Running, StoreUnavailable
from leasekeeper.idempotency.claim import Claim
from leasekeeper.idempotency.claiming import work_on

if TYPE_CHECKING:
    from collections.abc import Sequence

    from leasekeeper.idempotency import Extension
    from leasekeeper.idempotency.api import Found

PATIENCE = 30.0


class Leased:
    """What a claim reads of a message."""

    def __init__(self, seconds: float) -> None:
        self.lease_deadline = time.monotonic() + seconds


class Recorded(MemoryStore):
    inline = False

    def __init__(self) -> None:
        super().__init__()
        self.extended: list[Extension] = []
        self.fails = 1
        self.seen = threading.Event()

    async def extend(self, extensions: Sequence[Extension]) -> Sequence[bool]:
        if self.fails:
            self.fails -= 1
            raise ConnectionError("refused")
        self.extended += extensions
        self.seen.set()
        return await super().extend(extensions)


def test_a_claim_is_extended_when_its_lease_was_also_after_the_store_has_failed_once() -> None:
    store = Recorded()
    work = work_on(store)
    assert work_on(store) is work
    first: Any = Leased(0.6)
    second: Any = Leased(50)
    claims = [Claim("a", "", first), Claim("b", "", second)]
    assert [work.claim(claim, 5).result(PATIENCE) for claim in claims] == [Claimed()] * 2
    first.lease_deadline = time.monotonic() + 90
    assert store.seen.wait(PATIENCE)
    assert [(each.key, each.token, 80 < each.lease <= 90) for each in store.extended] == [("a", claims[0].token, True)]
    assert all(work.release(claim, 5).result(PATIENCE) for claim in claims)


def test_claims_that_are_not_extended_are_told_of_once_a_minute(caplog: pytest.LogCaptureFixture) -> None:
    store = Recorded()
    store.fails = 2
    work = work_on(store)
    message, claim = leased("k", 0.3)
    assert work.claim(claim, 5).result(PATIENCE) == Claimed()
    message.lease_deadline += 90
    assert store.seen.wait(PATIENCE)
    [told] = [each.getMessage() for each in caplog.records]
    assert told.startswith("1 claim was not extended: ")
    assert work.release(claim, 5).result(PATIENCE)


def leased(key: str, seconds: float) -> tuple[Any, Claim]:
    message: Any = Leased(seconds)
    message.id = "m"
    return message, Claim(key, "", message)


def test_a_short_claim_is_extended_in_time_although_longer_ones_are_looked_at_later() -> None:
    store = Recorded()
    store.fails = 0
    work = work_on(store)
    _, long = leased("long", 600)
    assert work.claim(long, 5).result(PATIENCE) == Claimed()
    time.sleep(0.05)
    message, short = leased("short", 3.0)
    assert work.claim(short, 5).result(PATIENCE) == Claimed()
    message.lease_deadline += 90
    assert store.seen.wait(2.9)  # it is looked at after a second, and the long one after five
    assert [each.key for each in store.extended] == ["short"]
    assert all(work.release(claim, 5).result(PATIENCE) for claim in (short, long))


def test_a_claim_that_the_store_has_forgotten_is_made_again() -> None:
    """A Redis without persistence was restarted."""
    store = Recorded()
    store.fails = 0
    work = work_on(store)
    message, claim = leased("k", 0.3)
    assert work.claim(claim, 5).result(PATIENCE) == Claimed()
    store._records.clear()
    message.lease_deadline += 90
    assert store.seen.wait(PATIENCE)
    until = time.monotonic() + PATIENCE
    while not store._records and time.monotonic() < until:
        time.sleep(0.01)
    assert store._records["k"].token == claim.token
    assert work.release(claim, 5).result(PATIENCE)


class Slow(MemoryStore):
    """The answers of this store get lost on their way; its driver does not end when it is cancelled."""

    inline = False
    lost = 0
    __repr__ = lambda _: "<Slow>"  # noqa: E731
    lingers = 0.5

    async def claim(self, key: str, token: str, fingerprint: str, lease: float) -> Found:
        found = await super().claim(key, token, fingerprint, lease)
        await self._lose()
        return found

    async def complete(self, key: str, token: str, fingerprint: str, result: bytes | None, keep: float) -> bool:
        await self._lose()
        return await super().complete(key, token, fingerprint, result, keep)

    async def _lose(self) -> None:
        if self.lost:
            self.lost -= 1
            try:
                await asyncio.sleep(PATIENCE)
            except asyncio.CancelledError:
                await asyncio.sleep(self.lingers)


def test_a_claim_without_an_answer_is_taken_over_by_the_next_run_of_this_process() -> None:
    """It would have to wait for its own claim otherwise, until the lease of the first delivery ends."""
    store = Slow()
    store.lost, store.lingers = 1, 8.0
    work = work_on(store)
    _, first = leased("k", 600)
    began = time.monotonic()
    with pytest.raises(StoreUnavailable, match=r"no answer in 0\.1 s"):
        work.claim(first, 0.1).result(PATIENCE)
    assert time.monotonic() - began < store.lingers
    work.unanswered(first)
    _, second = leased("k", 600)
    assert work.claim(second, 5).result(PATIENCE) == Claimed()
    _, third = leased("k", 600)
    assert isinstance(work.claim(third, 5).result(PATIENCE), Running)
    assert work.release(second, 5).result(PATIENCE)


def test_a_key_that_cannot_be_completed_at_once_is_completed_later() -> None:
    store = Slow()
    work = work_on(store)
    _, claim = leased("k", 600)
    assert work.claim(claim, 5).result(PATIENCE) == Claimed()
    store.lost = 1
    with pytest.raises(StoreUnavailable, match=r"^<Slow>: no answer in 0\.05 s$"):
        work.complete(claim, None, 60.0, 0.05).result(PATIENCE)
    until = time.monotonic() + PATIENCE
    while store._records["k"].done is None and time.monotonic() < until:
        time.sleep(0.01)
    assert store._records["k"].done is not None


def test_a_verb_that_is_cancelled_before_its_turn_is_never_made() -> None:
    """Made and never awaited, it would be a warning of Python in the middle of something else."""
    asked: list[str] = []

    async def verb() -> None:
        asked.append("asked")

    async def story() -> None:
        task = asyncio.ensure_future(work_on(Recorded())._run(verb, 5))
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled()

    asyncio.run(story())
    assert asked == []


def test_claims_that_ended_long_ago_are_forgotten() -> None:
    """A message that was withheld, and settled later, tells nobody that its claim is of no use any more."""
    store = MemoryStore()
    work = work_on(store)
    claims = [leased(f"k{n}", -61)[1] for n in range(1002)]
    for claim in claims:
        assert work.claim(claim, 5).result() == Claimed()
    assert len(work._running) < 3


class Guarded(MemoryStore):
    """A store that allows keys of one prefix only, as a Redis with ACLs may."""

    inline = False

    async def claim(self, key: str, token: str, fingerprint: str, lease: float) -> Found:
        self._check(key)
        return await super().claim(key, token, fingerprint, lease)

    async def release(self, key: str, token: str) -> bool:
        self._check(key)
        return await super().release(key, token)

    @staticmethod
    def _check(key: str) -> None:
        if not key.startswith("shop:"):
            raise PermissionError(key)


def test_a_store_is_asked_with_keys_of_the_prefix() -> None:
    allowed = Idempotency(Guarded(), key="id", prefix="shop")
    asyncio.run(allowed.check())
    asyncio.run(allowed.probe())
    with pytest.raises(StoreUnavailable, match="PermissionError: leasekeeper:check"):
        asyncio.run(Idempotency(Guarded(), key="id").probe())
