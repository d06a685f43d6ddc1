"""Simulated worlds of the processes lane: workers that die, hang and answer late, with single messages and batches.

`simulate_processes(seed, faulty=True)` runs one, and returns what broke the contract, in words.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from random import Random
from typing import TYPE_CHECKING, Any
from unittest import mock

from batch_simulation import HIDDEN
from conditions import CHANGE, COPY, DELETE, RECEIVE, SILENT
from simulated_workers import CURRENT, Workshop

from leasekeeper.batch import Batch  # noqa: TC001 - a handler's annotation is read at run time
from leasekeeper.lanes.processes import crew
from leasekeeper.message import Message  # noqa: TC001 - as above
from leasekeeper.outcomes import Reject, Retry
from leasekeeper.testing.clock import run_virtual
from leasekeeper.testing.world import START, World
from simulation import unaccounted

if TYPE_CHECKING:
    from collections.abc import Sequence

    from simulated_workers import SimulatedWorker

    from leasekeeper.observe.statistics import Report
    from leasekeeper.option_values import OptionValues
    from leasekeeper.testing.world import Running

TIMEOUT, GRACE = 2.0, 0.5
LATE = 1.0
"""Seconds that frames and deaths may take in all."""
LONGEST = 2_000.0
"""Seconds in which everything ends, unless it is stopped before."""
MOST_DEATHS = 3
"""Processes that one message may end."""
DEEDS = ("good", "good", "good", "good", "good", "raise", "retry", "reject", "ack", "die", "hang", "poison")


def simulate_processes(seed: int, *, faulty: bool) -> ProcessSimulation:
    """Run the simulation of a seed to its end, in virtual time."""
    simulation = ProcessSimulation(seed, faulty=faulty)
    run_virtual(simulation.run(), start=START)
    return simulation


async def handle_one(message: Message[str]) -> None:
    """The handler of single messages; workers find it by its name."""
    await _simulation().handle([message], None)


async def handle_batch(batch: Batch[str]) -> None:
    """The handler of batches."""
    await _simulation().handle(batch, batch)


async def _hang(worker: SimulatedWorker) -> None:
    """Hang as code in C does: no cancellation ends it, only the end of the process."""
    while True:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            if worker.dead or not worker.stubborn:
                raise


def _simulation() -> ProcessSimulation:
    simulation: ProcessSimulation = CURRENT.get().shop.owner
    return simulation


class ProcessSimulation:
    """A consumer with simulated workers, stopped at a random moment, then one without faults that handles the rest.

    Attributes:
        violations: what broke the contract, in words.
        trace: each call as its time and its bodies. Equal seeds give equal traces.
        succeeded: how many runs of each message succeeded.
        deaths: how many processes ended in a call of each message alone.
    """

    def __init__(self, seed: int, *, faulty: bool) -> None:
        self._random = random = Random(f"processes {seed} {faulty}")
        self.faulty = faulty
        self.fifo = random.random() < 0.4
        self.options = _options(random, fifo=self.fifo)
        self._messages = random.choice((10, 30, 60))
        self._groups = random.choice((1, 3, 20))
        self._attacks = random.choice((0, 0, 5))
        """How many workers are killed from outside."""
        self._stop_at = random.choice((random.uniform(0, 20), LONGEST))
        self._deeds = {f"m{number}": random.choice(DEEDS) for number in range(self._messages)}
        self._world = World(seed, fifo=self.fifo, max_receives=1_000)
        self._shop = Workshop(random)
        self._shop.owner = self
        self._order: dict[str, list[str]] = {}
        self._runs: Counter[str] = Counter()
        self._receives: dict[str, int] = {}
        self._calm = True
        """Whether nothing but the messages themselves has ended a process so far."""
        self._at_work: Counter[str] = Counter()
        self._acked: set[str] = set()
        self.violations: list[str] = []
        self.trace: list[tuple[float, tuple[str, ...]]] = []
        self.succeeded: Counter[str] = Counter()
        self.deaths: Counter[str] = Counter()

    async def run(self) -> None:
        """Run all of it."""
        with mock.patch.object(crew, "WorkerProcess", self._shop.hire):
            async with self._world as world:
                for number, body in enumerate(self._deeds):
                    group = f"g{number % self._groups}"
                    self._order.setdefault(group, []).append(body)
                    await world.send(body, group=group)
                self._break()
                handler = handle_batch if "batch" in self.options else handle_one
                running = await world.start(handler, **self.options)
                await self._until_the_stop(running)
                self._check_capacity(running)
                report = await running.stop()
                self._check_stopped(running, report)
                world.faults.clear()
                last = await world.start(self._finishing, concurrency=20, logger=SILENT)
                await world.until(lambda: not world.bodies(), within=HIDDEN, step=1)
                await last.stop()
                self._check_done()
            for worker in self._shop.workers:
                await worker.end()

    async def _until_the_stop(self, running: Running) -> None:
        self._shop.unsteady = self._random.choice((0.0, 0.2))
        begun = self._world.now
        for _ in range(self._attacks):
            await asyncio.sleep(self._random.uniform(0, 2))
            alive = [each for each in self._shop.workers if not each.dead and each.ready]
            if alive:
                self._calm = False
                self._random.choice(alive).crash(-9)
        if self._stop_at < LONGEST:
            await asyncio.sleep(max(0.0, begun + self._stop_at - self._world.now))
            return
        try:
            await self._world.until(lambda: not self._world.bodies() or self.violations, within=LONGEST, step=1)
        except AssertionError:
            self.violations.append(f"{self._world.bodies()} are never finished")
        await asyncio.sleep(20)  # until workers are there again
        if not self.violations and running.statistics().lane.workers != self.options["workers"]:
            self.violations.append(f"{running.statistics().lane.workers} workers are left")

    def _break(self) -> None:
        for operation in (RECEIVE, DELETE, CHANGE, COPY):
            switches: dict[str, Any] = {"latency": (0.001, self._random.choice((0.01, 0.1)))}
            if self.faulty and self._random.random() < 0.7:
                for kind in self._random.sample(("throttle", "unavailable", "reset", "lose"), 2):
                    switches[kind] = self._random.choice((0.05, 0.2))
            self._world.faults.set(operation, **switches)

    # The handler

    async def handle(self, messages: Sequence[Message[str]], batch: Batch[str] | None) -> None:
        """Do what each message says, in turn, and note what has succeeded when all of them have."""
        bodies = [message.body for message in messages]
        self._begin(messages)
        worker, began = CURRENT.get(), self._world.now
        try:
            await asyncio.sleep(self._random.choice((0.0, 0.05, 0.3)))
            good: list[str] = []
            held_up: set[str | None] = set()
            for message in messages:
                well = await self._do(message, batch, alone=len(bodies) == 1)
                if self.fifo and not well:
                    held_up.add(message.group_id)
                if well and message.group_id not in held_up and self._deeds[message.body] != "reject":
                    good.append(message.body)
            if worker.dead:
                await asyncio.Event().wait()
            for body in good:
                self._succeed(body)
        finally:
            self._at_work.subtract(bodies)
            limit = TIMEOUT + 2 * GRACE + LATE
            if self._world.now - began > limit:
                self.violations.append(f"{bodies} ran for {self._world.now - began:.1f} s, more than {limit} s")

    def _begin(self, messages: Sequence[Message[str]]) -> None:
        bodies = [message.body for message in messages]
        self.trace.append((self._world.now, tuple(bodies)))
        self._at_work.update(bodies)
        self._runs.update(bodies)
        if twice := [body for body in bodies if self._at_work[body] > 1]:
            self.violations.append(f"{twice} ran twice at once")
        for message in messages:
            self._check_receives(message)
            before = self._order[str(message.group_id)]
            if self.fifo and not self.faulty and self._calm and not self.succeeded[message.body]:
                first = before[: before.index(message.body)]
                open_ = [each for each in first if not self._is_over(each) and each not in bodies]
                if open_:
                    self.violations.append(f"{message.body} was called before {open_} of its group")

    def _is_over(self, body: str) -> bool:
        return bool(self.succeeded[body]) or body in self._acked or self._deeds[body] in ("reject", "poison")

    def _check_receives(self, message: Message[str]) -> None:
        """A message that never fails is received once, whatever the others in its batch or worker do."""
        first = self._receives.setdefault(message.body, message.receive_count)
        innocent = self._deeds[message.body] in ("good", "ack", "reject") and not self.fifo
        innocent &= "batch" not in self.options or self.options["on_batch_error"] != "retry"
        if innocent and self._calm and not self.faulty and message.receive_count != first:
            self.violations.append(f"{message.body} was received again, and had done nothing")

    async def _do(self, message: Message[str], batch: Batch[str] | None, *, alone: bool) -> bool:
        """Do what one message says; whether it went well."""
        deed, first = self._deeds[message.body], self._runs[message.body] == 1
        if deed == "raise" and message.attempt == 1:
            if batch is None:
                raise ValueError("planned")
            batch.retry(message)
            return False
        if deed == "retry" and message.attempt == 1:
            if batch is None:
                raise Retry(0)
            batch.retry(message, after=0)
            return False
        if deed == "reject":
            if batch is None:
                raise Reject("planned")
            batch.reject(message, "planned")
        elif deed == "ack":
            message.ack()
            self._acked.add(message.body)
        elif deed == "poison" or (deed == "die" and first):
            await self._die(message.body, alone=alone)
        elif deed == "hang" and first:
            await _hang(CURRENT.get())
        return True

    async def _die(self, body: str, *, alone: bool) -> None:
        if alone:
            self.deaths[body] += 1
            if self.deaths[body] > MOST_DEATHS and not self.faulty:
                self.violations.append(f"{body} has ended {self.deaths[body]} processes alone")
        CURRENT.get().crash(-11)
        await asyncio.Event().wait()

    def _succeed(self, body: str) -> None:
        self.succeeded[body] += 1
        if self.succeeded[body] > 1 and not self.faulty and not self.fifo and self._deeds[body] != "ack":
            self.violations.append(f"{body} was handled twice with success, without any fault")

    async def _finishing(self, message: Message[str]) -> None:
        await asyncio.sleep(0.01)
        self.succeeded[message.body] += 1

    # What must hold

    def _check_capacity(self, running: Running) -> None:
        if self._stop_at >= LONGEST and running.statistics().lane.running:
            self.violations.append(f"{running.statistics().lane.running} workers run something, and nothing is left")

    def _check_stopped(self, running: Running, report: Report) -> None:
        now = running.statistics()
        if rest := unaccounted(report):
            self.violations.append(f"{rest} messages are unaccounted for in {report}")
        if now.slots_taken:
            self.violations.append(f"{now.slots_taken} slots are taken after the stop")
        if not self.faulty and report.lost:
            self.violations.append(f"{report.lost} leases were lost, without any fault")
        if alive := [worker for worker in self._shop.workers if not worker.dead]:
            self.violations.append(f"{len(alive)} workers are alive after the stop")
        left = {*self._world.bodies(), *self._dead()}
        for body, deed in self._deeds.items():
            if body not in left and not self.succeeded[body] and deed != "ack":
                self.violations.append(f"{body} was deleted, but was never handled with success")

    def _check_done(self) -> None:
        dead = self._dead()
        for body, deed in self._deeds.items():
            if not self.succeeded[body] and body not in dead and deed != "ack":
                self.violations.append(f"{body} was lost")
            if body in dead and deed not in ("reject", "poison") and self._calm:
                self.violations.append(f"{body} was rejected, and ended no process three times")

    def _dead(self) -> set[str]:
        return {*self._world.bodies(self._world.dead_letters)}


def _options(random: Random, *, fifo: bool) -> OptionValues:
    options: OptionValues = {
        "lane": "processes",
        "workers": random.choice((1, 2, 4)),
        "handler_timeout": TIMEOUT,
        "kill_grace": GRACE,
        "max_tasks": random.choice((None, None, 5)),
        "prefetch": random.choice((None, 0, 10)),
        "visibility_timeout": random.choice((5, 30)),
        "ack_interval": random.choice((0.0, 0.1, 0.5)),
        "wait_time": random.choice((1, 5)),
        "retry_base": 0.1,
        "retry_maximum": 1.0,
        "on_unstarted": random.choice(("release", "run")),
        "on_lease_lost": random.choice(("tell", "cancel")),
        "drain_timeout": random.choice((0.0, 5.0)),
        "logger": SILENT,
    }
    if random.random() < 0.6:
        options["batch"] = random.choice((3, 10)) if fifo else random.choice((3, 10, 40))
        options["batch_wait"] = random.choice((0.0, 0.2, 2.0))
        options["batch_groups"] = random.choice(("one", "several"))
        options["on_batch_error"] = random.choice(("retry", "halves", "singly"))
    return options
