"""Polling: it cannot die, asks for no more than there is room for, and follows the load (L15-L21)."""

from __future__ import annotations

import asyncio
import logging
import random
import threading
from typing import TYPE_CHECKING, Any, NoReturn

import pytest

from leasekeeper.engine.context import SourceQueue
from leasekeeper.engine.runner import Runner
from leasekeeper.errors import QueueUnusable, SqsError, Verdict
from leasekeeper.events import ReceiveFailed
from leasekeeper.lanes.handler import Handler
from leasekeeper.message import Message, Received
from leasekeeper.options import Options
from leasekeeper.outcomes import Reject, Retry
from leasekeeper.testing.world import DEAD_LETTERS, QUEUE, World, virtual

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Sequence

    from leasekeeper.options import Dispatch

STRATEGIES = pytest.mark.parametrize("dispatch", ["semaphore", "pool"])


async def _nothing(body: str) -> None:
    """Finishes at once."""


@pytest.mark.parametrize("fault", ["throttle", "unavailable", "deny", "reset", "garbage", "hang", "lose_by_reset"])
@virtual
async def test_no_error_of_a_receive_ends_the_polling(fault: str) -> None:
    """L15: after ten minutes of nothing but errors, the next message is received."""
    async with World() as world:
        world.faults.set("ReceiveMessage", **{fault: 1.0})
        consumer = await world.start(_nothing)
        await asyncio.sleep(600)
        world.faults.clear()
        await world.send("a")
        await world.until(lambda: not world.bodies(), within=60)
        assert (await consumer.stop()).acked == 1


@virtual
async def test_nothing_a_client_raises_ends_the_polling() -> None:
    """L15: an error that no client should raise is logged, backed off from and survived."""
    async with World() as world:
        receive, broken = world.client.receive, True

        async def strange(*args: Any, **kwargs: Any) -> Any:
            if broken:
                raise ZeroDivisionError("a bug in a client")
            return await receive(*args, **kwargs)

        world.client.receive = strange  # type: ignore[method-assign]  # a client of the user's own may be as bad
        consumer = await world.start(_nothing)
        await asyncio.sleep(100)
        broken = False
        await world.send("a")
        await world.until(lambda: not world.bodies(), within=60)
        assert consumer.statistics().errors["ZeroDivisionError"] > 3


@virtual
async def test_calls_that_a_client_cancels_by_itself_end_neither_polling_nor_settling() -> None:
    """L15, L12: so does one over an executor that was shut down; ours to cancel are our own tasks only."""
    async with World() as world:
        broken = True

        def breaking(call: Callable[..., Coroutine[Any, Any, Any]]) -> Any:
            async def perhaps(*args: Any, **kwargs: Any) -> Any:
                if broken:
                    raise asyncio.CancelledError
                return await call(*args, **kwargs)

            return perhaps

        client: Any = world.client
        client.delete_batch = breaking(client.delete_batch)
        await world.send("a")
        consumer = await world.start(_nothing)
        await asyncio.sleep(5)
        client.receive = breaking(client.receive)
        await asyncio.sleep(100)
        broken = False
        await world.send("b")
        await world.until(lambda: not world.bodies(), within=60)
        assert consumer.statistics().errors["CancelledError"] > 3
        assert (await consumer.stop()).acked == 2


@STRATEGIES
@pytest.mark.parametrize("way", ["raise", "base", "cancelled", "garbage", "system exit"])
@virtual
async def test_nothing_a_handler_raises_ends_the_polling(way: str, dispatch: Dispatch) -> None:
    """L15, L20: whatever handlers raise, 50 messages later all places are there and messages are handled."""
    async with World() as world:
        done: list[str] = []

        class Odd(BaseException):
            pass

        async def handle(message: Message[str]) -> object:
            if message.body == "good":
                done.append(message.body)
                return None
            if way == "raise":
                raise RuntimeError("no")
            if way == "base":
                raise Odd
            if way == "cancelled":
                raise asyncio.CancelledError
            if way == "system exit":
                raise SystemExit(3)
            return object()

        await world.send(*["bad"] * 50)
        consumer = await world.start(handle, concurrency=4, dispatch=dispatch, retry_base=900)
        await asyncio.sleep(30)
        await world.send(*["good"] * 20)
        await world.until(lambda: len(done) == 20, within=60)
        await consumer.stop()


