"""A simulation with a FIFO queue: consumers in a world under conditions from a seed, and what must hold in every world.

`simulate_fifo(fifo_conditions_for(seed, Kind.STOPS))` runs one. The same seed gives the same result to the microsecond.
The truth about leases comes from the server, never from the consumers.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import dataclass, field
from random import Random
from typing import TYPE_CHECKING, Any

from fifo_conditions import Kind
from fifo_handlers import Handlers
from fifo_record import ANYONE, Record
from fifo_server import Server

from leasekeeper.engine.drain import END_GRACE
from leasekeeper.testing.clock import run_virtual
from leasekeeper.testing.processes import ProcessLoop
from leasekeeper.testing.world import START, World
from simulation import unaccounted

if TYPE_CHECKING:
    from fifo_conditions import FifoConditions, Incident

    from leasekeeper.observe.statistics import Report
    from leasekeeper.testing.world import Running

SETTLING = 60.0
"""Seconds, besides leases and back-offs, after which the consumers that are left have finished everything."""


@dataclass(slots=True)
class FifoResult:
    """What happened in a simulation.

    Attributes:
        conditions: what the simulation was made of.
        record: what the handlers and the server saw.
        reports: the reports of the consumers that were stopped.
        calls: how many calls of each operation the server answered.
    """

    conditions: FifoConditions
    record: Record
    reports: list[Report] = field(default_factory=list)
    calls: Counter[str] = field(default_factory=Counter)

    @property
    def repeated(self) -> int:
        """How many runs succeeded for messages that had been handled with success before."""
        return sum(count - 1 for count in self.record.succeeded.values() if count > 1)

    @property
    def violations(self) -> list[str]:
        """What broke the contract, in words; empty if nothing did."""
        found = list(self.record.violations)
        wrong = [(unaccounted(each), each) for each in self.reports]
        found += [f"{rest} messages are unaccounted for in {report}" for rest, report in wrong if rest]
        if self.conditions.kind in (Kind.FAILURES, Kind.STOPS):
            if self.repeated:
                found.append(f"{self.repeated} messages were handled twice with success, without any fault")
            if lapses := [lapse for lapse in self.record.lapses if lapse[1] != ANYONE]:
                found.append(f"leases ended without any fault: {lapses[:3]}")
        return found


def simulate_fifo(conditions: FifoConditions) -> FifoResult:
    """Run a simulation to its end, in virtual time."""
    return run_virtual(FifoSimulation(conditions).run(), start=START, loop=ProcessLoop)


class FifoSimulation:
    """Consumers to which things happen, until everything is calm and those that are left finish the rest.

    Attributes:
        handlers_class: makes the handlers.
    """

    handlers_class: type[Handlers] = Handlers

    def __init__(self, conditions: FifoConditions) -> None:
        self._conditions = conditions
        self._random = Random(conditions.seed)
        self._world = World(conditions.seed, fifo=True, max_receives=conditions.max_receives)
        self._record = Record(
            self._dead,
            batches=conditions.options["batch"] is not None,
            copies_first=conditions.kind is Kind.FAILURES,
        )
        self._result = FifoResult(conditions, self._record)
        self._consumers: list[Running] = []
        self._working: dict[int, Running] = {}
        self._server = Server(self._world, self._record, self._consumers, visibility=conditions.visibility)
        self._handlers = self.handlers_class(
            conditions,
            self._random,
            world=self._world,
            record=self._record,
            server=self._server,
            consumers=self._consumers,
        )
        self._calm = False
        self._tasks: set[asyncio.Task[None]] = set()

    async def run(self) -> FifoResult:
        """Run all of it."""
        conditions, world = self._conditions, self._world
        asyncio.get_running_loop().set_exception_handler(self._on_error)
        async with world:
            self._server.watch()
            await self._send(conditions.messages)
            for operation, switches in conditions.faults.items():
                world.faults.set(operation, **switches)
            world.faults.dead_polls = conditions.dead_polls
            for _ in range(conditions.consumers):
                await self._start()
            for incident in conditions.incidents:
                await asyncio.sleep(max(0.0, incident.at - world.now))
                await self._happen(incident)
            await asyncio.sleep(max(0.0, conditions.working - world.now))
            await self._settle()
            self._result.calls = world.broker.calls
        return self._result

    # What happens

    async def _send(self, count: int) -> None:
        for _ in range(count):
            body = f"m{len(self._record.places)}"
            group = f"g{self._random.randrange(self._conditions.groups)}"
            if self._random.random() < self._conditions.poison:
                self._handlers.poison.add(body)
            self._server.draw(body, self._conditions, self._random)
            self._record.sent(body, group)
            await self._world.send(body, group=group)

    async def _start(self) -> None:
        index = len(self._consumers)
        running = await self._world.start(self._handlers.handler(index), **self._conditions.options)
        self._consumers.append(running)
        self._working[index] = running
        running.process.connection.late = self._lateness
        self._record.note(self._world.now, "begin", index)

    def _lateness(self, _: str) -> float:
        conditions = self._conditions
        if self._calm or not conditions.late or self._random.random() >= conditions.late:
            return 0.0
        return self._random.uniform(0, conditions.latest)

    async def _happen(self, incident: Incident) -> None:
        if incident.what == "send":
            await self._send(max(1, self._conditions.messages // 5))
            return
        if not self._working:
            return
        index = sorted(self._working)[incident.pick % len(self._working)]
        running = self._working[index]
        self._record.note(self._world.now, incident.what, index)
        if incident.what == "suspend":
            self._go_on(self._suspend(running, incident.seconds))
            return
        del self._working[index]
        if incident.what == "kill":
            running.process.kill()
            self._record.killed(index)
        else:
            self._go_on(self._stop(running, force=incident.what == "force"))
        await self._start()

    def _go_on(self, work: Any) -> None:
        task: asyncio.Task[None] = asyncio.create_task(work)
        self._tasks.add(task)

    async def _suspend(self, running: Running, seconds: float) -> None:
        running.process.suspend()
        await asyncio.sleep(seconds)
        running.process.resume()

    async def _stop(self, running: Running, *, force: bool) -> None:
        began = self._world.now
        slow = running.process
        report = await running.stop(force=force)
        self._result.reports.append(report)
        options = self._conditions.options
        bound = options["poll_grace"] + options["drain_timeout"] + END_GRACE + 5.0 + 0.1
        took = self._world.now - began
        if took > bound and not slow.was_suspended:
            self._record.broke(self._world.now, f"a stop took {took:.2f} s, more than {bound:.2f} s")
        if taken := running.runner.snapshot().taken:
            self._record.broke(self._world.now, f"{taken} slots never came free")

    async def _settle(self) -> None:
        """End the faults. Those that are left finish everything, or a group stands still."""
        world, conditions = self._world, self._conditions
        world.faults.clear()
        self._server.relent()
        self._handlers.calm = self._calm = True
        for running in self._working.values():
            running.process.resume()
        for task in self._tasks:
            await task
        longest = conditions.options["retry_maximum"]
        within = SETTLING + 3 * conditions.visibility + 2 * longest + 0.1 * len(self._record.places)
        if poison := Counter(self._record.places[body].group for body in self._handlers.poison):
            within += max(poison.values()) * conditions.last_attempt * (longest + 0.1)
        try:
            await world.until(lambda: not world.bodies(), within=within, step=0.25)
        except AssertionError:
            self._record.broke(world.now, f"these stand still: {world.bodies()[:12]}; {world!r}")
        for index, running in sorted(self._working.items()):
            self._record.note(world.now, "end", index)
            await self._stop(running, force=False)
        self._check_done()

    def _check_done(self) -> None:
        dead, left = self._dead(), {*self._world.bodies()}
        early = self._conditions.kind is Kind.FAILURES
        for body in self._record.places:
            done = self._record.succeeded[body]
            if not done and body not in dead and body not in left:
                self._record.broke(self._world.now, f"{body} was lost")
            spent = self._record.failures[body] >= self._conditions.last_attempt
            if early and body in dead and not done and not spent and body not in self._record.rejected:
                self._record.broke(
                    self._world.now, f"{body} was dead-lettered after {self._record.failures[body]} failures"
                )

    def _on_error(self, _: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """An exception that nothing caught, e.g. in a callback."""
        self._record.broke(self._world.now, f"{context['message']}: {context.get('exception')!r}")

    def _dead(self) -> set[str]:
        world = self._world
        return {*world.bodies(world.dead_letters)} if self._conditions.max_receives is not None else set()
