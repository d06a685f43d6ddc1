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
from fifo_record import Record, Run

from leasekeeper.core.states import State
from leasekeeper.engine.runner import END_GRACE
from leasekeeper.local.model import refusals
from leasekeeper.local.model.stored import Place as ServerPlace
from leasekeeper.message import Message  # noqa: TC001 - a handler's annotation is read at run time
from leasekeeper.outcomes import Reject, Retry
from leasekeeper.testing.clock import run_virtual
from leasekeeper.testing.processes import ProcessLoop
from leasekeeper.testing.world import START, World

if TYPE_CHECKING:
    from fifo_conditions import FifoConditions, Incident

    from leasekeeper.local.model.stored import Stored
    from leasekeeper.observe.statistics import Report
    from leasekeeper.testing.world import Running

HELD = (State.WAITING, State.RUNNING, State.LEASE_LOST, State.REJECTING, State.ACKING)
"""States of rows that their consumer takes for its own: the end of such a lease is a lapse."""
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
        if self.conditions.kind in (Kind.FAILURES, Kind.STOPS):
            if self.repeated:
                found.append(f"{self.repeated} messages were handled twice with success, without any fault")
            if self.record.lapses:
                found.append(f"leases ended without any fault: {self.record.lapses[:3]}")
        return found


def simulate_fifo(conditions: FifoConditions) -> FifoResult:
    """Run a simulation to its end, in virtual time."""
    return run_virtual(FifoSimulation(conditions).run(), start=START, loop=ProcessLoop)