@virtual
async def test_no_good_receive_for_a_minute_turns_health_red_and_one_turns_it_green() -> None:
    """L15: health tells of receives that do not succeed."""
    async with World() as world:
        consumer = await world.start(_nothing, unhealthy_after=60)
        await asyncio.sleep(50)
        assert consumer.runner.healthy
        world.faults.set("ReceiveMessage", unavailable=1.0)
        await world.until(lambda: not consumer.runner.healthy, within=90, step=0.1)
        world.faults.clear()
        await world.until(lambda: consumer.runner.healthy, within=45)


@virtual
async def test_waiting_for_handlers_is_not_unhealthy() -> None:
    """L15: with every place taken by a handler of ten minutes nothing is received, and that is as it should be."""
    async with World() as world:
        await world.send_many(5)

        async def handle(body: str) -> None:
            await asyncio.sleep(600)

        consumer = await world.start(handle, concurrency=2, prefetch=0, unhealthy_after=60)
        for _ in range(58):
            await asyncio.sleep(10)
            assert consumer.runner.healthy
        await consumer.stop(force=True)


@virtual
async def test_an_idle_queue_is_healthy_with_any_wait() -> None:
    """L15: a long poll of 20 s that brings nothing is good news, also if health is asked of the last second."""
    async with World() as world:
        consumer = await world.start(_nothing, unhealthy_after=1, wait_time=20)
        for _ in range(300):
            await asyncio.sleep(0.33)
            assert consumer.runner.healthy


@pytest.mark.parametrize("seed", range(10))
@virtual
async def test_under_nothing_but_errors_a_poller_makes_about_15_calls_a_minute(seed: int) -> None:
    """L16: exponential with full jitter: 12 calls in the first minute on average, 8 later; and back at once."""
    async with World(seed) as world:
        world.faults.set("ReceiveMessage", unavailable=1.0)
        consumer = await world.start(_nothing, max_pollers=1)
        for _ in range(10):
            before = world.broker.calls["ReceiveMessage"]
            await asyncio.sleep(60)
            assert world.broker.calls["ReceiveMessage"] - before <= 18
        await world.send_many(250)
        world.faults.clear()
        await world.until(lambda: consumer.statistics().receives.calls)
        good = world.now
        await world.until(lambda: not world.bodies())
        assert world.now - good < 0.5


@virtual
async def test_errors_that_will_not_pass_are_met_with_slow_polls() -> None:
    """L18: denied while running: at most six calls a minute, unhealthy with the error said, and it does not exit."""
    async with World() as world:
        consumer = await world.start(_nothing)
        await asyncio.sleep(30)
        world.faults.set("ReceiveMessage", deny=1.0)
        await asyncio.sleep(30)
        before = world.broker.calls["ReceiveMessage"]
        await asyncio.sleep(600)
        assert world.broker.calls["ReceiveMessage"] - before <= 60
        assert not consumer.runner.healthy
        assert "AccessDenied" in str(consumer.runner.problem)
        world.faults.clear()
        await world.until(lambda: consumer.runner.healthy, within=60)
        assert consumer.runner.problem is None


@virtual
async def test_refused_credentials_pause_a_poller_no_longer_than_passing_errors_do() -> None:
    """L16: the client renews them, so receives go on within seconds; the pauses are those of an unavailable service."""
    async with World() as world:
        pauses: list[float] = []
        consumer = await world.start(_nothing, max_pollers=1)
        consumer.events.subscribe(lambda event: pauses.append(event.pause), ReceiveFailed)
        real, world.client.receive = world.client.receive, _expired  # type: ignore[method-assign]
        await world.until(lambda: len(pauses) >= 40, within=1_000, step=0.5)
        world.client.receive = real  # type: ignore[method-assign]
        await world.send("a")
        await world.until(lambda: not world.bodies(), within=16)
        assert max(pauses) <= 15
        assert sum(pauses) / len(pauses) < 10


