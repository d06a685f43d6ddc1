"""A consumer that runs in a world: its statistics, its process, its stop.

Made by the world that it works in.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from contextvars import Context

    from leasekeeper.channel import Channel
    from leasekeeper.core.delivery import Delivery
    from leasekeeper.engine.runner import Runner
    from leasekeeper.observe.statistics import ConsumerStatistics, Observer, Report
    from leasekeeper.testing.keepers import VirtualKeeper
    from leasekeeper.testing.processes import Process


class Running:
    """A runner that works in a world.

    Attributes:
        runner: the runner.
        task: its `run()`.
        events: what its parts emit; `subscribe` to it.
    """

    def __init__(
        self,
        runner: Runner,
        events: Channel,
        observer: Observer,
        keeper: VirtualKeeper | None,
        *,
        context: Context,
        process: Process | None,
    ) -> None:
        self.runner = runner
        self._keeper = keeper
        self.events = events
        self._observer = observer
        self._process = process
        self._ready = asyncio.Event()
        work = runner.run(self._ready.set)
        self.task: asyncio.Task[None] = asyncio.get_running_loop().create_task(work, name="runner", context=context)

    @property
    def process(self) -> Process:
        """Its process, to kill or suspend it; raises `RuntimeError` where consumers are not processes."""
        if self._process is None:
            raise RuntimeError("the consumers of this test are not processes: decorate it with `virtual_processes`")
        return self._process

    @property
    def keeper(self) -> VirtualKeeper:
        """Its keeper; raises `RuntimeError` if it was started without `keeper=True`."""
        if self._keeper is None:
            raise RuntimeError("this consumer has no keeper: start it with keeper=True")
        return self._keeper

    @property
    def rows(self) -> Mapping[str, Delivery]:
        """The messages it holds, by id."""
        return self.runner.context.ledger.rows

    def measure(self) -> None:
        """Measure every message, as `Consumer.measure`."""
        self._observer.measure()

    def statistics(self) -> ConsumerStatistics:
        """A snapshot."""
        return self._observer.statistics(self.runner)

    async def ready(self) -> None:
        """Wait until it polls, or has ended already."""
        started = asyncio.ensure_future(self._ready.wait())
        await asyncio.wait((started, self.task), return_when=asyncio.FIRST_COMPLETED)
        started.cancel()

    async def stop(self, *, force: bool = False) -> Report:
        """Stop it, and wait for the report."""
        self.runner.stop(force=force)
        return await self.ended()

    async def ended(self) -> Report:
        """Wait until it has ended; its report."""
        await asyncio.shield(self.task)
        if self._keeper is not None:
            self._keeper.table.end()
        return self._observer.report(self.runner)

    async def close(self) -> None:
        """End it at once, if it has not ended."""
        if self._keeper is not None:
            await self._keeper.bury()
        if self._process is not None and not self._process.runs:
            await self._process.bury()
            return
        self.runner.stop(force=True)
        await asyncio.shield(self.task)
