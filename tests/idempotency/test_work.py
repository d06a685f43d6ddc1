"""The work on a store that waits: its claims are extended with the leases of their messages, in its own thread."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any

from leasekeeper.idempotency import Claimed, MemoryStore
from leasekeeper.idempotency.work import Claim, work_on

if TYPE_CHECKING:
    from collections.abc import Sequence

    from leasekeeper.idempotency import Extension

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