async def _expired(*_: object, **__: object) -> NoReturn:
    raise SqsError(Verdict.CREDENTIALS, "ExpiredToken", "the token has expired")


@virtual
async def test_a_black_holed_receive_costs_its_wait_and_a_few_seconds() -> None:
    """L17: the poll after the one that is never answered begins within 26 s and a back-off."""
    async with World() as world:
        world.faults.next("ReceiveMessage", hang=1.0)
        consumer = await world.start(_nothing, max_pollers=1)
        await world.send("a")
        await world.until(lambda: not world.bodies(), within=28)
        assert world.now >= 25
        assert consumer.statistics().errors == {"ReadTimeout": 1}


@virtual
async def test_a_start_on_a_queue_that_is_missing_or_denied_fails_fast_and_says_what_to_do() -> None:
    """L18: before anything is received."""
    async with World() as world:
        world.faults.next("GetQueueUrl", deny=1.0)
        with pytest.raises(QueueUnusable, match="sqs:ReceiveMessage"):
            await world.runner(_nothing)
        await world.broker.call("DeleteQueue", {"QueueUrl": world.queue_url})
        with pytest.raises(QueueUnusable, match="create it"):
            await world.runner(_nothing)
        assert world.now < 1


@virtual
async def test_a_queue_deleted_while_running_and_created_again_is_consumed_again() -> None:
    """L18: back off, turn unhealthy, do not exit; and go on when it is there again."""
    async with World() as world:
        consumer = await world.start(_nothing)
        await asyncio.sleep(30)
        await world.broker.call("DeleteQueue", {"QueueUrl": world.queue_url})
        await world.until(lambda: not consumer.runner.healthy, within=60)
        await asyncio.sleep(600)
        assert not consumer.task.done()
        await world.broker.call("CreateQueue", {"QueueName": QUEUE})
        await world.send("a")
        await world.until(lambda: not world.bodies(), within=60)
        assert consumer.runner.healthy


@virtual
async def test_a_consumer_told_to_exit_when_its_queue_is_unusable_stops_and_settles() -> None:
    """L18: `exit_on_unusable` drains what is at work and ends by itself."""
    async with World() as world:
        await world.send("a")
        done: list[float] = []

        async def handle(body: str) -> None:
            await asyncio.sleep(40)
            done.append(world.now)

        consumer = await world.start(handle, exit_on_unusable=True, drain_timeout=60)
        await asyncio.sleep(1)
        world.faults.set("ReceiveMessage", deny=1.0)
        report = await consumer.ended()
        assert done
        assert report.acked == 1


@STRATEGIES
@virtual
async def test_one_message_of_5_minutes_leaves_nine_slots_in_full_use(dispatch: Dispatch) -> None:
    """L19: no head-of-line blocking: 5 min of the other nine slots handle 2,700 messages of 1 s."""
    async with World() as world:
        done: list[str] = []

        async def handle(body: str) -> None:
            await asyncio.sleep(300 if body == "slow" else 1)
            done.append(body)

        await world.send("slow", *["quick"] * 3_000)
        await world.start(handle, concurrency=10, dispatch=dispatch)
        await world.until(lambda: "slow" in done, within=400, step=1)
        assert len(done) > 0.95 * 2_700


@STRATEGIES
@pytest.mark.parametrize(("concurrency", "prefetch"), [(1, 0), (3, 0), (5, 7), (20, 20)])
@virtual
async def test_in_flight_and_waiting_never_exceed_concurrency_and_prefetch(
    dispatch: Dispatch, concurrency: int, prefetch: int
) -> None:
    """L20: room is reserved before the call, so nothing that comes has to be put anywhere else."""
    async with World() as world:
        draw = random.Random(7)
        running = worst_running = worst_held = 0

        async def handle(body: str) -> None:
            nonlocal running, worst_running, worst_held
            running += 1
            worst_running = max(worst_running, running)
            held = world.queue().in_flight - consumer.statistics().ledger.held["acking"]
            worst_held = max(worst_held, held)
            await asyncio.sleep(draw.uniform(0, 0.2))
            running -= 1

        await world.send_many(400)
        world.faults.set("ReceiveMessage", latency=(0.001, 0.1))
        consumer = await world.start(
            handle, concurrency=concurrency, prefetch=prefetch, dispatch=dispatch, ack_interval=0, ack_batch_size=1
        )
        await world.until(lambda: not world.bodies(), within=600, step=0.1)
        assert worst_running <= concurrency
        assert worst_held <= concurrency + prefetch
        assert worst_running == concurrency
        await consumer.stop()


