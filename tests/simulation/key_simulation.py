"""A simulation of idempotency: processes with a queue on which each key comes twice, and one store of keys.

Processes die, stand still and lose leases; messages are delivered twice. Each key's effects must be explained: one, and
one more for each run that has lost its claim to another one and ended well nevertheless (`conflicts`).
"""

from __future__ import annotations

import asyncio
from collections import Counter
from random import Random
from typing import TYPE_CHECKING, Any

from conditions import CHANGE, SILENT, conditions_for

from leasekeeper.idempotency import Idempotency, MemoryStore
from leasekeeper.message import Message  # noqa: TC001 - a handler's annotation is read at run time
from leasekeeper.outcomes import Retry
from leasekeeper.testing.world import World, virtual_processes

if TYPE_CHECKING:
    from leasekeeper.idempotency.api import Found
    from leasekeeper.testing.running import Running

PROCESSES = 3
MOST = 30
"""Keys of a world, at most."""


class Unsteady(MemoryStore):
    """A store that takes no claims for a while, again and again.

    Attributes:
        back: when it takes them again, by its clock.
    """

    back = 0.0

    async def claim(self, key: str, token: str, fingerprint: str, lease: float) -> Found:
        if self.clock() < self.back:
            raise ConnectionError("refused")
        return await super().claim(key, token, fingerprint, lease)


class KeySimulation:
    """The world of a seed.

    Attributes:
        effects: how often the work of each key was done.
        met: what happened, and how often.
        conflicts: runs that ended well after they had lost their claims.
    """

    def __init__(self, seed: int, *, faulty: bool) -> None:
        self._random = Random(f"keys {seed} {faulty}")
        self._faulty = faulty
        self._outages = Random(f"outages {seed}")
        self._conditions = conditions = conditions_for(seed, faulty=faulty)
        self._keys = [f"k{number}" for number in range(min(conditions.messages, MOST))]
        self._world = World(seed)
        self._running: list[Running] = []
        self._calm = False
        self.effects: Counter[str] = Counter()
        self.met: Counter[str] = Counter()
        self.conflicts = 0

    async def run(self) -> None:
        """Run all of it."""
        async with self._world as world:
            self._store = store = Unsteady(clock=asyncio.get_running_loop().time)
            once = Idempotency(store, key=lambda message: message.body)
            options: Any = {**self._conditions.options, "idempotency": once, "max_attempts": None, "retry": None}
            options["handler_timeout"] = None
            for operation, switches in self._conditions.faults.items():
                world.faults.set(operation, **switches)
            self._running = [await world.start(self._handle, **options) for _ in range(PROCESSES)]
            sent = [*self._keys, *self._keys]
            self._random.shuffle(sent)
            for key in sent:
                await world.send(key)
                await asyncio.sleep(self._random.uniform(0, 1))
                if self._faulty:
                    await self._disturb()
            world.faults.clear()
            self._calm = True
            for each in self._running:
                if each.process.alive:
                    each.process.resume()
                    await each.stop(force=self._faulty)
            await world.start(self._handle, idempotency=once, concurrency=20, logger=SILENT)
            await world.until(lambda: not world.bodies(), within=50_000, step=1)
        self.conflicts = once.statistics().conflicts
        names = ("done", "running", "conflicts", "store_errors")
        self.met.update({name: getattr(once.statistics(), name) for name in names})

    async def _disturb(self) -> None:
        """Kill, stop or resume a process, or make its extensions fail for a while."""
        if self._outages.random() < 0.1:
            self._store.back = self._store.clock() + self._outages.uniform(0, 60)
        chance = self._random.random()
        each = self._random.choice(self._running)
        if chance < 0.05 and each.process.alive and sum(other.process.alive for other in self._running) > 1:
            each.process.kill()
            self.met["killed"] += 1
        elif chance < 0.2 and each.process.alive:
            each.process.suspend()
            await asyncio.sleep(self._random.uniform(0, 2.0 * self._conditions.options["visibility_timeout"]))
            each.process.resume()
            self.met["suspended"] += 1
        elif chance < 0.3:
            self._world.faults.set(CHANGE, unavailable=self._random.choice((0.0, 0.9)))

    async def _handle(self, message: Message[str]) -> object:
        long = not self._calm and self._random.random() < 0.3
        longest = 3.0 * self._conditions.options["visibility_timeout"]
        await asyncio.sleep(self._random.uniform(0, longest) if long else 0.01)
        chance = 1.0 if self._calm else self._random.random()
        if chance < 0.2:
            self.met["failed"] += 1
            raise RuntimeError("no")
        if chance < 0.3:
            return Retry(1)
        self.effects[message.body] += 1
        return None

    @property
    def violations(self) -> list[str]:
        """What cannot be explained, in words."""
        found = [f"{key} was never done" for key in self._keys if not self.effects[key]]
        more = sum(count - 1 for count in self.effects.values())
        if more != self.conflicts:
            found.append(f"{more} keys were done again, but {self.conflicts} runs had lost their claims")
        if self.conflicts and not self._faulty:
            found.append(f"{self.conflicts} runs had lost their claims, without any fault")
        return found


def simulate_keys(seed: int, *, faulty: bool) -> KeySimulation:
    """Run the world of a seed, in virtual time."""
    simulation = KeySimulation(seed, faulty=faulty)
    virtual_processes(simulation.run)()
    return simulation
