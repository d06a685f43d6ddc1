"""Simulated worlds of batch handlers: conditions from a seed, consumers of batches, and what must hold in each world.

`simulate_batches(seed, faulty=True)` runs one, and returns what broke the contract, in words.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from random import Random
from typing import TYPE_CHECKING, Any

from conditions import CHANGE, COPY, DELETE, RECEIVE, SILENT

from leasekeeper.batch import Batch  # noqa: TC001 - a handler's annotation is read at run time
from leasekeeper.message import Message  # noqa: TC001 - as above
from leasekeeper.testing.clock import run_virtual
from leasekeeper.testing.world import START, World
from simulation import unaccounted

if TYPE_CHECKING:
    from leasekeeper.observe.statistics import Report
    from leasekeeper.option_values import OptionValues
    from leasekeeper.testing.world import Running

HIDDEN = 50_000.0
"""Virtual seconds in which everything that was given back is visible again."""


def simulate_batches(seed: int, *, faulty: bool) -> BatchSimulation:
    """Run the simulation of a seed to its end, in virtual time."""
    simulation = BatchSimulation(seed, faulty=faulty)
    run_virtual(simulation.run(), start=START)
    return simulation


class BatchSimulation:
    """Consumers of batches, stopped at a random moment, then one without faults that handles the rest one by one.

    Attributes:
        violations: what broke the contract, in words.
        trace: each call as its time and its bodies. Equal seeds give equal traces.
        reports: of the consumers that were stopped.
        succeeded: how many runs of each message succeeded.
    """

    def __init__(self, seed: int, *, faulty: bool) -> None:
        self._random = random = Random(f"batches {seed} {faulty}")
        self.seed, self.faulty = seed, faulty
        self.fifo = random.random() < 0.5
        self.options = _options(random, fifo=self.fifo)
        self._messages = random.choice((20, 100, 300))
        self._groups = random.choice((1, 3, 20))
        self._block = random.choice((1, 4))
        """How many messages of one group are sent in a row."""
        self._consumers = random.choice((1, 1, 2))
        self._raising = random.choice((0.0, 0.0, 0.1))
        self._stop_at = random.uniform(0, random.choice((2, 20, 100)))
        max_receives = random.choice((None, 50))
        self._copies = max_receives is not None
        self._world = World(seed, fifo=self.fifo, max_receives=max_receives)
        self._plans: dict[str, tuple[int, str]] = {}
        self._sound = True
        """Whether no lease was lost so far, in any consumer."""
        self._order: dict[str, list[str]] = {}
        self._at_work: list[Counter[str]] = []
        self._groups_at_work: Counter[str] = Counter()
        self._calls: list[int] = []
        self.violations: list[str] = []
        self.trace: list[tuple[float, tuple[str, ...]]] = []
        self.reports: list[Report] = []
        self.succeeded: Counter[str] = Counter()

    async def run(self) -> None:
        """Run all of it."""
        random, world = self._random, self._world
        async with world:
            bodies = [f"m{number}" for number in range(self._messages)]
            for number, body in enumerate(bodies):
                failing = random.choice((0, 0, 0, 0, 1, 2)) if number % 3 == 0 else 0
                self._plans[body] = failing, random.choice(("name", "return", "raise", "early", "reject"))
                group = f"g{number // self._block % self._groups}"
                self._order.setdefault(group, []).append(body)
                await world.send(body, **({"group": group} if self.fifo else {"MessageGroupId": group}))
            self._break(random)
            running = [await world.start(self._handler(index), **self.options) for index in range(self._consumers)]
            await asyncio.sleep(self._stop_at)
            self._sound &= not any(each.statistics().ledger.lost for each in running)
            self.reports = list(await asyncio.gather(*(each.stop() for each in running)))
            self._check_stopped(running, bodies)
            world.faults.clear()
            last = await world.start(self._finishing, concurrency=20, logger=SILENT)
            await world.until(lambda: not world.bodies(), within=HIDDEN, step=1)
            await last.stop()
            self._check_done(bodies)

    def _break(self, random: Random) -> None:
        for operation in (RECEIVE, DELETE, CHANGE, COPY):
            switches: dict[str, Any] = {"latency": (0.001, random.choice((0.01, 0.1)))}
            if self.faulty and random.random() < 0.7:
                for kind in random.sample(("throttle", "unavailable", "reset", "lose"), 2):
                    switches[kind] = random.choice((0.05, 0.2))
                if operation != RECEIVE:
                    switches["fail_entries"] = random.choice((0.0, 0.2))
            self._world.faults.set(operation, **switches)

    # What must hold

    def _check_stopped(self, running: list[Running], bodies: list[str]) -> None:
        for each, report in zip(running, self.reports, strict=True):
            now = each.statistics()
            if rest := unaccounted(report):
                self.violations.append(f"{rest} messages are unaccounted for in {report}")
            if now.slots_taken:
                self.violations.append(f"{now.slots_taken} slots are taken after the stop")
            if not self.faulty and report.lost:
                self.violations.append(f"{report.lost} leases were lost, without any fault")
        left = {*self._world.bodies()} | self._dead()
        for body in bodies:
            if body not in left and not self.succeeded[body]:
                self.violations.append(f"{body} was deleted, but was never handled with success")
        if not self.faulty and (twice := [body for body, count in self.succeeded.items() if count > 1]):
            self.violations.append(f"{twice} were handled twice with success, without any fault")

    def _check_done(self, bodies: list[str]) -> None:
        for body in bodies:
            if not self.succeeded[body] and body not in self._dead():
                self.violations.append(f"{body} was lost")

    def _dead(self) -> set[str]:
        return {*self._world.bodies(self._world.dead_letters)} if self._world._max_receives is not None else set()

    # The handlers

    def _handler(self, index: int) -> Any:
        self._at_work.append(Counter())
        self._calls.append(0)

        async def handle(batch: Batch[str]) -> Any:
            self._begin(index, batch)
            try:
                await asyncio.sleep(self._random.choice((0.0, 0.05, 0.5)))
                return self._end(batch)
            finally:
                self._calls[index] -= 1
                self._at_work[index].subtract(batch.bodies)
                self._groups_at_work.subtract({str(message.group_id) for message in batch})

        return handle

    def _begin(self, index: int, batch: Batch[str]) -> None:
        options = self.options
        self.trace.append((self._world.now, tuple(batch.bodies)))
        self._calls[index] += 1
        self._at_work[index].update(batch.bodies)
        groups = {str(message.group_id) for message in batch}
        self._groups_at_work.update(groups)
        if not 1 <= len(batch) <= options["batch"]:  # type: ignore[operator]  # it is always drawn
            self.violations.append(f"a batch of {len(batch)}")
        most = options["batch_bytes"]
        if most is not None and len(batch) > 1 and sum(map(len, batch.bodies)) > most:
            self.violations.append(f"a batch of the bodies {batch.bodies}")
        if self._calls[index] > options["concurrency"]:
            self.violations.append(f"{self._calls[index]} calls at once")
        if twice := [body for body, count in self._at_work[index].items() if count > 1]:
            self.violations.append(f"{twice} ran twice at once")
        if "batch_key" in options and len(groups) > 1:
            self.violations.append(f"a batch of the keys {groups}")
        if self.fifo:
            if options["batch_groups"] == "one" and len(groups) > 1:
                self.violations.append(f"a batch of the groups {groups}")
            if self._sound and not self.faulty and any(self._groups_at_work[each] > 1 for each in groups):
                self.violations.append(f"one of the groups {groups} is in two batches at once")

    def _end(self, batch: Batch[str]) -> Any:
        """Do what is planned for each message, and note which ones have succeeded."""
        failed: list[Message[str]] = []
        raising = self._random.random() < self._raising
        held_up: set[str] = set()
        good: list[Message[str]] = []
        for message in batch:
            failing, style = self._plans[message.body]
            group = str(message.group_id) if self.fifo else ""
            if message.attempt > failing:
                if group not in held_up:
                    good.append(message)
                continue
            if self.fifo and (style != "reject" or not self._copies):  # without a copy it is tried again
                held_up.add(group)
            if style == "name":
                batch.retry(message, after=self._random.choice((None, 0, 1)))
            elif style == "early":
                message.retry(1)
            elif style == "reject":
                batch.reject(message, "planned")
            elif style == "return":
                failed.append(message)
            else:
                raising = True
        if raising:
            raise RuntimeError("planned")
        for message in good:
            self._succeeded(message)
        return failed

    def _succeeded(self, message: Message[str]) -> None:
        self.succeeded[message.body] += 1
        if not self.fifo or self.succeeded[message.body] > 1:
            return
        group = str(message.group_id)
        before = self._order[group][: self._order[group].index(message.body)]
        missing = [each for each in before if not self.succeeded[each] and self._plans[each][1] != "reject"]
        if missing and not self.faulty:
            self.violations.append(f"{message.body} succeeded before {missing} of its group {group}")

    async def _finishing(self, message: Message[str]) -> None:
        await asyncio.sleep(0.01)
        self._succeeded(message)


def _options(random: Random, *, fifo: bool) -> OptionValues:
    groups = random.choice(("one", "several"))
    small = fifo and groups == "one"
    options: OptionValues = {
        "batch": random.choice((1, 3, 10) if small else (1, 3, 10, 10, 40)),
        "batch_wait": random.choice((0.0, 0.2, 2.0)),
        "batch_bytes": random.choice((None, None, 12)),  # three or four bodies
        "batch_groups": groups,  # type: ignore[typeddict-item]
        "on_batch_error": random.choice(("retry", "halves", "singly")),
        "concurrency": random.choice((1, 2, 5)),
        "dispatch": random.choice(("semaphore", "pool")),
        "visibility_timeout": random.choice((5, 30)),
        "ack_interval": random.choice((0.0, 0.1, 0.5)),
        "throttle": random.random() < 0.8,
        "max_pollers": random.choice((1, 3, 10)),
        "wait_time": random.choice((1, 5)),
        "retry_base": 1.0,
        "retry_maximum": 10.0,
        "handler_timeout": random.choice((None, None, 0.4)),
        "on_unstarted": random.choice(("release", "run")),
        "drain_timeout": random.choice((0.0, 5.0)),
        "fifo_ack": random.choice(("batched", "confirmed")),
        "logger": SILENT,
    }
    if random.random() < 0.2:
        options["rate"] = random.choice((5.0, 50.0))
    if not fifo and random.random() < 0.3:
        options["fair"] = True
    if not fifo and random.random() < 0.3:
        options["batch_key"] = lambda message: message.group_id
    return options
