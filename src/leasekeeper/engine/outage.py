"""A store of idempotency keys or payloads that does not answer: what is held waits, and nothing is received meanwhile.

Owned by a runner with such a store. Without a claim or a payload no handler runs, and each receive without a run
counts: after some of them SQS moves a message to the dead-letter queue. It promises that a message waits under its own
lease meanwhile, that the store is asked and not guessed about, and that one which answers for some messages stops no
receives.
"""

from __future__ import annotations

import asyncio
import math
from collections import deque
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from leasekeeper.engine.waits import is_own_cancellation
from leasekeeper.envelopes.choosing import parts_of
from leasekeeper.errors import KeyUnusable
from leasekeeper.outcomes import Failed, Unclaimed
from leasekeeper.schedules import Exponential
from leasekeeper.texts import one_line, safe_str

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from leasekeeper.core.idempotency_statistics import IdempotencyStatistics
    from leasekeeper.engine.health import Health
    from leasekeeper.message import Received
    from leasekeeper.options import Options
    from leasekeeper.payloads.lane import PayloadLane

PROBES = Exponential(base=0.5, maximum=10.0)
"""Pauses between questions to a store that does not answer."""
SPACING = 1.0
"""Seconds between two questions at least."""
RECENT = 10.0
"""Seconds for which an answer of the store counts, to a question or to a claim: messages are received."""
TRIES = Exponential(base=1.0, maximum=10.0)
"""Pauses between the claims of one key."""
SHARE = 0.05
"""The part of the handlers' time that such claims may take, all together: a claim without an answer takes seconds."""
MOST_WAITING = 200
"""Messages of a standard queue that wait at most; more go back. Their leases cost calls, and their bodies memory."""
HOLD = 30.0
"""Seconds without an answer of the store after which messages of a standard queue go back: other machines may reach
it."""
LONGEST_HOLD = 600.0
"""Seconds for which such a message waits at most, also if the store answers others."""
AN_HOUR = 3_600.0
AWAY = Exponential(base=60.0, factor=4.0, maximum=AN_HOUR, jitter="none")
"""Seconds until it comes again, by its receives: five of them last longer than an outage of an hour."""
SOON = 900.0
"""Seconds until it comes again at most, as long as the receives that are left last for an hour then."""
JITTER = 0.1
"""Part of that by which it comes later, at most."""
MOST_TRIES = 5
"""Claims of one key that the store refuses in a row, while it takes others in between, until the key is at fault."""
FEW = 5
"""With so many other keys refused at the same time no key is at fault, but the store."""
FORGET = 120.0
"""Seconds after its next try at which a key is forgotten: it was claimed, or is here no more."""
ANSWERS = 32
"""Answers to questions that are remembered: at most one comes in a second, and few claims take half a minute."""
MANY = 10_000
"""Keys that are remembered until those to forget are looked for."""


@dataclass(slots=True)
class _Wait:
    """A message that waits for its key."""

    first: float
    """When its claim failed first."""
    next: float
    """When it is tried next."""
    judged: float = math.inf
    """When its last claim failed."""
    tries: int = 0
    refused: int = 0
    """Claims in a row that the store refused, although it had answered others since the one before."""
    answers: int = 0
    silences: int = 0
    """`StoreOutage` had counted so many of both when the last claim failed."""


