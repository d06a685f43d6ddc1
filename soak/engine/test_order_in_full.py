"""A large FIFO queue: 8,000 messages in 40 groups, three consumers, one run in twenty fails."""

from __future__ import annotations

from collections import Counter
from random import Random
from typing import TYPE_CHECKING

from fifo_kit import Failing, Journal, options

from leasekeeper.testing.world import World, virtual

if TYPE_CHECKING:
    from leasekeeper import Message

GROUPS, MESSAGES = 40, 200


@virtual
async def test_three_consumers_keep_the_order_of_forty_groups_while_one_run_in_twenty_fails() -> None:
    """L25: first successes of a group in the order of sending, no two handlers of a group at once, nothing lost."""
    random, succeeded = Random(1), list[tuple[str, str]]()

    def end(message: Message[str]) -> object:
        if random.random() < 0.05:
            raise Failing(message.body)
        succeeded.append((message.group_id or "", message.body))
        return None

    async with World(fifo=True) as world:
        world.faults.set("ReceiveMessage", latency=0.01)
        for number in range(MESSAGES):
            for group in range(GROUPS):
                await world.send(f"{group} {number}", group=f"g{group}")
        journal = Journal(world, seconds=lambda _: random.uniform(0.001, 0.05), ends=end)
        consumers = [
            await world.start(journal.handler(str(name)), **options(max_pollers=4, retry_base=1.0)) for name in range(3)
        ]
        await world.until(lambda: not world.bodies(), within=10_000, step=1)
        for consumer in consumers:
            await consumer.stop()
    expected = {f"g{group}": [f"{group} {number}" for number in range(MESSAGES)] for group in range(GROUPS)}
    assert {name: [body for group, body in succeeded if group == name] for name in expected} == expected
    assert {run.consumer for run in journal.runs} == {"0", "1", "2"}
    assert len(journal.runs) > 1.02 * GROUPS * MESSAGES
    at_work = Counter[str]()
    moments = sorted(
        [(run.started, 1, run.group) for run in journal.runs] + [(run.ended, 0, run.group) for run in journal.runs]
    )
    for _, starts, name in moments:
        at_work[name] += 1 if starts else -1
        assert at_work[name] <= 1, f"two handlers of {name} at once"