@pytest.mark.slow
@pytest.mark.parametrize(("dispatch", "most"), [("semaphore", 10_000), ("pool", 10_000)])
@virtual
async def test_thousands_of_mixed_failures_later_full_concurrency_is_there(dispatch: Dispatch, most: int) -> None:
    """L20: every path gives its permit back."""
    async with World(max_receives=2) as world:
        draw = random.Random(1)
        failures = 0
        at_once = most_at_once = 0
        calm = False

        async def handle(message: Message[str]) -> object:
            nonlocal failures, at_once, most_at_once
            if calm:
                at_once += 1
                most_at_once = max(most_at_once, at_once)
                await asyncio.sleep(0.4)
                at_once -= 1
                return None
            failures += 1
            match draw.randrange(9):
                case 0:
                    raise RuntimeError("no")
                case 1:
                    raise asyncio.CancelledError
                case 2:
                    raise Retry(draw.randrange(3))
                case 3:
                    return Reject("never")
                case 4:
                    await asyncio.sleep(100)  # into the time-out
                case 5:
                    message.retry(0)
                    raise RuntimeError("after settling")
                case 6:
                    message.withhold()
                    message.retry(0)
                case 7:
                    raise KeyboardInterrupt
                case _:
                    message.ack()
                    raise TimeoutError
            return None

        async def feed() -> None:
            while failures < most:
                if world.queue().visible < 200:
                    await world.send_many(500)
                await asyncio.sleep(0.05)

        silent = logging.getLogger("silent")  # ten thousand tracebacks take longer to write than to cause
        silent.disabled = True
        consumer = await world.start(
            handle, concurrency=10, handler_timeout=0.5, dispatch=dispatch, retry_base=0.1, logger=silent
        )
        await feed()
        calm = True
        await world.broker.call("PurgeQueue", {"QueueUrl": world.queue_url})
        await asyncio.sleep(60)
        await world.send_many(100)
        await asyncio.sleep(15)
        assert most_at_once == 10
        assert world.queue(DEAD_LETTERS).visible > 100
        await consumer.stop(force=True)


class _Later(Retry):
    """A user's own, with times in words."""

    def __init__(self, after: str) -> None:
        self.after = after  # type: ignore[assignment]  # which is the point


class _NoSuchCustomer(Reject):
    """A user's own, which does not call `Reject.__init__`."""

    def __init__(self, customer: int) -> None:
        self.customer = customer


@virtual
async def test_an_outcome_that_cannot_be_settled_gives_its_permit_and_its_message_back() -> None:
    """L20: places are free again, and the message comes again instead of staying invisible."""
    async with World() as world:
        await world.send_many(5)

        async def handle(message: Message[str]) -> None:
            if message.receive_count == 1:
                raise _Later("soon")

        consumer = await world.start(handle, concurrency=5, prefetch=0)
        await world.until(lambda: not world.bodies(), within=60)
        await consumer.stop()


@virtual
async def test_a_reject_of_the_users_own_that_calls_no_super_is_a_reject() -> None:
    """L30, L20: it is copied and deleted, and its place is free."""
    async with World(max_receives=5) as world:
        await world.send_many(5)

        async def handle(body: int) -> None:
            raise _NoSuchCustomer(body)

        consumer = await world.start(handle, concurrency=5, prefetch=0)
        await world.until(lambda: not world.bodies(), within=60)
        assert len(world.bodies(DEAD_LETTERS)) == 5
        assert (await consumer.stop()).rejected == 5


