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
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from leasekeeper.core.patience import Patience
from leasekeeper.engine.host import LoopThread
from leasekeeper.futures import failed_future
from leasekeeper.idempotency.api import Claimed, Extension, StoreUnavailable
from leasekeeper.idempotency.claim import SHORTEST_LEASE
from leasekeeper.idempotency.outage import NotExtended, has_answered
from leasekeeper.loggers import safe_logger
from leasekeeper.texts import one_line, safe_str

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from leasekeeper.idempotency.api import Found, Store
    from leasekeeper.idempotency.claim import Claim

T = TypeVar("T")
log = safe_logger("leasekeeper.idempotency")

IDLE = 30.0
"""Seconds after the last verb until the connections are closed and the thread ends."""
LOOK = 1 / 3
"""The part of the time until the first claim ends after which the leases are looked at."""
SHORTEST_LOOK, LONGEST_LOOK = 0.05, 5.0
AFTER_FAILURE = 1.0
"""Seconds until the next look when the store has failed."""
GONE = 60.0
"""Seconds after the end of its lease at which a claim is looked at no more. Until then the lease may come back: the
engine, or its keeper, may have extended it in time and told us late."""
PERSISTING = 60.0
"""Seconds for which a key that could not be completed is tried again, after its handler has ended."""
FIRST_PAUSE, LONGEST_PAUSE = 0.5, 8.0
"""Seconds between these tries; doubled each time."""
SWEEP = 1_000
"""Claims in a store that does not wait above which those that are gone are looked for."""
SHORTEST_CLAIM = 0.02
"""Seconds that a claim may take at least while a part of the store hangs."""
AT_ONCE = 0.75
"""The part of a store's connections that claims may have: keys of handlers that have ended need some too."""
UNANSWERED = 10_000
"""Tokens of claims without an answer that are remembered, at most."""


