"""Work on a store: its verbs from any thread, and the claims of handlers that run, which live as long as their leases.

There is one for each store. A store that waits for a network has a thread with an event loop here, which runs while
there is something to do, so that `async def` and `def` handlers use one implementation.
"""

from __future__ import annotations

import asyncio
import os
import time
from concurrent.futures import Future
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TypeVar

from leasekeeper.engine.host import LoopThread
from leasekeeper.idempotency.api import Extension, StoreUnavailable
from leasekeeper.loggers import safe_logger
from leasekeeper.texts import safe_str

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from leasekeeper.idempotency.api import Found, Store
    from leasekeeper.message import Message

T = TypeVar("T")
log = safe_logger("leasekeeper.idempotency")

IDLE = 30.0
"""Seconds after the last verb until the connections are closed and the thread ends."""
LOOKS = 6
"""Looks at the leases of running claims in the time of the shortest one."""
SHORTEST_LOOK, LONGEST_LOOK = 0.05, 5.0
SHORTEST_LEASE = 0.001
"""Seconds of the shortest claim: the lease of its message may be as good as over."""


class Claim:
    """The claim of one run of a handler, which lives as long as the lease of its message."""

    __slots__ = ("fingerprint", "key", "lease", "message", "token", "until")

    def __init__(self, key: str, fingerprint: str, message: Message[Any]) -> None:
        self.key = key
        self.fingerprint = fingerprint
        self.message = message
        self.token = os.urandom(16).hex()
        self.lease = 0.0
        """Seconds that it was claimed for."""
        self.until = 0.0
        """The deadline of the lease that the store was last told."""

    def left(self, now: float) -> float:
        """Seconds until the lease ends; notes that the store is told this."""
        self.until = self.message.lease_deadline
        return max(SHORTEST_LEASE, self.until - now)


class Work:
    """The verbs of one store, for the guards of all handlers that use it."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.clock: Callable[[], float] = getattr(store, "clock", time.monotonic)
        self._thread = LoopThread("leasekeeper-idempotency")
        self._reset()

    def _reset(self) -> None:
        self._process = os.getpid()
        self._running: dict[str, Claim] = {}
        """Claims of this process by token."""
        self._active = 0
        self._held = False
        self._closing: asyncio.TimerHandle | None = None
        self._extending: asyncio.Task[None] | None = None

    # Verbs: each returns a future, of which only waiting may be cancelled

    def claim(self, claim: Claim, timeout: float) -> Future[Found]:
        """Claim a key for as long as the message's lease lasts, and then as long as that is extended."""
        if self._process != os.getpid():  # a forked child has none of its parent's claims and connections
            self._reset()
        lease = claim.lease = claim.left(self.clock())
        self._running[claim.token] = claim
        if self._store.inline:  # nothing else can have claimed a key of this process: look at the leases only now
            self._submit(self._store.extend(self._extensions(claim.key)), timeout)
        return self._submit(self._store.claim(claim.key, claim.token, claim.fingerprint, lease), timeout)

    def drop(self, claim: Claim) -> None:
        """Extend it no more."""
        self._running.pop(claim.token, None)

    def complete(self, claim: Claim, result: bytes | None, keep: float, timeout: float) -> Future[bool]:
        """Note that its work is done."""
        self.drop(claim)
        return self._submit(self._store.complete(claim.key, claim.token, claim.fingerprint, result, keep), timeout)

    def release(self, claim: Claim, timeout: float) -> Future[bool]:
        """Give it up."""
        self.drop(claim)
        return self._submit(self._store.release(claim.key, claim.token), timeout)

    def _submit(self, verb: Coroutine[Any, Any, T], timeout: float) -> Future[T]:
        if self._store.inline:
            return _finished(verb)
        return asyncio.run_coroutine_threadsafe(self._run(verb, timeout), self._thread.enter())

    # All below runs on the loop of the thread

    async def _run(self, verb: Coroutine[Any, Any, T], within: float) -> T:
        self._active += 1
        try:
            if not self._held:
                self._thread.enter()
                self._held = True
            if self._running and self._extending is None:
                self._extending = asyncio.ensure_future(self._extend())
            async with asyncio.timeout(within):
                return await verb
        except Exception as error:
            raise StoreUnavailable(f"{self._store!r}: {type(error).__name__}: {safe_str(error, 300)}") from error
        finally:
            self._active -= 1
            if self._closing is not None:
                self._closing.cancel()
            self._closing = asyncio.get_running_loop().call_later(IDLE, self._close_if_idle)
            self._thread.leave()  # here, and not where the future is done: the thread must not end before this

    async def _extend(self) -> None:
        """Extend the claims whose leases were extended, until none runs."""
        try:
            while running := list(self._running.values()):
                pause = min(each.lease for each in running) / LOOKS
                await asyncio.sleep(min(max(pause, SHORTEST_LOOK), LONGEST_LOOK))
                extensions = self._extensions()
                if not extensions:
                    continue
                try:
                    async with asyncio.timeout(LONGEST_LOOK):
                        await self._store.extend(extensions)
                except Exception as error:
                    for _, token, _ in extensions:  # once more at the next look
                        if (claim := self._running.get(token)) is not None:
                            claim.until = 0.0
                    log.warning("%d claims in %r were not extended: %s", len(extensions), self._store, safe_str(error))
        finally:
            self._extending = None

    def _extensions(self, key: str | None = None) -> list[Extension]:
        now = self.clock()
        found = []
        for claim in list(self._running.values()):
            deadline = claim.message.lease_deadline
            if deadline <= now:  # lost, or of a message that was withheld and settled: the claim ends with the lease
                self.drop(claim)
            elif deadline > claim.until and key in (None, claim.key):
                found.append(Extension(claim.key, claim.token, claim.left(now)))
        return found

    def _close_if_idle(self) -> None:
        if self._active == 0 and self._extending is None and self._held:
            self._held = False
            closing = asyncio.ensure_future(self._close())
            closing.add_done_callback(lambda _: self._thread.leave())
        elif self._held:
            self._closing = asyncio.get_running_loop().call_later(IDLE, self._close_if_idle)

    async def _close(self) -> None:
        with suppress(Exception):
            await self._store.close()


def _finished(verb: Coroutine[Any, Any, T]) -> Future[T]:
    """The future of a verb that does not wait."""
    future: Future[T] = Future()
    try:
        verb.send(None)
    except StopIteration as end:
        future.set_result(end.value)
    except Exception as error:
        future.set_exception(StoreUnavailable(f"{type(error).__name__}: {safe_str(error, 300)}"))
    else:
        verb.close()
        future.set_exception(StoreUnavailable("a verb of a store with inline=True has waited"))
    return future


def work_on(store: Store) -> Work:
    """The work on a store: the same for all handlers that use it."""
    known: Work | None = vars(store).get("_work")
    return known if known is not None else vars(store).setdefault("_work", Work(store))