@virtual
async def test_messages_that_no_thread_can_be_started_for_are_given_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """L20, L15: no more are taken in than there are places, none is kept, and all are handled in the end."""
    start, exhausted = threading.Thread.start, True

    def fail(thread: threading.Thread) -> None:
        if exhausted and thread.name.startswith("leasekeeper-"):
            raise RuntimeError("can't start new thread")
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", fail)
    async with World() as world:
        await world.send_many(50)
        done: list[str] = []

        def handle(body: str) -> None:
            done.append(body)

        consumer = await world.start(handle, concurrency=10, prefetch=0, pollers=1)
        for _ in range(200):
            await asyncio.sleep(0.1)
            held = consumer.statistics()
            assert held.slots_taken + held.ledger.held["releasing"] <= 20
        assert consumer.statistics().receives.failed > 3
        exhausted = False
        await world.until(lambda: not world.bodies(), within=36_000)  # threads take real time, of which this is little
        assert sorted(done) == sorted(map(str, range(50)))
        await consumer.stop()


@virtual
async def test_acks_under_way_count_against_max_in_flight_and_their_end_makes_room() -> None:
    """L20: with as many in flight as allowed, polling goes on as soon as deletes are confirmed."""
    async with World() as world:
        await world.send_many(100)
        world.faults.set("DeleteMessageBatch", latency=1.0)
        consumer = await world.start(_nothing, concurrency=10, max_in_flight=10, prefetch=0)
        await world.until(lambda: not world.bodies(), within=60)
        await consumer.stop()


@virtual
async def test_releases_under_way_count_against_max_in_flight_and_their_end_makes_room() -> None:
    """L20: the same for messages that are being given back."""
    async with World() as world:
        await world.send_many(30)

        async def handle(message: Message[str]) -> Retry | None:
            return Retry(5) if message.receive_count == 1 else None

        world.faults.set("ChangeMessageVisibilityBatch", latency=1.0)
        consumer = await world.start(handle, concurrency=10, max_in_flight=10, prefetch=0)
        await world.until(lambda: not world.bodies(), within=120)
        await consumer.stop()


@virtual
async def test_leases_lost_make_room_under_max_in_flight() -> None:
    """L20: messages lost in the ack buffer's or anybody's hands are not held against `max_in_flight`."""
    async with World() as world:
        await world.send_many(10)
        world.faults.set("DeleteMessageBatch", hang=1.0)
        world.faults.set("ChangeMessageVisibilityBatch", hang=1.0)
        consumer = await world.start(
            _nothing, concurrency=10, max_in_flight=10, prefetch=0, visibility_timeout=10, remember_finished=0
        )
        await asyncio.sleep(60)
        before = world.broker.calls["ReceiveMessage"]
        world.faults.clear()
        await world.until(lambda: not world.bodies(), within=60)
        assert world.broker.calls["ReceiveMessage"] > before
        await consumer.stop()


@virtual
async def test_leases_of_rejects_that_end_unheard_make_room_under_max_in_flight() -> None:
    """L20, L15: when an outage takes copies and leases alike, polling goes on after it."""
    async with World(max_receives=50) as world:
        await world.send_many(10)

        async def handle(body: str) -> None:
            raise Reject("never")

        world.faults.set("SendMessageBatch", hang=1.0)
        world.faults.set("ChangeMessageVisibilityBatch", hang=1.0)
        consumer = await world.start(
            handle, concurrency=10, max_in_flight=10, prefetch=0, pollers=1, visibility_timeout=3
        )
        await asyncio.sleep(60)
        world.faults.clear()
        await world.until(lambda: len(world.bodies(DEAD_LETTERS)) >= 10, within=60)
        await consumer.stop()


@virtual
async def test_idle_is_one_long_poll() -> None:
    """L21: three calls a minute at 20 s, a day long."""
    async with World() as world:
        await world.start(_nothing)
        await asyncio.sleep(86_400)
        assert world.broker.calls["ReceiveMessage"] == 3 * 24 * 60