class Work:
    """The verbs of one store, for the guards of all handlers that use it."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._inline = bool(getattr(store, "inline", False))
        self.clock: Callable[[], float] = getattr(store, "clock", time.monotonic)
        self._thread = LoopThread("leasekeeper-idempotency")
        self._patience = Patience(SHORTEST_CLAIM, self.clock)
        self._at_once = max(1, int(AT_ONCE * getattr(store, "connections", UNANSWERED)))
        self._reset()

    def _reset(self) -> None:
        self._process = os.getpid()
        self._running: dict[str, Claim] = {}
        """Claims of this process by key."""
        self._unanswered: dict[str, str] = {}
        """Tokens by key that no run uses: the store may have taken their claims without an answer. The next run of
        such a key claims it with that token, and need not wait until that claim ends."""
        self._sweep_above = SWEEP
        self._not_extended = NotExtended()
        self._active = 0
        self._held = False
        self._claiming = asyncio.Semaphore(self._at_once)
        self._closing: asyncio.TimerHandle | None = None
        self._look: asyncio.TimerHandle | None = None
        self._looking: asyncio.Task[None] | None = None
        self._persisting: set[asyncio.Task[None]] = set()

    async def check(self, prefix: str, timeout: float) -> None:  # noqa: ASYNC109 - of the verb
        """Ask the store whether it can be used.

        It gives up a claim that does not exist: for this, all stores need the table and the right to write.

        Raises:
            StoreUnavailable: it cannot.
        """
        if not self._inline:
            self._own_process()
            token = os.urandom(16).hex()  # also in the key, so that one shard that is down refuses no start for good
            releasing = partial(self._store.release, f"{prefix}:check:{token}", token)
            await asyncio.wrap_future(self._submit(releasing, timeout))

    async def probe(self, prefix: str, timeout: float) -> None:  # noqa: ASYNC109 - of the verb
        """Ask the store whether it takes claims: some take none while they answer, such as a Redis without memory.

        Raises:
            StoreUnavailable: it does not.
        """
        self._own_process()
        trying = partial(self._try_out, prefix, os.urandom(16).hex())
        await (trying() if self._inline else asyncio.wrap_future(self._submit(trying, timeout)))

    async def _try_out(self, prefix: str, token: str) -> None:
        key = f"{prefix}:check:{token}"  # a server may allow keys of the prefix only
        with self._patience.call():
            await self._store.claim(key, token, "", SHORTEST_LEASE)
        await self._store.release(key, token)

    # Verbs: each returns a future, of which only waiting may be cancelled

    def claim(self, claim: Claim, timeout: float, *, in_full: bool = False) -> Future[Found]:
        """Claim a key for as long as its message has a lease. This is cut short if a part hangs, unless `in_full`."""
        self._own_process()
        claim.again = claim.key in self._unanswered
        claim.token = self._unanswered.pop(claim.key, claim.token)
        lease = claim.left(self.clock())
        if self._inline:
            self._extend_inline(claim.key, timeout)
            return _finished(self._claim(claim, lease))
        return self._submit(partial(self._claim_in_time, claim, lease, timeout, in_full=in_full), timeout)

    def _own_process(self) -> None:
        if self._process != os.getpid():  # a forked child has none of its parent's claims and connections
            self._reset()

    def _extend_inline(self, key: str, timeout: float) -> None:
        """Extend the claim of this key: nothing outside of this process can have it, so its lease is looked at now."""
        if (running := self._running.get(key)) is not None:
            self._submit(partial(self._store.extend, self._extensions([running])), timeout)
        if len(self._running) > self._sweep_above:
            self._extensions(list(self._running.values()))
            self._sweep_above = 2 * len(self._running) + SWEEP

    def drop(self, claim: Claim) -> None:
        """Extend it no more."""
        if self._running.get(claim.key) is claim:
            self._running.pop(claim.key, None)

    def unanswered(self, claim: Claim) -> None:
        """Note that nothing came of a claim, as far as is known."""
        self.drop(claim)
        while len(self._unanswered) >= UNANSWERED:
            self._unanswered.pop(next(iter(self._unanswered)), None)
        self._unanswered[claim.key] = claim.token

    def complete(self, claim: Claim, result: bytes | None, keep: float, timeout: float) -> Future[bool]:
        """Note that its work is done. If the store fails now, this goes on in the background."""
        self.drop(claim)
        return self._submit(partial(self._complete, claim, result, keep, timeout), timeout)

    def release(self, claim: Claim, timeout: float) -> Future[bool]:
        """Give it up."""
        self.drop(claim)
        return self._submit(partial(self._store.release, claim.key, claim.token), timeout)

    def _submit(self, verb: Callable[[], Coroutine[Any, Any, T]], timeout: float) -> Future[T]:
        # A function, not a coroutine: one that is cancelled before its turn would never be awaited.
        if self._inline:
            return _finished(verb())
        try:
            loop = self._thread.enter()
        except OSError as error:  # no descriptors are left
            return failed_future(self._unavailable(error))
        return asyncio.run_coroutine_threadsafe(self._run(verb, timeout), loop)

    async def _claim_in_time(self, claim: Claim, lease: float, timeout: float, *, in_full: bool) -> Found:  # noqa: ASYNC109
        async with self._claiming:  # not in the store: what waits for a connection says nothing about the store
            within = timeout if in_full else self._patience.limit(timeout, again=claim.again)
            with self._patience.call():
                return await self._answered(self._claim(claim, lease), within)

    async def _claim(self, claim: Claim, lease: float) -> Found:
        found = await self._store.claim(claim.key, claim.token, claim.fingerprint, lease)
        if isinstance(found, Claimed):
            self._running[claim.key] = claim
            if not self._inline:
                self._plan(lease)
        return found

    async def _complete(self, claim: Claim, result: bytes | None, keep: float, within: float) -> bool:
        def verb() -> Coroutine[Any, Any, bool]:
            return self._store.complete(claim.key, claim.token, claim.fingerprint, result, keep)

        if self._inline:
            return await verb()
        try:
            return await self._answered(verb(), within)
        except StoreUnavailable:
            task = asyncio.ensure_future(self._persist(verb, claim, within))
            self._persisting.add(task)
            task.add_done_callback(self._persisting.discard)
            raise

    # All below runs on the loop of the thread

    async def _run(self, verb: Callable[[], Coroutine[Any, Any, T]], within: float) -> T:
        self._active += 1
        try:
            if not self._held:
                self._thread.enter()
                self._held = True
                self._claiming = asyncio.Semaphore(self._at_once)  # the loop may be another one
            return await self._answered(verb(), within)
        finally:
            self._active -= 1
            if self._closing is not None:
                self._closing.cancel()
            self._closing = asyncio.get_running_loop().call_later(IDLE, self._close_if_idle)
            self._thread.leave()  # here, and not where the future is done: the thread must not end before this

    async def _answered(self, verb: Coroutine[Any, Any, T], within: float) -> T:
        """The answer to a verb. One without an answer in time is left to end: drivers wait for it when cancelled."""
        task = asyncio.ensure_future(verb)
        try:
            for _ in range(2):  # after a moment in which this process stood still, the answer is here, and not read yet
                done, _pending = await asyncio.wait((task,), timeout=within / 2)
                if done:
                    return task.result()
        except Exception as error:
            raise self._unavailable(error) from error
        else:
            raise StoreUnavailable(f"{self._store!r}: no answer in {within:g} s")
        finally:
            task.cancel()
            task.add_done_callback(lambda late: late.cancelled() or late.exception())  # else its error is shown

    def _unavailable(self, error: Exception) -> StoreUnavailable:
        if isinstance(error, StoreUnavailable):  # also one that has passed here already
            return error
        text = f"{self._store!r}: {type(error).__name__}: {one_line(error)}"
        return StoreUnavailable(text, answered=has_answered(error))

    async def _persist(self, verb: Callable[[], Coroutine[Any, Any, bool]], claim: Claim, within: float) -> None:
        """Complete a key that its handler could not complete."""
        loop, pause = asyncio.get_running_loop(), FIRST_PAUSE
        end = loop.time() + PERSISTING
        while loop.time() < end:
            await asyncio.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE)
            with suppress(StoreUnavailable):
                if not await self._answered(verb(), within):
                    log.warning("the key of message %s was claimed by another run meanwhile", claim.message.id)
                return
        log.warning("the key of message %s could not be completed: a duplicate runs again", claim.message.id)

    def _plan(self, left: float) -> None:
        """Look at the leases before the first claim ends, of which so many seconds are left."""
        pause = LONGEST_LOOK if left <= 0 else min(max(left * LOOK, SHORTEST_LOOK), LONGEST_LOOK)
        loop = asyncio.get_running_loop()
        when = loop.time() + pause
        if self._look is not None and self._look.when() > when:
            self._look.cancel()
            self._look = None
        if self._look is None and self._looking is None:
            self._look = loop.call_at(when, self._begin_look)

    def _begin_look(self) -> None:
        self._look = None
        self._looking = asyncio.ensure_future(self._extend())

    async def _extend(self) -> None:
        """Extend claims after the leases of their messages."""
        before = [(claim, claim.until) for claim in list(self._running.values())]
        failed, extensions = False, self._extensions([claim for claim, _ in before])
        try:
            if extensions:
                extended = await self._answered(self._store.extend(extensions), LONGEST_LOOK)
                for each, kept in zip(extensions, extended, strict=True):
                    if not kept:
                        await self._answered(self._claim_again(each), LONGEST_LOOK)
        except StoreUnavailable as error:
            failed = True
            for claim, until in before:  # all of them once more
                claim.until = until
            self._not_extended.tell(len(extensions), error)
        finally:
            self._looking = None
            if running := list(self._running.values()):
                now = self.clock()
                self._plan(AFTER_FAILURE / LOOK if failed else min(each.until - now for each in running))

    async def _claim_again(self, extension: Extension) -> None:
        """Claim a key again that the store has forgotten, or that ended before the lease was extended."""
        key, token, lease = extension
        claim = self._running.get(key)
        if claim is None or claim.token != token:  # its run has ended meanwhile
            return
        found = await self._store.claim(key, token, claim.fingerprint, lease)
        if not isinstance(found, Claimed):
            self.drop(claim)  # it is told at the end of its run
        elif self._running.get(key) is not claim:  # race: its run has ended, and its release may have come first
            await self._store.release(key, token)

    def _extensions(self, claims: list[Claim]) -> list[Extension]:
        now = self.clock()
        found = []
        for claim in claims:
            deadline = claim.message.lease_deadline
            if deadline > max(now, claim.until):
                found.append(Extension(claim.key, claim.token, claim.left(now)))
            elif deadline <= now - GONE:  # lost, or of a message that was withheld and settled
                self.drop(claim)
        return found

    def _close_if_idle(self) -> None:
        if not (self._active or self._running or self._persisting or self._looking) and self._held:
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
        text = f"{type(error).__name__}: {safe_str(error, 300)}"
        future.set_exception(StoreUnavailable(text, answered=has_answered(error)))
    else:
        verb.close()
        future.set_exception(StoreUnavailable("a verb of a store with inline=True has waited"))
    return future


def work_on(store: Store) -> Work:
    """The work on a store: the same for all handlers that use it."""
    try:
        known: Work = vars(store).setdefault("_work", Work(store))
    except TypeError:  # a store with slots: each `Idempotency` has work that nothing else uses
        return Work(store)
    return known