class StoreOutage:
    """Whether the stores that messages need answer, as far as is known.

    Args:
        options: of the consumer.
        probes: ask a store, by its name in a sentence; they raise if it cannot be used.
        progress: counts the messages for which all of them have answered.
        health: of the consumer.
        clock: seconds, monotonic.
        draw: random numbers from 0 to 1, for jitter.

    Attributes:
        active: whether receiving waits.
        over: set when an outage ends.
    """

    def __init__(
        self,
        options: Options,
        *,
        probes: Mapping[str, Callable[[], Awaitable[None]]],
        progress: Callable[[], int],
        health: Health,
        clock: Callable[[], float],
        draw: Callable[[], float],
    ) -> None:
        self.active = False
        self.over = asyncio.Event()
        self._probes = probes
        self._progress = progress
        self._handlers = options.concurrency
        self._most_waiting = min(MOST_WAITING, (options.max_in_flight - options.slots) // 2)
        self._health = health
        self._clock = clock
        self._draw = draw
        self._since = 0.0
        self._answered_at = self._asked_at = -math.inf
        """When the store has answered last, as far as is known, and when it was asked."""
        self._answers_at: deque[float] = deque(maxlen=ANSWERS)
        """When it has answered the last questions."""
        self._answers = self._silences = 0
        """How often the store has answered a probe, and has not."""
        self._waits: dict[str, _Wait] = {}
        """By message id."""
        self._many = MANY
        self._probing: asyncio.Task[None] | None = None

    def judge(
        self,
        received: Received,
        outcome: Unclaimed,
        *,
        holds: bool,
        left: float = math.inf,
        waiting: int = 0,
        took: float = 0.0,
    ) -> Unclaimed | Failed:
        """What follows when a message does not get its key or payload: it waits here, goes back, or has failed.

        Args:
            received: the message.
            outcome: what the handler's guard, or the lane of payloads, says.
            holds: whether it waits here as long as it can: given back, it could be lost, or take others along.
            left: how many more receives SQS allows before the message is dead.
            waiting: how many messages wait here without a slot.
            took: seconds that the handler's place was taken.
        """
        now, name = self._clock(), received.message_id
        self._begin(now)
        wait = self._wait_of(name, now)
        self._count(wait, outcome)
        if wait.refused >= MOST_TRIES and not self._refuses_many(now):
            del self._waits[name]
            return Failed(KeyUnusable(_REFUSED.format(safe_str(outcome.error, 1_000))))
        silent = self.active and now - self._since >= HOLD
        seconds = math.inf if holds else wait.first + LONGEST_HOLD - now
        if not holds and (silent or waiting >= self._most_waiting or seconds < SPACING):
            del self._waits[name]
            after = min(AWAY.delay(received.receive_count), max(SOON, AN_HOUR / left))
            return replace(outcome, after=after * (1 + JITTER * self._draw()))
        # If the store answered others between two claims of this key, a part of it is down, and handlers are needed for
        # the rest. Else all of it may be down, and nothing is put off for long.
        parted = any(wait.judged <= at <= now - took for at in self._answers_at)
        slowest = took * waiting / (SHARE * self._handlers) if parted else 0.0
        after = min(max(TRIES.delay(wait.tries, self._draw()), slowest), seconds)
        wait.judged, wait.next = now, now + after
        return replace(outcome, after=after, waits=True)

    def _wait_of(self, name: str, now: float) -> _Wait:
        """What is known of the claims of a message."""
        wait = self._waits.get(name)
        if wait is None or now - wait.next > FORGET:
            wait = self._waits[name] = _Wait(now, now)
            if len(self._waits) > self._many:
                self._waits = {each: kept for each, kept in self._waits.items() if now - kept.next <= FORGET}
                self._many = 2 * len(self._waits) + MANY
        return wait

    def _count(self, wait: _Wait, outcome: Unclaimed) -> None:
        """Count one more claim of it that has failed."""
        if not outcome.answered:
            wait.refused = 0
        elif not wait.refused or self._silences > wait.silences:
            wait.refused = 1
        elif self._answers > wait.answers:
            wait.refused += 1
        wait.tries += 1
        wait.answers, wait.silences = self._answers, self._silences

    def _refuses_many(self, now: float) -> bool:
        """Whether it refuses so many keys that none of them can be at fault."""
        return sum(wait.refused > 1 and now - wait.next <= FORGET for wait in self._waits.values()) > FEW

    # Asking the store

    def _begin(self, now: float) -> None:
        """A claim has failed: ask the store until it answers; if it has not answered lately, receive nothing."""
        if self._probing is None and now - self._asked_at >= SPACING:
            self._receive_if_answered(now)
            self._probing = asyncio.get_running_loop().create_task(self._ask())

    def _receive_if_answered(self, now: float) -> None:
        active = now - self._answered_at >= RECENT
        if active and not self.active:
            self._since = now
            self.over.clear()
        elif not active:
            self.over.set()
        self.active = active

    async def _ask(self) -> None:
        failures, before, name = 0, self._progress(), ""
        while True:
            self._asked_at = self._clock()
            try:
                for name, probe in self._probes.items():  # noqa: B007 - the error is of the last one
                    await probe()
                break
            except (Exception, asyncio.CancelledError) as error:  # a driver may cancel its own call
                if is_own_cancellation(error):
                    raise
                failures += 1
                self._silences += 1
                now, reached = self._clock(), self._progress()
                if reached > before:  # a part of the store is down, and others have their keys in the rest
                    before, self._answered_at = reached, now
                self._receive_if_answered(now)
                reason = f"nothing is received until its {name} answers: {one_line(error)}"
                self._health.held_up(reason if self.active else "", now)
            await asyncio.sleep(PROBES.delay(failures, self._draw()))
        now = self._answered_at = self._clock()
        self._answers += 1
        self._answers_at.append(now)
        self._probing = None
        self._receive_if_answered(now)
        self._health.held_up("", now)

    def close(self) -> None:
        """Ask no more."""
        if self._probing is not None:
            self._probing.cancel()

    def __repr__(self) -> str:
        return f"<StoreOutage {'active' if self.active else 'over'}>"


_REFUSED = (
    "the store of idempotency keys takes others, and refuses the key of this message, so the handler was not called: "
    "{}; look at the record of the key there, then redrive the message"
)


def outage_of(
    options: Options,
    queue: str,
    payloads: Callable[[], PayloadLane | None],
    health: Health,
    clock: Callable[[], float],
    *,
    draw: Callable[[], float],
) -> StoreOutage | None:
    """For a consumer of that queue with these options; None: it needs no store, and no envelope that asks something.

    Such an envelope is not asked whether it can be opened: its messages wait, and receives go on.

    Args:
        options: the consumer's.
        queue: its queue.
        payloads: its lane of payloads, once that is made.
        health: of the consumer.
        clock: seconds, monotonic.
        draw: random numbers from 0 to 1, for jitter.
    """

    def lane() -> PayloadLane:
        found = payloads()
        assert found is not None
        return found

    probes: dict[str, Callable[[], Awaitable[None]]] = {}
    progress: Callable[[], int] = int
    if options.payloads is not None:
        probes["store of payloads"] = lambda: lane().probe()
        progress = lambda: lane().passed_on  # noqa: E731
    idempotency: Any = options.idempotency
    if hasattr(idempotency, "probe") and getattr(idempotency, "on_store_error", "retry") == "retry":
        probes["store of idempotency keys"] = idempotency.probe
        progress = partial(_answered, idempotency.counts, queue)
    if not probes and all(isinstance(part, str) for part in parts_of(options.envelope or ())):
        return None
    return StoreOutage(options, probes=probes, progress=progress, health=health, clock=clock, draw=draw)


def _answered(counts: Any, queue: str) -> int:
    """How many messages of a queue have passed their store."""
    now: IdempotencyStatistics = counts.statistics(queue)
    return now.claimed + now.done + now.running + now.mismatched + now.missing
