"""The keeper in virtual time: the real one's decisions, a process of its own, and claims in memory.

Made by a world for a consumer with the option `keeper`. Its process can be killed and suspended as the consumer's can.
It promises what the kernel does: the claims of a process that is killed are given back.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from leasekeeper.engine.policies import crash_back_offs
from leasekeeper.errors import SqsError
from leasekeeper.keeper.calls import TIMEOUT
from leasekeeper.keeper.child import INTERVAL
from leasekeeper.keeper.extensions import Extensions
from leasekeeper.keeper.layout import Settings
from leasekeeper.keeper.link import KeeperLink
from leasekeeper.keeper.settlements import repeats, seconds_until, settlements, unsettled
from leasekeeper.keeper.table import Table
from leasekeeper.keeper.threads import THREADS
from leasekeeper.keeper.watched_process import LONGEST, TRIES
from leasekeeper.local import LocalClient
from leasekeeper.testing.processes import Process

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from leasekeeper.api import EntryFailure
    from leasekeeper.keeper.extensions import Extension
    from leasekeeper.keeper.settlements import SettlingCall
    from leasekeeper.local import Broker
    from leasekeeper.options import Options

BLOCKS = 2_000
"""Receives that it knows at most."""
AGAIN = 10.0
"""Seconds at least between two starts, as of the real one."""


class MemoryClaims:
    """The claims of one process on the slots of a table.

    Args:
        held: who has which claim; the other process's claims are there too.
        process: whose these are.
    """

    def __init__(self, held: dict[int, Process], process: Process) -> None:
        self._held = held
        self._process = process

    def take(self, slot: int) -> bool:
        """Take the claim on a slot; False: the other process has it, and lives."""
        holder = self._held.get(slot, self._process)
        if holder is not self._process and holder.alive:
            return False
        self._held[slot] = self._process
        return True

    def give_back(self, slot: int) -> None:
        """Give it back."""
        if self._held.get(slot) is self._process:
            del self._held[slot]


class VirtualKeeper:
    """The keeper of one consumer.

    Args:
        table: the consumer's.
        consumer: its process.
        broker: the server.
        options: those of the consumer.

    Attributes:
        process: its process now; another one after it was killed and started again.
        claims: those of all processes.
        said: what it told people.
        late: says, by the operation, how many seconds the next answer is late.
        link: the consumer's link to it.
        delay: seconds from a look to the call that follows, as a busy machine makes them.
        extensions: the class that decides which leases are extended; a test may put a mutation there.
    """

    def __init__(self, table: Table, consumer: Process, broker: Broker, options: Options) -> None:
        self.table = table
        self.claims: dict[int, Process] = {}
        self.said: list[str] = []
        self.delay: Callable[[], float] = lambda: 0.0
        self.late: Callable[[str], float] = lambda _: 0.0
        self.extensions: type[Extensions] = Extensions
        self._consumer = consumer
        self._broker = broker
        self._processes: list[Process] = []
        self._started = 0.0
        self.link = KeeperLink(
            table,
            MemoryClaims(self.claims, consumer),
            options,
            clock=asyncio.get_running_loop().time,
            child=self,
        )
        self._start()

    @classmethod
    def of(cls, process: Process | None, broker: Broker, queue_url: str, options: Options) -> VirtualKeeper:
        """A keeper for the consumer that is this process."""
        if process is None:
            raise RuntimeError("keeper=True: the consumers of this test are no processes: use `virtual_processes`")
        settings = Settings("http://127.0.0.1", "us-east-1", queue_url, "", back_offs=crash_back_offs(options))
        return cls(Table.private(BLOCKS, settings, keep_for=options.keep_for), process, broker, options)

    def _start(self) -> None:
        loop = asyncio.get_running_loop()
        self._started = loop.time()
        self.process = Process(self._broker)
        self.process.connection.late = self._late
        self._processes.append(self.process)
        self.process.tasks.add(loop.create_task(self._run(self.process), context=self.process.context))

    def _late(self, operation: str) -> float:
        return self.late(operation)

    # As the consumer sees it

    @property
    def dead(self) -> bool:
        """Whether it has died, and may be started again."""
        return not self.process.alive and asyncio.get_running_loop().time() >= self._started + AGAIN

    async def restart(self) -> None:
        """Start another."""
        self._start()

    async def replace(self) -> None:
        """Kill one that does not answer."""
        self.process.kill()

    # What it does

    async def _run(self, process: Process) -> None:
        table, clock = self.table, asyncio.get_running_loop().time
        client = LocalClient(process.connection)
        extensions = self.extensions(table, MemoryClaims(self.claims, process), say=self.said.append)
        calls: set[asyncio.Task[None]] = set()
        while not table.closed:
            if not self._consumer.alive:
                await self._settle(client, extensions)
                return
            for slots in extensions.due(clock()):
                call = asyncio.create_task(self._extend(client, extensions, slots))
                calls.add(call)
                call.add_done_callback(calls.discard)
            await asyncio.sleep(INTERVAL)

    async def _extend(self, client: LocalClient, extensions: Extensions, slots: list[int]) -> None:
        clock = asyncio.get_running_loop().time
        await asyncio.sleep(self.delay())
        sent = clock()
        begun: list[Extension] = extensions.begin(slots, sent)
        codes: list[str] | None = None
        if begun:
            entries = [(each.receipt, each.seconds) for each in begun]
            try:
                async with asyncio.timeout(TIMEOUT):
                    codes = _codes(await client.change_visibility_batch(self.table.settings().queue_url, entries))
            except (SqsError, TimeoutError):
                pass
        extensions.end(begun, codes, sent=sent, now=clock())

    async def _settle(self, client: LocalClient, extensions: Extensions) -> None:
        clock = asyncio.get_running_loop().time
        free, until = asyncio.Semaphore(THREADS), clock() + LONGEST

        async def settle(call: SettlingCall) -> None:
            entries = call.entries
            async with free:
                for attempt in range(TRIES):
                    if attempt:
                        await asyncio.sleep(0.1 * 4**attempt)
                    try:
                        entries = await self._make(client, call, entries)
                    except SqsError:
                        continue
                    if not entries or clock() > until:
                        return

        async with asyncio.TaskGroup() as tasks:
            for slots in extensions.stop():
                while extensions.calling & slots:  # noqa: ASYNC110 - the real one has no event either
                    await asyncio.sleep(0.01)
                for call in settlements(self.table, clock(), slots):
                    tasks.create_task(settle(call))
            for call in repeats(self.table, clock()):
                tasks.create_task(settle(call))

    async def _make(
        self, client: LocalClient, call: SettlingCall, entries: Sequence[tuple[str, float]]
    ) -> Sequence[tuple[str, float]]:
        """Make a call that settles; returns the entries to try again."""
        url, now = self.table.settings().queue_url, asyncio.get_running_loop().time()
        if call.operation == "delete":
            return unsettled(entries, _codes(await client.delete_batch(url, [receipt for receipt, _ in entries])))
        if call.operation == "receive again":
            (attempt_id, visibility), *_ = entries
            again = await client.receive(
                url, maximum=call.maximum, wait=0, visibility=int(visibility), attempt_id=attempt_id
            )
            if not again:
                return ()
            entries = [(message.receipt, 0.0) for message in again]
        changes = [(receipt, seconds_until(visible_at, now)) for receipt, visible_at in entries]
        left = unsettled(entries, _codes(await client.change_visibility_batch(url, changes)))
        return call.entries if left and call.operation == "receive again" else left

    async def bury(self) -> None:
        """End it, for the end of a test."""
        for process in self._processes:
            process.kill()
            await process.bury()

    def __repr__(self) -> str:
        return f"<VirtualKeeper of {self.table!r}>"


def _codes(answers: Sequence[EntryFailure | None]) -> list[str]:
    return ["" if answer is None else answer.code for answer in answers]
