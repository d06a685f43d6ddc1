"""The guard around one handler: claims the key before it runs, and completes or releases it afterwards, always.

It runs where the handler runs, after decoding and outside of the user's middleware, so that what they commit is
committed before the key is done.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from leasekeeper.envelopes.opening import NothingToHandle
from leasekeeper.idempotency.api import Claimed, Completed, KeyMissing, Running, StoreUnavailable
from leasekeeper.idempotency.claim import Claim
from leasekeeper.idempotency.keys import digest, encoded
from leasekeeper.idempotency.outage import NOT_RUN, Outage, jittered
from leasekeeper.lanes.failures import outcome_of_result
from leasekeeper.loggers import safe_logger
from leasekeeper.message import lease_of
from leasekeeper.outcomes import NotNow, Reject, Settlement
from leasekeeper.texts import safe_str

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from concurrent.futures import Future

    from leasekeeper.idempotency.api import Found
    from leasekeeper.idempotency.terms import Terms
    from leasekeeper.message import Message

T = TypeVar("T")
log = safe_logger("leasekeeper.idempotency")

RESULT_LIMIT = 1 << 18
"""Bytes of the longest result that is kept: an item of DynamoDB has 400 KB."""


class Guard:
    """Protects the runs of one handler."""

    def __init__(self, terms: Terms, handler: str, *, timeout: float | None = None) -> None:
        self._terms = terms
        self._handler = handler
        self._work = terms.work
        # A store that does not answer must not use up the handler's time: that would count as a failed attempt.
        self._claim_timeout = terms.timeout if timeout is None else min(terms.timeout, timeout / 2)
        self._in_full = terms.on_store_error == "run"  # a claim that is cut short too soon would cost protection
        self._outage = Outage(handler, self._work.clock)

    async def run(self, message: Message[Any], call_next: Callable[[Message[Any]], Awaitable[Any]]) -> Any:
        """Await the handler if its message's key is free; as a middleware."""
        claim = self._claim_for(message)
        if claim is None:
            return await call_next(message)
        claiming = self._work.claim(claim, self._claim_timeout, in_full=self._in_full)
        try:
            found = await _result_of(claiming)
        except StoreUnavailable as error:
            self._not_claimed(claim, error)
            return await call_next(message)
        except BaseException:
            claiming.add_done_callback(lambda _: self._work.release(claim, self._terms.timeout))
            raise
        if (known := self._known(claim, found)) is not None:
            return _decoded(known)
        try:
            result = await call_next(message)
        except BaseException:
            await self._quietly(self._work.release(claim, self._terms.timeout), claim, completes=False)
            raise
        ending, completes = self._ending(claim, result)
        if ending is not None and await self._quietly(ending, claim, completes=completes) is False and completes:
            self._tell(claim)
        return result

    def run_blocking(self, message: Message[Any], call_next: Callable[[Message[Any]], Any]) -> Any:
        """Call the handler if its message's key is free; as a middleware."""
        claim = self._claim_for(message)
        if claim is None:
            return call_next(message)
        try:
            found = self._work.claim(claim, self._claim_timeout, in_full=self._in_full).result()
        except StoreUnavailable as error:
            self._not_claimed(claim, error)
            return call_next(message)
        if (known := self._known(claim, found)) is not None:
            return _decoded(known)
        try:
            result = call_next(message)
        except BaseException:
            self._quietly_blocking(self._work.release(claim, self._terms.timeout), claim, completes=False)
            raise
        ending, completes = self._ending(claim, result)
        if ending is not None and self._quietly_blocking(ending, claim, completes=completes) is False and completes:
            self._tell(claim)
        return result

    # Before the handler

    def _claim_for(self, message: Message[Any]) -> Claim | None:
        """The claim that this message needs; None: it runs without protection."""
        terms = self._terms
        key = terms.key(message)
        if key is None or key == "":  # all messages with an empty text would be duplicates of the first one
            terms.counts.add(message.queue, "missing")
            if terms.missing == "run":
                return None
            reason = f"message {message.id} has no idempotency key for handler {self._handler}: {terms.why_missing}"
            if terms.missing == "reject":
                raise Reject(reason)
            raise KeyMissing(f"{reason}; give every message one, or set missing='run' or missing='reject'")
        scope = terms.scope or f"{message.queue}:{self._handler}"
        fingerprint = "" if terms.fingerprint is None else digest(terms.fingerprint(message))
        return Claim(f"{terms.prefix}:{scope}:{digest(key)}", fingerprint, message)

    def _not_claimed(self, claim: Claim, error: StoreUnavailable) -> None:
        """Give the message back, unless it is to run without protection."""
        self._work.unanswered(claim)
        self._count(claim, "store_errors")
        runs = self._terms.on_store_error == "run"
        follows = "runs without idempotency" if runs else NOT_RUN
        after = self._outage.failed(error, follows, warns=runs)
        if not runs:
            raise NotNow(after, error, answered=error.answered) from error

    def _count(self, claim: Claim, name: str) -> None:
        self._terms.counts.add(claim.message.queue, name)

    def _known(self, claim: Claim, found: Found) -> bytes | None:
        """The result of an earlier run, if it is kept. Returns None if the handler has to run now.

        Raises:
            NothingToHandle: the work is done already.
            NotNow: another run has claimed the key.
            Reject: the key was used for something else.
        """
        self._outage.over()
        if isinstance(found, Claimed):
            self._count(claim, "claimed")
            return None
        if isinstance(found, Running):
            self._count(claim, "running")
            raise NotNow(jittered(found.left))
        if claim.fingerprint and found.fingerprint and claim.fingerprint != found.fingerprint:
            self._count(claim, "mismatched")
            raise Reject("same idempotency key, other payload")
        self._count(claim, "done")
        return self._replayed(found)

    def _replayed(self, found: Completed) -> bytes:
        if self._terms.result and found.result is not None:
            return found.result
        raise NothingToHandle("its work was done before, by its idempotency key")

    # After the handler

    def _ending(self, claim: Claim, result: Any) -> tuple[Future[bool] | None, bool]:
        """Complete (True) or release the claim, as the handler's end means it; None: it ends with the lease."""
        lease = lease_of(claim.message)
        if lease.withheld:  # it may still be retried
            return None, False
        if lease.retried:
            return self._work.release(claim, self._terms.timeout), False
        if result is not None and outcome_of_result(result, self._handler) is not None:
            return self._work.release(claim, self._terms.timeout), False
        stored = self._encoded(result) if self._terms.result else None
        return self._work.complete(claim, stored, self._terms.keep, self._terms.timeout), True

    def _encoded(self, result: Any) -> bytes | None:
        try:
            stored = msgspec.json.encode(None if isinstance(result, Settlement) else result, enc_hook=encoded)
        except Exception as error:
            reason = safe_str(error, 300)
        else:
            if len(stored) <= RESULT_LIMIT:
                return stored
            reason = f"it has {len(stored)} bytes, more than {RESULT_LIMIT}"
        log.warning("the result of handler %s is not kept: %s", self._handler, reason)
        return None

    async def _quietly(self, ending: Future[bool], claim: Claim, *, completes: bool) -> bool | None:
        """Wait for the end of a claim. It is made also if this waiting is cancelled."""
        try:
            return await _result_of(ending)
        except StoreUnavailable as error:
            self._not_ended(claim, error, completes=completes)
            return None

    def _quietly_blocking(self, ending: Future[bool], claim: Claim, *, completes: bool) -> bool | None:
        try:
            return ending.result()
        except StoreUnavailable as error:
            self._not_ended(claim, error, completes=completes)
            return None

    def _not_ended(self, claim: Claim, error: StoreUnavailable, *, completes: bool) -> None:
        self._count(claim, "store_errors")
        self._outage.not_ended(claim.message.id, error, completes=completes)

    def _tell(self, claim: Claim) -> None:
        """Tell of a handler that did the work although another run had taken the key from it."""
        self._count(claim, "conflicts")
        log.warning(
            "handler %s ended well after another run had claimed the key of message %s: the work was done twice, "
            "because the lease of the first run had ended",
            self._handler,
            claim.message.id,
        )


async def _result_of(future: Future[T]) -> T:
    return future.result() if future.done() else await asyncio.shield(asyncio.wrap_future(future))


def _decoded(result: bytes) -> Any:
    return msgspec.json.decode(result)
