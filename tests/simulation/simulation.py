"""A simulation: consumers in a world under conditions from a seed, and what must hold in every such world.

`simulate(conditions_for(seed, faulty=True))` runs one. The same seed gives the same result to the microsecond. A result
says in words what broke the lease contract (`Result.violations`), so the seed is all that a report of a fault needs.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import dataclass, field
from random import Random
from typing import TYPE_CHECKING, Any

from back_offs import BackOffs
from conditions import CHANGE, SILENT

from leasekeeper.engine.drain import END_GRACE
from leasekeeper.message import Message  # noqa: TC001 - a handler's annotation is read at run time
from leasekeeper.outcomes import Reject, Retry
from leasekeeper.testing.clock import run_virtual
from leasekeeper.testing.world import DEAD_LETTERS, START, World

if TYPE_CHECKING:
    from conditions import Conditions

    from leasekeeper.observe.statistics import Report
    from leasekeeper.testing.world import Running


ERRORS: dict[str, type[Exception]] = {
    **dict.fromkeys("0123456789", RuntimeError),
    "1": KeyError,
    "2": IndexError,
    "3": ConnectionResetError,
    "4": TimeoutError,
}
"""What a handler raises, by the last digit of the body."""


@dataclass(slots=True)
class Result:
    """What happened in a simulation.

    Attributes:
        conditions: what the simulation was made of.
        trace: each event as time, kind, consumer and message. Equal seeds give equal traces.
        observed: violations that were seen while the simulation ran.
        succeeded: how many runs of each message succeeded.
        reports: the report of each consumer.
        calls: how many calls of each operation the server answered.
        stopping: how long the stop took, in seconds.
    """

    conditions: Conditions
    trace: list[tuple[float, str, int, str]] = field(default_factory=list)
    observed: list[str] = field(default_factory=list)
    succeeded: Counter[str] = field(default_factory=Counter)
    reports: list[Report] = field(default_factory=list)
    calls: Counter[str] = field(default_factory=Counter)
    stopping: float = 0.0

    @property
    def repeated(self) -> int:
        """How many runs succeeded for messages that had been handled with success before."""
        return sum(count - 1 for count in self.succeeded.values() if count > 1)

    @property
    def explained(self) -> int:
        """How many repeated runs the counters explain: leases that were lost, deletes that were never confirmed."""
        return sum(each.lost + each.unsettled for each in self.reports)

    @property
    def violations(self) -> list[str]:
        """What broke the contract, in words; empty if nothing did."""
        conditions, found = self.conditions, list(self.observed)
        if not conditions.faulty:
            if self.repeated:
                found.append(f"{self.repeated} messages were handled twice with success, without any fault")
            if lost := sum(each.lost for each in self.reports):
                found.append(f"{lost} leases were lost, without any fault")
        elif not conditions.duplicates and self.repeated > self.explained:
            found.append(
                f"{self.repeated} messages were handled twice with success, but only {self.explained} are explained"
            )
        wrong = [(unaccounted(each), each) for each in self.reports]
        found += [f"{rest} messages are unaccounted for in {report}" for rest, report in wrong if rest]
        options = conditions.options
        bound = options["poll_grace"] + options["drain_timeout"] + END_GRACE + 5.0 + 0.1
        if self.stopping > bound:
            found.append(f"the stop took {self.stopping:.2f} s, more than {bound:.2f} s")
        return found


def simulate(conditions: Conditions) -> Result:
    """Run a simulation to its end, in virtual time."""
    return run_virtual(Simulation(conditions).run(), start=START)


class Simulation:
    """Consumers that work until they are stopped at a random moment, then one without faults that finishes the rest."""

    def __init__(self, conditions: Conditions) -> None:
        self._conditions = conditions
        self._random = Random(conditions.seed)
        self._world = World(conditions.seed, max_receives=conditions.max_receives)
        self._result = Result(conditions)
        self._at_work: Counter[tuple[int, str]] = Counter()
        self._starts: Counter[tuple[int, str]] = Counter()
        self._running: list[Running] = []
        self._rejected: set[str] = set()
        self._without_faults = False

    async def run(self) -> Result:
        """Run all of it."""
        back_offs = BackOffs(self._world, longest=self._conditions.faults[CHANGE]["latency"][1])
        with back_offs.watched():
            await self._work()
        self._result.observed += back_offs.undone()
        return self._result

    async def _work(self) -> None:
        conditions, result, world = self._conditions, self._result, self._world
        async with world:
            before = asyncio.all_tasks()
            bodies = [f"m{number}" for number in range(conditions.messages)]
            await world.send(*bodies)
            for operation, switches in conditions.faults.items():
                world.faults.set(operation, **switches)
            world.faults.dead_polls = conditions.dead_polls
            for index in range(conditions.consumers):
                options = {**conditions.options, **conditions.of_consumer.get(index, {})}
                self._running.append(await world.start(self._handler(index), **options))
            await asyncio.sleep(conditions.stop_at)
            stopped = world.now
            result.reports = list(await asyncio.gather(*(each.stop(force=conditions.force) for each in self._running)))
            result.stopping = world.now - stopped
            await asyncio.sleep(0.001)
            if conditions.dead_polls is False and (left := asyncio.all_tasks() - before):
                result.observed.append(f"tasks are left after the stop: {left}")
            if conditions.consumers == 1 and result.repeated:  # a consumer remembers what it has finished, in any case
                result.observed.append(f"one consumer handled {result.repeated} messages twice with success")
            self._check_gone(bodies)
            await self._finish()
            self._check_done(bodies)
            result.calls = world.broker.calls

    async def _finish(self) -> None:
        """Handle what is left, without faults."""
        world = self._world
        world.faults.clear()
        self._without_faults = True
        last = len(self._running)
        consumer = await world.start(self._handler(last), concurrency=20, logger=SILENT)
        await world.until(lambda: not world.bodies(), within=50_000, step=1)
        await consumer.stop()

    def _check_gone(self, bodies: list[str]) -> None:
        """Check that only messages were deleted that succeeded or were copied to the dead-letter queue."""
        left = {*self._world.bodies()}
        for body in bodies:
            if body not in left and not self._result.succeeded[body] and body not in self._dead():
                self._result.observed.append(f"{body} was deleted, but was never handled with success")

    def _check_done(self, bodies: list[str]) -> None:
        for body in bodies:
            if not self._result.succeeded[body] and body not in self._dead():
                self._result.observed.append(f"{body} was lost")

    def _dead(self) -> set[str]:
        return {*self._world.bodies(DEAD_LETTERS)} if self._conditions.max_receives is not None else set()

    # The handler

    def _handler(self, index: int) -> Any:
        async def handle(message: Message[str]) -> object:
            return await self._handle(index, message)

        return handle

    async def _handle(self, index: int, message: Message[str]) -> object:
        body = message.body
        self._begin(index, message)
        end = "cancelled"
        try:
            if self._without_faults:
                await asyncio.sleep(0.01)
                end = "done"
                return None
            await asyncio.sleep(self._time())
            end = self._end(message)
        finally:
            self._at_work[index, body] -= 1
            self._note(end, index, body)
            if end in {"done", "ack", "ack and fail", "withhold"}:
                self._result.succeeded[body] += 1
        return _leave(end, body)

    def _begin(self, index: int, message: Message[str]) -> None:
        body = message.body
        self._note("start", index, body)
        self._check_attempt(index, message)
        self._at_work[index, body] += 1
        if self._at_work[index, body] > 1:
            self._result.observed.append(f"{body} ran twice at once in consumer {index}")
        options = self._conditions.options
        if self._without_faults:
            return
        busy = sum(count for (each, _), count in self._at_work.items() if each == index)
        if busy > options["concurrency"]:
            self._result.observed.append(f"{busy} handlers at once in consumer {index}")
        share = options.get("share")
        if share is not None and self._at_work.total() > share.concurrency:
            self._result.observed.append(f"{self._at_work.total()} handlers at once in {share!r}")
        prefetch = options["prefetch"]
        held = self._running[index].statistics().slots_taken if index < len(self._running) else 0
        if prefetch is not None and held > options["concurrency"] + prefetch:
            self._result.observed.append(f"{held} messages held in consumer {index}")

    def _check_attempt(self, index: int, message: Message[str]) -> None:
        """Check that a consumer which gets all deliveries counts its runs, and starts none beyond the last one."""
        conditions, body = self._conditions, message.body
        self._starts[index, body] += 1
        if conditions.faulty or conditions.consumers > 1 or self._without_faults:
            return
        if message.attempt != self._starts[index, body]:
            self._result.observed.append(
                f"{body} is said to be at attempt {message.attempt} in {self._starts[index, body]}"
            )
        limit = conditions.options["max_attempts"]
        if limit is not None and message.attempt > limit and conditions.max_receives is not None:
            self._result.observed.append(f"{body} was tried again after its last attempt")

    def _time(self) -> float:
        conditions = self._conditions
        if self._random.random() < conditions.slow:
            return 3.0 * conditions.options["visibility_timeout"]
        return self._random.uniform(*conditions.work)

    def _end(self, message: Message[str]) -> str:
        """Choose how this run ends, and call the methods of the message that this needs."""
        if self._random.random() >= self._conditions.failing:
            return "done"
        end = self._random.choice(("fail", "retry", "reject", "ack", "ack and fail", "early retry", "withhold"))
        if end in {"ack", "ack and fail"}:
            message.ack()
        elif end == "early retry":
            message.retry(1)
        elif end == "withhold":
            message.withhold()
            message.ack()
        return end

    def _note(self, what: str, index: int, body: str) -> None:
        self._result.trace.append((self._world.now, what, index, body))


def _leave(end: str, body: str) -> object:
    if end in {"fail", "ack and fail"}:
        raise ERRORS[body[-1]](end)
    if end == "retry":
        return Retry(2)
    return Reject(end) if end == "reject" else None


def unaccounted(report: Report) -> int:
    """Messages that were received and ended nowhere, or in two places."""
    return report.received - sum(report.ends.values())
