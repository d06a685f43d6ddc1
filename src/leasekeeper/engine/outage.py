"""A store of idempotency keys that does not answer: what is held waits here, and nothing is received meanwhile.

Owned by a runner with such a store. Without a claim no handler runs, and each receive without a run
counts: after some of them SQS moves a message to the dead-letter queue. It promises that a message waits under its own
lease while claims fail, that the store is asked and not guessed about, and that a key which the store cannot answer for
stops no receives. On a standard queue such a message keeps its slot while it waits, so many of them slow the others.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from leasekeeper.engine.scopes import is_own_cancellation
from leasekeeper.errors import KeyUnusable
from leasekeeper.outcomes import Failed, Unclaimed
from leasekeeper.schedules import Exponential
from leasekeeper.texts import one_line, safe_str

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from leasekeeper.engine.health import Health
    from leasekeeper.options import Options

PROBES = Exponential(base=0.5, maximum=10.0)
"""Pauses between questions to a store that does not answer."""
TRIES = Exponential(base=1.0, maximum=10.0)
"""Pauses between the claims of one key."""
POLL_ENDS = 1.0
"""Seconds by which an answer may be late."""
HOLD = 30.0
"""Seconds without an answer of the store after which messages of a standard queue go back: other machines may reach
it."""
LONGEST_HOLD = 120.0
"""Seconds for which such a message waits at most, also if the store answers others."""
MOST_TRIES = 5
"""Claims of one key that the store refuses in a row, while it takes others in between, until the key is at fault."""
FORGET = 120.0
"""Seconds after its last try at which a key is forgotten: it was claimed, or is here no more."""
MANY = 10_000
"""Keys that are remembered until those to forget are looked for."""


@dataclass(slots=True)
class _Wait:
    """A message that waits for its key."""

    first: float
    """When its claim failed first."""
    last: float
    tries: int = 0
    refused: int = 0
    """Claims in a row that the store refused, although it had answered others since the one before."""
    answers: int = 0
    silences: int = 0
    """`StoreOutage` had counted so many of both when the last claim failed."""


class StoreOutage:
    """Whether the store answers, as far as is known.

    Args:
        probe: asks the store; raises if it cannot be used.
        health: of the consumer.
        clock: seconds, monotonic.
        draw: random numbers from 0 to 1, for jitter.

    Attributes:
        active: whether receiving waits.
        over: set when an outage ends.
        open_polls: when each poll that is open ends at the latest, by poller.
    """

    def __init__(
        self,
        probe: Callable[[], Awaitable[None]],
        health: Health,
        clock: Callable[[], float],
        draw: Callable[[], float],
    ) -> None:
        self.active = False
        self.over = asyncio.Event()
        self.open_polls: dict[int, float] = {}
        self._probe = probe
        self._health = health
        self._clock = clock
        self._draw = draw
        self._since = 0.0
        self._answers = self._silences = 0
        """How often the store has answered a probe, and has not."""
        self._waits: dict[str, _Wait] = {}
        """By message id."""
        self._many = MANY
        self._probing: asyncio.Task[None] | None = None

    def judge(self, name: str, outcome: Unclaimed, *, holds: bool) -> Unclaimed | Failed:
        """What follows when a key could not be claimed: the message waits here, goes back, or has failed.

        Args:
            name: the id of the message.
            outcome: what the handler's guard says.
            holds: whether it waits here as long as it can: a message that its group waits for.
        """
        now = self._clock()
        self._begin(now)
        wait = self._wait_of(name, now)
        self._count(wait, outcome, now)
        if wait.refused >= MOST_TRIES:
            del self._waits[name]
            return Failed(KeyUnusable(_REFUSED.format(safe_str(outcome.error, 1_000))))
        if not holds and (now - self._since >= HOLD or now - wait.first >= LONGEST_HOLD):
            del self._waits[name]
            # Polls that are open would get it, and spend another receive: it comes back when they have ended.
            ends = max(self.open_polls.values(), default=now) - now + POLL_ENDS
            return replace(outcome, after=max(outcome.after, ends))
        return replace(outcome, after=TRIES.delay(wait.tries, self._draw()), waits=True)

    def _wait_of(self, name: str, now: float) -> _Wait:
        """What is known of the claims of a message."""
        wait = self._waits.get(name)
        if wait is None or now - wait.last > FORGET:
            wait = self._waits[name] = _Wait(now, now)
            if len(self._waits) > self._many:
                self._waits = {each: kept for each, kept in self._waits.items() if now - kept.last <= FORGET}
                self._many = 2 * len(self._waits) + MANY
        return wait

    def _count(self, wait: _Wait, outcome: Unclaimed, now: float) -> None:
        """Count one more claim of it that has failed now."""
        if not outcome.answered:
            wait.refused = 0
        elif not wait.refused or self._silences > wait.silences:
            wait.refused = 1
        elif self._answers > wait.answers:
            wait.refused += 1
        wait.tries += 1
        wait.last, wait.answers, wait.silences = now, self._answers, self._silences

    # Asking the store

    def _begin(self, now: float) -> None:
        """Receive nothing, and ask the store, until it answers."""
        if not self.active:
            self.active, self._since = True, now
            self.over.clear()
            self._probing = asyncio.get_running_loop().create_task(self._ask())

    async def _ask(self) -> None:
        failures = 0
        while True:
            try:
                await self._probe()
                break
            except (Exception, asyncio.CancelledError) as error:  # a driver may cancel its own call
                if is_own_cancellation(error):
                    raise
                failures += 1
                self._silences += 1
                reason = f"nothing is received until its store of idempotency keys answers: {one_line(error)}"
                self._health.held_up(reason, self._clock())
            await asyncio.sleep(PROBES.delay(failures, self._draw()))
        self._answers += 1
        self.active = False
        self.over.set()
        self._health.held_up("", self._clock())

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
    options: Options, health: Health, clock: Callable[[], float], draw: Callable[[], float]
) -> StoreOutage | None:
    """For a consumer with these options; None: it has no store, or runs its handler without one."""
    idempotency: Any = options.idempotency
    probe = getattr(idempotency, "probe", None)
    return None if probe is None else StoreOutage(probe, health, clock, draw)
