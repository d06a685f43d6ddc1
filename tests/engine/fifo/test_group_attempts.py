"""Attempts of a head and receive counts of its followers: what failures spend, and what they do not (L26)."""

from __future__ import annotations

import pytest
from fifo_kit import Journal, Server, always, failing, options

from leasekeeper.outcomes import Retry
from leasekeeper.testing.world import World, virtual


@pytest.mark.parametrize("after", [2.0, 600.0])
@virtual
async def test_a_head_that_always_fails_is_the_only_dead_letter(after: float) -> None:
    """L26: maxReceiveCount 3, nine followers: each of them runs once, with receive count 1."""
    async with World(fifo=True, max_receives=3) as world:
        journal = Journal(world, ends=always("0", answer=Retry(after)))
        await world.send_many(10)
        consumer = await world.start(journal.handler(), **options())
        await world.until(lambda: not world.bodies(), within=3_000, step=0.5)
        assert journal.order == ["0", "0", "0", *map(str, range(1, 10))]
        assert [run.attempt for run in journal.of("0")] == [1, 2, 3]
        assert {run.receive_count for run in journal.runs} == {1}
        assert world.bodies(world.dead_letters) == ["0"]
        assert journal.of("0")[2].started == pytest.approx(2 * after, abs=3)
        await consumer.stop()


@virtual
async def test_a_follower_gets_its_own_runs_after_its_head_was_dead_lettered() -> None:
    """L26: with maxReceiveCount 3 and a head that fails three times, a follower still has its own three runs."""
    async with World(fifo=True, max_receives=3) as world:
        ends = failing(2, "1")

        def end(message: object) -> object:
            return Retry(2) if getattr(message, "body", "") == "0" else ends(message)  # type: ignore[arg-type]

        journal = Journal(world, ends=end)
        await world.send("0", "1", "2")
        consumer = await world.start(journal.handler(), **options(retry_base=1.0, retry_maximum=2.0))
        await world.until(lambda: not world.bodies(), within=3_000, step=0.5)
        assert journal.order == ["0", "0", "0", "1", "1", "1", "2"]
        assert world.bodies(world.dead_letters) == ["0"]
        await consumer.stop()


@virtual
async def test_a_message_received_behind_another_has_not_run_before_whatever_its_count() -> None:
    """Received for the third time, behind an earlier one: it has three runs, not one."""
    async with World(fifo=True, max_receives=3) as world:
        await world.send("1", "2")
        for _ in range(2):
            taken = await world.client.receive(world.queue_url, maximum=10, wait=0, visibility=30)
            assert len(taken) == 2
            receipts = [(message.receipt, 0) for message in reversed(taken)]
            assert await world.client.change_visibility_batch(world.queue_url, receipts) == [None, None]
        journal = Journal(world, ends=failing(2, "2"))
        consumer = await world.start(journal.handler(), **options(retry_base=1.0, retry_maximum=2.0))
        await world.until(lambda: not world.bodies(), within=300)
        assert [(run.body, run.receive_count, run.attempt) for run in journal.runs] == [
            ("1", 3, 3),
            ("2", 3, 1),
            ("2", 3, 2),
            ("2", 3, 3),
        ]
        assert world.bodies(world.dead_letters) == []
        await consumer.stop()


@virtual
async def test_attempts_are_counted_through_local_retries_and_give_backs() -> None:
    """A lone message under max_attempts=12 runs 12 times; receive count plus local retries would forget, and run 52."""
    async with World(fifo=True, max_receives=100) as world:
        journal = Journal(world, ends=always("1"))
        await world.send("1")
        consumer = await world.start(
            journal.handler(), **options(max_attempts=12, retry_base=2.0, retry_maximum=900.0, local_retry_limit=300.0)
        )
        await world.until(lambda: not world.bodies(), within=50_000, step=1)
        assert [run.attempt for run in journal.runs] == list(range(1, 13))
        assert journal.runs[-1].receive_count > 1
        assert world.bodies(world.dead_letters) == ["1"]
        await consumer.stop()


@virtual
async def test_a_lone_head_is_given_back_for_a_long_backoff_and_frees_what_it_held() -> None:
    async with World(fifo=True, max_receives=5) as world:
        server = Server(world)
        journal = Journal(world, ends=lambda message: Retry(900) if message.attempt == 1 else None)
        await world.send("1")
        consumer = await world.start(journal.handler(), **options(local_retry_limit=300.0))
        await world.until(lambda: server.changes, within=1)
        assert server.changes == [(server.changes[0][0], "1", 900)]
        await world.until(lambda: not world.bodies(), within=1_000, step=0.5)
        assert [(run.receive_count, run.attempt) for run in journal.runs] == [(1, 1), (2, 2)]
        assert journal.runs[1].started == pytest.approx(900, abs=2)
        assert (await consumer.stop()).lost == 0


@virtual
async def test_a_head_with_followers_is_held_for_a_long_backoff() -> None:
    """L26: each give-back would raise the followers' counts with that of the head."""
    async with World(fifo=True, max_receives=5) as world:
        journal = Journal(world, ends=lambda message: Retry(900) if message.attempt == 1 and message.body == "1" else 0)
        await world.send("1", "2")
        consumer = await world.start(journal.handler(), **options(local_retry_limit=300.0))
        await world.until(lambda: not world.bodies(), within=1_000, step=0.5)
        assert [(run.body, run.receive_count, run.attempt) for run in journal.runs] == [
            ("1", 1, 1),
            ("1", 1, 2),
            ("2", 1, 1),
        ]
        assert journal.runs[1].started == pytest.approx(900, abs=2)
        assert (await consumer.stop()).lost == 0


@virtual
async def test_a_lone_head_on_its_last_receive_is_not_given_back() -> None:
    """SQS would move it at the next receive, before its own limit: it was received twice, and has run once."""
    async with World(fifo=True, max_receives=2) as world:
        await world.send("1", "2")
        taken = await world.client.receive(world.queue_url, maximum=10, wait=0, visibility=30)
        await world.client.change_visibility_batch(world.queue_url, [(message.receipt, 0) for message in taken])
        journal = Journal(world, ends=lambda message: Retry(900) if message.body == "2" and message.attempt == 1 else 0)
        consumer = await world.start(journal.handler(), **options(local_retry_limit=300.0))
        await world.until(lambda: not world.bodies(), within=1_000, step=0.5)
        assert [(run.body, run.receive_count, run.attempt) for run in journal.runs] == [
            ("1", 2, 2),
            ("2", 2, 1),
            ("2", 2, 2),
        ]
        assert world.bodies(world.dead_letters) == []
        assert (await consumer.stop()).lost == 0


@virtual
async def test_one_long_extension_covers_a_backoff() -> None:
    """A backoff of 200 s under a visibility of 30 s costs one or two extensions, not one for each beat."""
    async with World(fifo=True, max_receives=5) as world:
        journal = Journal(world, ends=lambda message: Retry(200) if message.attempt == 1 and message.body == "1" else 0)
        await world.send("1", "2")
        consumer = await world.start(journal.handler(), **options())
        await world.until(lambda: len(journal.runs) > 1, within=300)
        assert journal.runs[1].started == pytest.approx(200, abs=1.5)
        assert 1 <= world.broker.calls["ChangeMessageVisibilityBatch"] <= 3
        await world.until(lambda: not world.bodies(), within=10)
        assert {run.receive_count for run in journal.runs} == {1}
        await consumer.stop()
