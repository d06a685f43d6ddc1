"""One suite for all stores: each verb is one step, and changes nothing for a token that does not own the key."""

from __future__ import annotations

import asyncio
import itertools
import os
import pickle
from typing import TYPE_CHECKING, Any

import pytest

from leasekeeper.idempotency import Claimed, Completed, DynamoDbStore, Extension, MemoryStore, Running
from leasekeeper.idempotency.claiming import work_on

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from leasekeeper.idempotency import Store

pytestmark = pytest.mark.slow
_numbers = itertools.count()
LAPSED = 0.001
"""Seconds of a claim that ends at once."""


@pytest.fixture
def key() -> str:
    return f"test:{os.getpid()}:{next(_numbers)}"


def on(make_store: Callable[[], Store], test: Callable[[Store], Coroutine[Any, Any, None]]) -> None:
    async def run() -> None:
        store = make_store()
        try:
            await test(store)
        finally:
            await store.close()

    asyncio.run(run())


async def claimed_after_lapse(store: Store, key: str, token: str) -> None:
    """Claim a key as soon as the claim before has ended: in DynamoDB two seconds later, because clocks differ."""
    if isinstance(store, DynamoDbStore):
        assert isinstance(await store.claim(key, token, "", 60.0), Running | Completed)
        store._wall.ahead += 2.01  # type: ignore[attr-defined]
    async with asyncio.timeout(30):
        while not isinstance(await store.claim(key, token, "", 60.0), Claimed):  # noqa: ASYNC110 - a server's clock
            await asyncio.sleep(0.02)


def test_of_fifty_claimants_one_wins(make_store: Callable[[], Store], key: str) -> None:
    async def race() -> None:
        stores = [make_store() for _ in range(5)]
        found = await asyncio.gather(*(stores[n % 5].claim(key, f"t{n}", "", 60.0) for n in range(50)))
        assert sum(isinstance(each, Claimed) for each in found) == 1
        assert all(isinstance(each, Claimed) or 50.0 < each.left <= 62.5 for each in found)  # type: ignore[union-attr]
        for store in stores:
            await store.close()

    asyncio.run(race())


def test_a_claim_is_made_again_by_its_token_only(make_store: Callable[[], Store], key: str) -> None:
    async def test(store: Store) -> None:
        assert await store.claim(key, "a", "", 60.0) == Claimed()
        assert await store.claim(key, "a", "", 90.0) == Claimed()
        found = await store.claim(key, "b", "", 60.0)
        assert isinstance(found, Running)
        assert 80.0 < found.left <= 92.5

    on(make_store, test)


def test_a_completed_key_stays_with_its_result_and_fingerprint(make_store: Callable[[], Store], key: str) -> None:
    """Powertools 3.37 loses the fingerprint when it completes a record, so that every replay raises."""

    async def test(store: Store) -> None:
        await store.claim(key, "a", "f", 60.0)
        assert await store.complete(key, "a", "f", b'{"n":1}', 60.0)
        for token in ("a", "b"):
            assert await store.claim(key, token, "f", 60.0) == Completed("f", b'{"n":1}')
        assert not await store.release(key, "a")
        assert await store.claim(key, "b", "f", 60.0) == Completed("f", b'{"n":1}')

    on(make_store, test)


def test_without_a_result_none_is_kept(make_store: Callable[[], Store], key: str) -> None:
    async def test(store: Store) -> None:
        await store.claim(key, "a", "", 60.0)
        assert await store.complete(key, "a", "", None, 60.0)
        assert await store.claim(key, "b", "", 60.0) == Completed("", None)

    on(make_store, test)


def test_a_run_without_its_claim_changes_nothing_of_its_successors(make_store: Callable[[], Store], key: str) -> None:
    """Powertools 3.37 deletes the completed record of the successor, so that the work runs a third time."""

    async def test(store: Store) -> None:
        await store.claim(key, "first", "", LAPSED)
        await claimed_after_lapse(store, key, "second")
        assert not await store.complete(key, "first", "", b"1", 60.0)
        assert not await store.release(key, "first")
        assert list(await store.extend([Extension(key, "first", 600.0)])) == [False]
        found = await store.claim(key, "third", "", 60.0)
        assert isinstance(found, Running)
        assert found.left < 63

        assert await store.complete(key, "second", "", b"2", 60.0)
        assert not await store.complete(key, "first", "", b"1", 60.0)
        assert not await store.release(key, "first")
        assert await store.claim(key, "third", "", 60.0) == Completed("", b"2")

    on(make_store, test)


def test_a_claim_that_has_ended_can_be_completed_while_no_other_run_has_the_key(
    make_store: Callable[[], Store], key: str
) -> None:
    async def test(store: Store) -> None:
        await store.claim(key, "first", "", LAPSED)
        await claimed_after_lapse(store, key, "second")
        assert await store.release(key, "second")
        assert not await store.release(key, "second")
        assert await store.complete(key, "first", "", None, 60.0)
        assert await store.claim(key, "third", "", 60.0) == Completed()

    on(make_store, test)


def test_several_claims_are_extended_at_once(make_store: Callable[[], Store], key: str) -> None:
    async def test(store: Store) -> None:
        for n in range(3):
            await store.claim(f"{key}-{n}", f"t{n}", "", 60.0)
        asked = [Extension(f"{key}-{n}", f"t{n}", 600.0) for n in range(4)]
        assert list(await store.extend(asked)) == [True, True, True, False]
        found = await store.claim(f"{key}-2", "other", "", 60.0)
        assert isinstance(found, Running)
        assert 590 < found.left < 602.5

    on(make_store, test)


def test_a_key_is_forgotten_when_its_time_to_be_kept_is_over(make_store: Callable[[], Store], key: str) -> None:
    async def test(store: Store) -> None:
        await store.claim(key, "a", "", 60.0)
        assert await store.complete(key, "a", "", None, LAPSED)
        await claimed_after_lapse(store, key, "b")

    on(make_store, test)


def test_a_store_is_taken_to_a_worker_process(make_store: Callable[[], Store], key: str) -> None:
    """As `lane='processes'` does it. What is kept in memory stays where it is."""
    store = make_store()
    work_on(store)
    if isinstance(store, MemoryStore):
        with pytest.raises(TypeError, match="keeps keys in one process"):
            pickle.dumps(store)
        return
    taken = pickle.loads(pickle.dumps(store))

    async def test(store: Store) -> None:
        assert await taken.claim(key, "a", "", 60.0) == Claimed()
        assert isinstance(await store.claim(key, "b", "", 60.0), Running)
        await taken.close()

    on(make_store, test)