class FifoSimulation:
    """Consumers to which things happen, until everything is calm and those that are left finish the rest."""

    def __init__(self, conditions: FifoConditions) -> None:
        self._conditions = conditions
        self._random = Random(conditions.seed)
        self._world = World(conditions.seed, fifo=True, max_receives=conditions.max_receives)
        self._record = Record(self._dead)
        self._result = FifoResult(conditions, self._record)
        self._consumers: list[Running] = []
        self._working: dict[int, Running] = {}
        self._received: dict[tuple[str, int], float] = {}
        self._calls = 0
        self._poison: set[str] = set()
        self._stubborn: dict[str, dict[str, float]] = {"change": {}, "delete": {}}
        self._calm = False
        self._tasks: set[asyncio.Task[None]] = set()

    async def run(self) -> FifoResult:
        """Run all of it."""
        conditions, world = self._conditions, self._world
        asyncio.get_running_loop().set_exception_handler(self._on_error)
        async with world:
            self._watch()
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
                self._poison.add(body)
            for stubborn in self._stubborn.values():
                if self._random.random() < self._conditions.stubborn:
                    stubborn[body] = self._world.now + self._random.uniform(0, 3 * self._conditions.visibility)
            self._record.sent(body, group)
            await self._world.send(body, group=group)

    async def _start(self) -> None:
        index = len(self._consumers)
        running = await self._world.start(self._handler(index), **self._conditions.options)
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

    async def _settle(self) -> None:
        """End the faults. Those that are left finish everything, or a group stands still."""
        world, conditions = self._world, self._conditions
        world.faults.clear()
        for stubborn in self._stubborn.values():
            stubborn.clear()
        self._calm = True
        for running in self._working.values():
            running.process.resume()
        for task in self._tasks:
            await task
        longest = conditions.options["retry_maximum"]
        within = SETTLING + 3 * conditions.visibility + 2 * longest + 0.1 * len(self._record.places)
        if poison := Counter(self._record.places[body].group for body in self._poison):
            within += max(poison.values()) * conditions.last_attempt * (longest + 0.1)
        try:
            await world.until(lambda: not world.bodies(), within=within, step=0.25)
        except AssertionError:
            self._record.broke(world.now, f"these stand still: {world.bodies()[:12]}; {world!r}")
        for index, running in sorted(self._working.items()):
            self._record.note(world.now, "end", index)
            await self._stop(running, force=False)
            if taken := running.runner.snapshot().taken:
                self._record.broke(world.now, f"{taken} slots of consumer {index} never came free")
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

    # What the server sees

    def _watch(self) -> None:
        """Follow what the server does: receives, deletes, and visibility timeouts that end."""
        broker, queue = self._world.broker, self._world.queue()
        start, call = broker.start, broker.account.call
        take, advance, delete, change = queue.receive, queue.advance, queue.delete, queue.change_visibility
        receipts = list[str]()

        def start_and_note(operation: str, request: dict[str, Any]) -> Any:
            if operation == "DeleteMessageBatch":  # faults take entries out of it, and leave the rest of the request
                request = {**request, "Receipts": [entry["ReceiptHandle"] for entry in request["Entries"]]}
            return start(operation, request)

        def call_and_note(operation: str, request: dict[str, Any], now: float) -> Any:
            receipts[:] = request.get("Receipts", ())
            return call(operation, request, now)

        def receive(most: int, visibility: float, now: float) -> list[Stored]:
            taken = take(most, visibility, now)
            for message in taken:
                self._received[message.content.body, message.receives] = self._world.now
            return taken

        def advance_and_tell(now: float) -> None:
            for message in queue.contents() if queue.next_due() <= now else ():
                if message.place is ServerPlace.IN_FLIGHT and message.due <= now:
                    self._on_lapse(message)
            advance(now)

        def delete_and_check(handle: str, now: float) -> None:
            found = {receipt: queue.find(receipt)[0] for receipt in receipts}
            message = found.get(handle)
            self._refuse_if_stubborn("delete", message)
            delete(handle, now)
            if message is not None and message.place is ServerPlace.GONE:
                bodies = {each.content.body for each in found.values() if each is not None}
                self._record.removed(self._world.now, message.content.body, bodies)

        def change_if_willing(handle: str, timeout: int, now: float) -> None:
            self._refuse_if_stubborn("change", queue.find(handle)[0])
            change(handle, timeout, now)

        vars(broker).update(start=start_and_note)
        vars(broker.account).update(call=call_and_note)
        vars(queue).update(
            receive=receive, advance=advance_and_tell, delete=delete_and_check, change_visibility=change_if_willing
        )

    def _refuse_if_stubborn(self, what: str, message: Stored | None) -> None:
        if message is not None and self._world.now < self._stubborn[what].get(message.content.body, 0.0):
            raise refusals.unavailable()

    def _on_lapse(self, message: Stored) -> None:
        for index, running in enumerate(self._consumers):
            row = running.rows.get(message.id)
            if row is not None and row.state in HELD and not running.task.done():
                self._record.lapsed(self._world.now, index, message.content.body)

    # The handler

    def _handler(self, index: int) -> Any:
        async def handle(message: Message[str]) -> object:
            return await self._handle(index, message)

        return handle

    async def _handle(self, index: int, message: Message[str]) -> object:
        world, record = self._world, self._record
        self._calls += 1
        run = Run(index, message.body, self._received[message.body, message.receive_count], self._calls)
        self._begin(run, message)
        end = "cancelled"
        try:
            await asyncio.sleep(self._time())
            end = self._end(message)
            if end in {"ack", "ack and fail"}:
                await asyncio.sleep(self._random.uniform(0, 0.3))  # settled early, and still at work
        finally:
            if self._consumers[index].process.alive:
                record.ended(world.now, run, end)
                if end in {"done", "ack", "ack and fail", "withhold"}:
                    record.success(world.now, run)
                else:
                    record.failed(run)
        return _leave(end)

    def _begin(self, run: Run, message: Message[str]) -> None:
        record, conditions = self._record, self._conditions
        first = not record.runs[run.body]
        record.started(self._world.now, run)
        if conditions.options["fifo_ack"] == "confirmed":
            record.confirmed(self._world.now, run)
        if record.busy(run.consumer) > conditions.options["concurrency"]:
            record.broke(self._world.now, f"{record.busy(run.consumer)} handlers at once in consumer {run.consumer}")
        if conditions.kind is Kind.FAILURES:
            if first and message.receive_count > 1:
                record.broke(self._world.now, f"{run.body} runs for the first time at receive {message.receive_count}")
            if conditions.consumers == 1 and message.attempt != record.runs[run.body]:
                record.broke(self._world.now, f"run {record.runs[run.body]} of {run.body} is attempt {message.attempt}")

    def _time(self) -> float:
        conditions = self._conditions
        if self._calm:
            return 0.01
        if self._random.random() < conditions.slow:
            return 3.0 * conditions.visibility
        return self._random.uniform(*conditions.work)

    def _end(self, message: Message[str]) -> str:
        """Choose how this run ends, and call the methods of the message that this needs."""
        body = message.body
        if body in self._poison:
            return "fail"
        if self._calm or self._random.random() >= self._conditions.failing:
            return "done"
        end = self._random.choice(
            ("fail", "fail", "retry", "retry later", "reject", "ack", "ack and fail", "early retry", "withhold")
        )
        if end == "reject":
            self._record.rejected.add(body)
        elif end in {"ack", "ack and fail"}:
            message.ack()
        elif end == "early retry":
            message.retry(1)
        elif end == "withhold":
            message.withhold()
            message.ack()
        return end


def _leave(end: str) -> object:
    if end in {"fail", "ack and fail"}:
        raise RuntimeError(end)
    if end in {"retry", "retry later"}:
        return Retry(2 if end == "retry" else 6)
    return Reject(end) if end == "reject" else None