@virtual
async def test_a_burst_reaches_all_pollers_and_silence_brings_them_down_to_one() -> None:
    """L21: within a few round trips up, with short batches down, and 3 calls a minute again."""
    async with World() as world:
        world.faults.set("ReceiveMessage", latency=0.02)
        consumer = await world.start(lasting(0.02), concurrency=200, max_pollers=10)
        await asyncio.sleep(60)
        assert consumer.statistics().pollers == 1
        await world.send_many(3_000)
        began = world.now
        await world.until(lambda: len(world.bodies()) < 3_000)
        await world.until(lambda: consumer.statistics().pollers >= 8, within=1)
        assert world.now - began < 0.3
        await world.until(lambda: not world.bodies())
        await asyncio.sleep(60)
        assert consumer.statistics().pollers == 1
        before = world.broker.calls["ReceiveMessage"]
        await asyncio.sleep(600)
        assert world.broker.calls["ReceiveMessage"] - before <= 31


@virtual
async def test_a_throttling_storm_is_ridden_out() -> None:
    """L16: half of all calls throttled: everything is handled once, and deletes are confirmed."""
    async with World() as world:
        await world.send_many(200)
        for operation in ("ReceiveMessage", "DeleteMessageBatch", "ChangeMessageVisibilityBatch"):
            world.faults.set(operation, throttle=0.5)
        consumer = await world.start(lasting(0.5), concurrency=10)
        await world.until(lambda: not world.bodies(), within=600, step=0.1)
        report = await consumer.stop()
        assert (report.handled, report.acked, report.lost) == (200, 200, 0)


def lasting(seconds: float) -> Callable[[str], Coroutine[None, None, None]]:
    """A handler that takes that long."""

    async def handle(body: str) -> None:
        await asyncio.sleep(seconds)

    return handle


@virtual
async def test_empty_answers_that_do_not_wait_make_no_hot_loop() -> None:
    """L21: short polls, or a server that takes no notice of the wait, cost a call every 1.6 s and poller."""
    async with World() as world:
        await world.start(_nothing, wait_time=0)
        await asyncio.sleep(100)
        assert 50 < world.broker.calls["ReceiveMessage"] <= 100 / 1.6 + 5
        await world.send("a")
        await world.until(lambda: not world.bodies(), within=3)


@virtual
async def test_the_lag_of_first_receives_is_measured() -> None:
    async with World() as world:
        await world.send("a")
        await asyncio.sleep(7)
        consumer = await world.start(_nothing)
        await world.until(lambda: not world.bodies())
        now = consumer.statistics()
        assert 7 <= now.receives.lag < 8


class Endless:
    """A queue that always has ten messages, in 50 ms; the tenth call of the second poller fails."""

    def __init__(self) -> None:
        self.calls = self.out = self.number = 0
        self.failed = False

    async def receive(self, _url: str, *, maximum: int, **_: Any) -> list[Received]:
        self.calls, self.out = self.calls + 1, self.out + 1
        try:
            if self.calls == 20 and self.out == 2:  # the second poller's
                self.failed = True
                raise SqsError(Verdict.THROTTLED, "Throttled", "once")
            await asyncio.sleep(0.05)
            self.number += maximum
            return [
                Received(message_id=f"m{each}", receipt=f"r{each}")
                for each in range(self.number - maximum, self.number)
            ]
        finally:
            self.out -= 1

    async def delete_batch(self, _url: str, receipts: Sequence[str]) -> list[None]:
        await asyncio.sleep(0.01)
        return [None] * len(receipts)


@virtual
async def test_a_poller_that_ended_after_an_error_comes_back() -> None:
    """L16, L21: of two, one fails, is not wanted for a moment, and ends; both are wanted again before anybody looks."""
    client: Any = Endless()
    loop = asyncio.get_running_loop()
    runner = Runner(
        SourceQueue(name="q", url="http://localhost/0/q"),
        client,
        Handler(_briefly, queue="q"),
        Options(concurrency=100, max_pollers=2, poll_grace=0.0),
        application=loop,
        emit=lambda _event: None,
        clock=loop.time,
        draw=lambda: 0.0,
    )
    running = asyncio.create_task(runner.run(lambda: None))
    await asyncio.sleep(2)
    assert client.failed
    before = client.calls
    await asyncio.sleep(5)
    assert runner.snapshot().pollers == 2
    assert client.calls - before == pytest.approx(200, abs=4)
    runner.stop()
    await running


async def _briefly(_body: str) -> None:
    await asyncio.sleep(0.001)
