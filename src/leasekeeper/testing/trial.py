"""A trial: consumers in a world whose conditions are all drawn from one seed, and what must be true whatever they are.

Used by simulations, a trial a seed. It promises that the same seed is the same story to the microsecond, and that a
story says in words what went against the contract (`Story.broken`), so that its seed is all there is to report.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from dataclasses import dataclass, field
from random import Random
from typing import TYPE_CHECKING, Any

from leasekeeper.engine.runner import END_GRACE
from leasekeeper.message import Message  # noqa: TC001 - a handler's annotation is read at run time
from leasekeeper.outcomes import Reject, Retry
from leasekeeper.testing.clock import run_virtual
from leasekeeper.testing.world import DEAD_LETTERS, START, World

if TYPE_CHECKING:
    from leasekeeper.observe.statistics import Report
    from leasekeeper.option_values import OptionValues
    from leasekeeper.testing.world import Running

SILENT = logging.getLogger("leasekeeper.trial")
SILENT.disabled = True

RECEIVE, DELETE, CHANGE, COPY = (
    "ReceiveMessage",
    "DeleteMessageBatch",
    "ChangeMessageVisibilityBatch",
    "SendMessageBatch",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Conditions:
    """What a trial is made of. Times in seconds, shares from 0 to 1.

    Attributes:
        faulty: whether the network and the server do wrong; otherwise they are only slow.
        duplicates: whether the server delivers some messages twice.
        work: the least and the most time of a handler.
        slow: share of runs that take three times the visibility timeout.
        failing: share of runs that end otherwise than well.
        stop_at: when all consumers are told to stop; force: all at once.
    """

    seed: int
    faulty: bool
    duplicates: bool
    messages: int
    consumers: int
    max_receives: int | None
    work: tuple[float, float]
    slow: float
    failing: float
    stop_at: float
    force: bool
    options: OptionValues
    faults: dict[str, dict[str, Any]]
    dead_polls: bool


def draw(seed: int, *, faulty: bool) -> Conditions:
    """The conditions of that seed."""
    random = Random(f"{seed} {faulty}")  # noqa: S311 - repeatable
    visibility = random.choice((2, 3, 5, 10, 30))
    concurrency = random.choice((1, 2, 5, 10, 40))
    prefetch = random.choice((None, 0, 5, concurrency))
    options: OptionValues = {
        "concurrency": concurrency,
        "prefetch": prefetch,
        "dispatch": random.choice(("semaphore", "pool")),
        "visibility_timeout": visibility,
        "adaptive_visibility": random.random() < 0.3,
        "ack_interval": random.choice((0.0, 0.1, 0.5)),
        "ack_batch_size": random.choice((1, 10, 10)),
        "throttle": random.random() < 0.8,
        "max_pollers": random.choice((1, 3, 10)),
        "receive_batch": random.choice((1, 5, 10, 10)),
        "max_in_flight": random.choice((concurrency, 2 * concurrency, 1_000)),
        "wait_time": random.choice((1, 5, 20)),
        "retry_base": 1.0,
        "retry_maximum": 20.0,
        "handler_timeout": random.choice((None, None, 2.0 * visibility)),
        "on_lease_lost": random.choice(("tell", "cancel")),
        "on_unstarted": random.choice(("release", "run")),
        "drain_timeout": random.choice((0.0, 1.0, 4.0 * visibility)),
        "poll_grace": random.choice((0.0, 1.0)),
        "logger": SILENT,
    }
    duplicates = faulty and random.random() < 0.3
    return Conditions(
        seed=seed,
        faulty=faulty,
        duplicates=duplicates,
        messages=random.choice((10, 40, 200)),
        consumers=random.choice((1, 1, 1, 2)),
        max_receives=random.choice((None, None, 3)),
        work=(0.0, random.choice((0.01, 0.2, 1.0))),
        slow=random.choice((0.0, 0.05, 0.3)),
        failing=random.choice((0.0, 0.1, 0.5)),
        stop_at=random.uniform(0, random.choice((2, 30, 300))),
        force=random.random() < 0.2,
        options=options,
        faults=_faults(random, faulty=faulty, duplicates=duplicates),
        dead_polls=faulty and random.random() < 0.3,
    )


def _faults(random: Random, *, faulty: bool, duplicates: bool) -> dict[str, dict[str, Any]]:
    faults: dict[str, dict[str, Any]] = {}
    longest = random.choice((0.005, 0.05, 0.2))
    for operation in (RECEIVE, DELETE, CHANGE, COPY):
        switches: dict[str, Any] = {"latency": (0.001, longest)}
        if faulty and random.random() < 0.7:
            kinds = ("throttle", "unavailable", "reset", "garbage", "hang", "lose", "lose_by_reset")
            for kind in random.sample(kinds, 2):
                switches[kind] = random.choice((0.02, 0.1, 0.3))
            if operation != RECEIVE:
                switches["fail_entries"] = random.choice((0.0, 0.2))
                switches["deny"] = random.choice((0.0, 0.0, 0.1))
        if operation == RECEIVE:
            switches["shorten"] = random.choice((0.0, 0.3))
            switches["empty"] = random.choice((0.0, 0.1))
            switches["duplicate"] = 0.1 if duplicates else 0.0
        faults[operation] = switches
    return faults


@dataclass(slots=True)
class Story:
    """What happened in a trial.

    Attributes:
        trace: when what happened to which message in which consumer; equal for equal seeds.
        wrongs: what handlers saw that must not be.
        succeeded: how often each message was handled well; doubled: how many were handled well again.
        gone: messages in no queue any more, after the stop; left: those still there or in the dead-letter queue.
    """

    conditions: Conditions
    trace: list[tuple[float, str, int, str]] = field(default_factory=list)
    wrongs: list[str] = field(default_factory=list)
    succeeded: Counter[str] = field(default_factory=Counter)
    reports: list[Report] = field(default_factory=list)
    duplicates: list[int] = field(default_factory=list)
    calls: Counter[str] = field(default_factory=Counter)
    stopping: float = 0.0

    @property
    def doubled(self) -> int:
        """How many runs too many ended well."""
        return sum(count - 1 for count in self.succeeded.values() if count > 1)

    @property
    def explained(self) -> int:
        """How many runs too many the counters admit to: leases lost, deletes late or never confirmed."""
        return sum(each.lost + each.unsettled for each in self.reports)

    @property
    def broken(self) -> list[str]:
        """What went against the contract, in words; empty if nothing did."""
        conditions, broken = self.conditions, list(self.wrongs)
        if not conditions.faulty:
            if self.doubled:
                broken.append(f"{self.doubled} messages were handled well twice, without any fault")
            if lost := sum(each.lost for each in self.reports):
                broken.append(f"{lost} leases were lost, without any fault")
        elif not conditions.duplicates and self.doubled > self.explained:
            broken.append(f"{self.doubled} messages were handled well twice, but only {self.explained} are explained")
        for report, duplicates in zip(self.reports, self.duplicates, strict=True):
            rest = report.received - duplicates - report.acked - report.released - report.unsettled
            if not 0 <= rest <= report.lost:
                broken.append(f"{rest} messages are unaccounted for in {report}")
        options = conditions.options
        bound = options["poll_grace"] + options["drain_timeout"] + END_GRACE + 5.0 + 0.1
        if self.stopping > bound:
            broken.append(f"the stop took {self.stopping:.2f} s, and may take {bound:.2f}")
        return broken


def simulate(conditions: Conditions) -> Story:
    """Run the trial to its end, in virtual time."""
    return run_virtual(Trial(conditions).run(), start=START)


class Trial:
    """Consumers that work until they are stopped at a random moment, then a calm one that finishes what is left."""

    def __init__(self, conditions: Conditions) -> None:
        self._conditions = conditions
        self._random = Random(conditions.seed)  # noqa: S311 - repeatable
        self._world = World(conditions.seed, max_receives=conditions.max_receives)
        self._story = Story(conditions)
        self._at_work: Counter[tuple[int, str]] = Counter()
        self._running: list[Running] = []
        self._rejected: set[str] = set()
        self._calm = False

    async def run(self) -> Story:
        """The whole story."""
        conditions, story, world = self._conditions, self._story, self._world
        async with world:
            before = asyncio.all_tasks()
            bodies = [f"m{number}" for number in range(conditions.messages)]
            await world.send(*bodies)
            for operation, switches in conditions.faults.items():
                world.faults.set(operation, **switches)
            world.faults.dead_polls = conditions.dead_polls
            for index in range(conditions.consumers):
                self._running.append(await world.start(self._handler(index), **conditions.options))
            await asyncio.sleep(conditions.stop_at)
            stopped = world.now
            story.reports = list(await asyncio.gather(*(each.stop(force=conditions.force) for each in self._running)))
            story.stopping = world.now - stopped
            await asyncio.sleep(0.001)
            if conditions.dead_polls is False and (left := asyncio.all_tasks() - before):
                story.wrongs.append(f"tasks are left after the stop: {left}")
            story.duplicates = [each.runner.statistics().duplicates for each in self._running]
            if conditions.consumers == 1 and story.doubled:  # a consumer remembers what it has finished, come what may
                story.wrongs.append(f"one consumer handled {story.doubled} messages well twice")
            self._check_gone(bodies)
            await self._finish()
            self._check_done(bodies)
            story.calls = world.broker.calls
        return story

    async def _finish(self) -> None:
        """Without faults, what was left is finished."""
        world = self._world
        world.faults.clear()
        self._calm = True
        last = len(self._running)
        consumer = await world.start(self._handler(last), concurrency=20, logger=SILENT)
        await world.until(lambda: not world.bodies(), within=50_000, step=1)
        await consumer.stop()

    def _check_gone(self, bodies: list[str]) -> None:
        """Nothing is deleted but what was handled well, or copied to the dead-letter queue."""
        left = {*self._world.bodies()}
        for body in bodies:
            if body not in left and not self._story.succeeded[body] and body not in self._dead():
                self._story.wrongs.append(f"{body} is gone, but was never handled well")

    def _check_done(self, bodies: list[str]) -> None:
        for body in bodies:
            if not self._story.succeeded[body] and body not in self._dead():
                self._story.wrongs.append(f"{body} was lost")

    def _dead(self) -> set[str]:
        return {*self._world.bodies(DEAD_LETTERS)} if self._conditions.max_receives is not None else set()

    # The handler

    def _handler(self, index: int) -> Any:
        async def handle(message: Message[str]) -> object:
            return await self._handle(index, message)

        return handle

    async def _handle(self, index: int, message: Message[str]) -> object:
        body = message.body
        self._begin(index, body)
        end = "cancelled"
        try:
            if self._calm:
                await asyncio.sleep(0.01)
                end = "done"
                return None
            await asyncio.sleep(self._time())
            end = self._end(message)
        finally:
            self._at_work[index, body] -= 1
            self._note(end, index, body)
            if end in {"done", "ack", "ack and fail", "withhold"}:
                self._story.succeeded[body] += 1
        return _leave(end)

    def _begin(self, index: int, body: str) -> None:
        self._note("start", index, body)
        self._at_work[index, body] += 1
        if self._at_work[index, body] > 1:
            self._story.wrongs.append(f"{body} ran twice at once in consumer {index}")
        options = self._conditions.options
        if self._calm:
            return
        busy = sum(count for (each, _), count in self._at_work.items() if each == index)
        if busy > options["concurrency"]:
            self._story.wrongs.append(f"{busy} handlers at once in consumer {index}")
        prefetch = options["prefetch"]
        in_hand = self._running[index].runner.statistics().in_hand if index < len(self._running) else 0
        if prefetch is not None and in_hand > options["concurrency"] + prefetch:
            self._story.wrongs.append(f"{in_hand} messages in hand in consumer {index}")

    def _time(self) -> float:
        conditions = self._conditions
        if self._random.random() < conditions.slow:
            return 3.0 * conditions.options["visibility_timeout"]
        return self._random.uniform(*conditions.work)

    def _end(self, message: Message[str]) -> str:
        """How this run ends; what is said through the message is said here."""
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
        self._story.trace.append((self._world.now, what, index, body))


def _leave(end: str) -> object:
    if end in {"fail", "ack and fail"}:
        raise RuntimeError(end)
    if end == "retry":
        return Retry(2)
    return Reject(end) if end == "reject" else None
