"""Room for message groups that wait for a back-off: they must not keep other groups from being received."""

from __future__ import annotations

import logging

from leasekeeper import Message  # noqa: TC001 - a handler's annotation is read at run time
from leasekeeper.testing.world import World, virtual

SILENT = logging.getLogger("leasekeeper.silent")
SILENT.disabled = True


@virtual
async def test_lone_messages_that_wait_longest_go_back_when_nothing_more_could_be_received() -> None:
    """Their attempts go on where they were, and they run when their back-off is over."""
    quick: list[str] = []
    attempts: list[tuple[int, int]] = []

    async def handle(message: Message[str]) -> None:
        if not message.body.startswith("slow"):
            quick.append(message.body)
        elif message.attempt == 1:
            raise RuntimeError
        else:
            attempts.append((message.attempt, message.receive_count))

    async with World(fifo=True) as world:
        for number in range(30):
            await world.send(f"slow {number}", group=f"slow-{number}")
        for number in range(50):
            await world.send(str(number), group=str(number))
        await world.start(handle, concurrency=10, retry_base=60.0, max_in_flight=20, logger=SILENT)
        assert await world.until(lambda: len(quick) == 50) < 2.0
        assert await world.until(lambda: not world.bodies()) < 61.0
    assert {attempt for attempt, _ in attempts} == {2}
    assert {receives for _, receives in attempts} == {1, 2}
