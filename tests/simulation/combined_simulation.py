"""Simulated worlds with a FIFO queue and several features at once, which are used together in real services.

Of a seed: several handlers with conditions, an envelope of a user that cannot always be opened, idempotency with a
store that is down at times, functions that decide on retries, a rate, batches of several groups, and pauses. What must
hold is what `fifo_simulation` demands of every world.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from random import Random
from typing import TYPE_CHECKING, Any

from conditions import broken, by_attempt
from fifo_conditions import Incident, Kind, fifo_conditions_for
from fifo_handlers import Handlers
from fifo_simulation import FifoResult, FifoSimulation
from key_simulation import Unsteady

from leasekeeper import Exponential, Linear, Retries, Retry, Table
from leasekeeper.idempotency import Idempotency
from leasekeeper.message import Message  # noqa: TC001 - a handler's annotation is read at run time
from leasekeeper.testing.clock import run_virtual
from leasekeeper.testing.processes import ProcessLoop
from leasekeeper.testing.world import START

if TYPE_CHECKING:
    from fifo_conditions import FifoConditions

    from leasekeeper.message import Received
    from leasekeeper.retries import RetryPolicy

LONGEST = 900.0
"""Seconds of the longest back-off where a function decides: a copy that is refused waits for so long."""


@dataclass(frozen=True, slots=True)
class Features:
    """What consumers use besides the options.

    Attributes:
        routes: three handlers; conditions choose one.
        raising: conditions raise at times.
        envelope: an envelope that needs a service, which does not always answer, and that some bodies do not have.
        keys: each message runs once by its key.
    """

    routes: bool
    raising: bool
    envelope: bool
    keys: bool


def simulate_combined(seed: int, kind: Kind) -> FifoResult:
    """Run the world of a seed, in virtual time."""
    return run_virtual(CombinedSimulation(*_draw(seed, kind)).run(), start=START, loop=ProcessLoop)


class CombinedHandlers(Handlers):
    """Handlers that are chosen by conditions."""

    features: Features

    def handler(self, index: int) -> Any:
        """The handlers of the consumer with that number."""
        handle = super().handler(index)
        if self._conditions.options["batch"] is not None or not self.features.routes:
            return handle

        async def first(message: Message[str]) -> object:
            return await handle(message)

        async def second(message: Message[str]) -> object:
            return await handle(message)

        async def rest(message: Message[str]) -> object:
            return await handle(message)

        def takes_first(message: Message[str]) -> bool:
            if self.features.raising and not self.calm and self._random.random() < 0.1:
                raise LookupError("a condition")
            return int(message.body[1:]) % 3 == 1

        return [(first, takes_first), (second, lambda message: int(message.body[1:]) % 3 == 2), (rest, None)]


class CombinedSimulation(FifoSimulation):
    """The world of a seed."""

    handlers_class = CombinedHandlers

    def __init__(self, conditions: FifoConditions, features: Features) -> None:
        super().__init__(conditions)
        self._features = features
        assert isinstance(self._handlers, CombinedHandlers)
        self._handlers.features = features
        self._more = Random(f"features {conditions.seed}")
        self._store = Unsteady(clock=lambda: asyncio.get_running_loop().time())
        if features.envelope:
            conditions.options["envelope"] = self._open
        if features.keys:
            conditions.options["idempotency"] = Idempotency(self._store, key=lambda message: message.body)

    def _open(self, received: Received) -> str:
        if not self._calm and self._more.random() < 0.1:
            raise ConnectionError("the service of keys does not answer")
        if received.body in self._record.undecodable:
            self._record.rejected.add(received.body)
            raise ValueError("not in this envelope")
        return received.body

    async def _send(self, count: int) -> None:
        if self._features.envelope and self._conditions.max_receives is not None:
            sent = len(self._record.places)
            bodies = {f"m{number}" for number in range(sent, sent + count)}
            self._record.undecodable |= {body for body in sorted(bodies) if self._more.random() < 0.05}
        await super()._send(count)

    async def _happen(self, incident: Incident) -> None:
        if incident.what == "outage":
            self._store.back = self._store.clock() + incident.seconds
        elif incident.what != "pause":
            await super()._happen(incident)
        elif self._working:
            running = self._working[sorted(self._working)[incident.pick % len(self._working)]]
            running.runner.pause()
            asyncio.get_running_loop().call_later(incident.seconds, running.runner.resume)

    async def _settle(self) -> None:
        self._store.back = 0.0
        for running in self._working.values():
            running.runner.resume()
        self._conditions.options.setdefault("retry_maximum", LONGEST)
        await super()._settle()


def _draw(seed: int, kind: Kind) -> tuple[FifoConditions, Features]:
    conditions = fifo_conditions_for(seed, kind)
    random = Random(f"combined {seed} {kind.value}")
    options = conditions.options
    if (retry := _retry(random)) is not None:
        options["retry"] = retry
        del options["retry_base"], options["retry_maximum"]
    if options["batch"] is not None and random.random() < 0.5:
        options["batch"], options["batch_groups"] = random.choice((2, 10, 25)), "several"
    if rate := random.choice((None, None, 5.0, 50.0)):
        options["rate"], options["burst"] = rate, random.choice((1, 10))
    features = Features(
        routes=random.random() < 0.4,
        raising=kind is not Kind.FAILURES and random.random() < 0.5,
        envelope=random.random() < 0.3,
        keys=options["batch"] is None and random.random() < 0.3,
    )
    moments = [random.uniform(0, conditions.working) for _ in range(random.choice((0, 0, 1, 3)))]
    more = [Incident(at, "pause", random.randrange(100), random.choice((0.1, 2.0, 20.0))) for at in moments]
    if features.keys and kind is not Kind.FAILURES:
        more.append(Incident(random.uniform(0, conditions.working), "outage", seconds=random.choice((1.0, 15.0))))
    incidents = tuple(sorted((*conditions.incidents, *more), key=lambda incident: incident.at))
    return replace(conditions, incidents=incidents), features


def _retry(random: Random) -> RetryPolicy | None:
    immediate = random.choice((0, 1, 3))
    return random.choice(
        (
            None,
            Exponential(1, maximum=8, jitter=random.choice(("full", "equal", "none"))),
            Linear(1, maximum=8),
            Table(1, 3, 8),
            Retries(Exponential(1, maximum=8), immediate=immediate),
            Retries(by_attempt, immediate=immediate),
            Retries(Table(1, 3), on={RuntimeError: broken}, immediate=immediate),
            Retries(Table(1, 3), on={RuntimeError: _at_odd_attempts, LookupError: Table(1)}),
            Retries(Linear(1, maximum=8), on={RuntimeError: Retry(2)}),
        )
    )


def _at_odd_attempts(_message: Message[Any], attempt: int, _error: Exception) -> Retry | None:
    return Retry(min(attempt, 3)) if attempt % 2 else None
