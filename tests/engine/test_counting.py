"""What is counted of a message, whatever way it ends: exactly one of the counters of `WorkStatistics` goes up."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING

import pytest

from leasekeeper.message import Message  # noqa: TC001 - a handler's annotation is read at run time
from leasekeeper.outcomes import Reject, Retry
from leasekeeper.testing.world import World, virtual

if TYPE_CHECKING:
    from leasekeeper.observe.counts import WorkStatistics

ONE_OF = ("done", "failed", "retried", "rejected", "not_started", "ended")


def counted(work: WorkStatistics) -> dict[str, int]:
    return {name: getattr(work, name) for name in ONE_OF if getattr(work, name)}


@pytest.mark.parametrize(
    ("early", "end", "counter"),
    [
        ("ack", "return", "done"),
        ("ack", "raise", "failed"),
        ("ack", "retry", "done"),
        ("ack", "reject", "done"),
        ("ack", "withhold", "done"),
        ("retry", "return", "retried"),
        ("retry", "raise", "failed"),
        ("retry", "reject", "retried"),
        ("retry", "withhold", "retried"),
    ],
)
@virtual
async def test_a_message_that_is_settled_early_is_counted_once(
    early: str, end: str, counter: str, caplog: pytest.LogCaptureFixture
) -> None:
    """The first settlement wins, and the end of the handler says what is counted."""
    async with World(max_receives=5) as world:
        await world.send("a")

        async def handle(message: Message[str]) -> object:
            if early == "ack":
                message.ack()
            else:
                message.retry(900)
            if end == "raise":
                raise RuntimeError
            if end == "withhold":
                message.withhold()
            return {"retry": Retry(5), "reject": Reject("no")}.get(end)

        consumer = await world.start(handle)
        await asyncio.sleep(5)
        report = await consumer.stop()
        assert counted(consumer.statistics().work) == {counter: 1}
        assert (report.acked, report.released) == ((1, 0) if early == "ack" else (0, 1))
        assert world.bodies("orders-dead") == []
        if end in {"raise", "reject"}:
            assert "it had been settled before" in caplog.text


@pytest.mark.parametrize(("later", "counter"), [("ack", "done"), ("retry", "retried"), ("", "ended")])
@virtual
async def test_a_withheld_message_is_counted_when_it_is_settled(later: str, counter: str) -> None:
    async with World() as world:
        await world.send("a")

        async def handle(message: Message[str]) -> None:
            message.withhold()
            if later:
                settle = message.ack if later == "ack" else lambda: message.retry(900)
                asyncio.get_running_loop().call_later(1, settle)

        consumer = await world.start(handle)
        await asyncio.sleep(0.5)
        assert counted(consumer.statistics().work) == {}
        await asyncio.sleep(2)
        await consumer.stop(force=True)
        assert counted(consumer.statistics().work) == {counter: 1}


@virtual
async def test_the_number_of_handlers_left_is_that_of_those_which_run() -> None:
    """L22: what still waited at the deadline of the stop was given back, and is not among them."""
    async with World() as world:
        await world.send_many(10)
        go_on = threading.Event()
        lines: list[str] = []

        def handle(_body: str) -> None:
            go_on.wait(60)

        consumer = await world.start(
            handle, concurrency=1, prefetch=9, throttle=False, on_unstarted="run", drain_timeout=2
        )
        consumer.events.subscribe(lambda event: lines.append(repr(event)))
        await world.until(lambda: consumer.statistics().lane.waiting == 9)
        report = await consumer.stop()
        go_on.set()
        assert any("HandlersLeft" in line and "count=1," in line for line in lines), lines
        assert report.released == 9


@virtual
async def test_the_figures_of_a_report_can_be_added_up() -> None:
    """What failed and comes again is counted where its message ended, and not beside it."""
    async with World() as world:
        go_on = asyncio.Event()

        async def handle(body: str) -> None:
            if body == "fail":
                raise ValueError(body)
            if body == "reject":
                raise Reject(body)
            if body == "retry":
                raise Retry(600)
            if body == "wait":
                await go_on.wait()

        ends = [*["done"] * 7, *["fail"] * 3, "reject", "retry", *["wait"] * 6]
        await world.send(*ends)
        consumer = await world.start(
            handle, concurrency=2, prefetch=18, retry_base=600, throttle=False, drain_timeout=1
        )
        await world.until(lambda: consumer.statistics().lane.running == 2 and consumer.statistics().work.done == 7)
        report = await consumer.stop()

        assert report.ends == {
            "done": 7,
            "skipped": 0,
            "dead_letters": 0,
            "known_duplicates": 0,
            "taken_over": 0,
            "released": 11,
            "gone": 0,
            "unsettled": 0,
        }
        assert sum(report.ends.values()) == report.received == len(ends)
        assert report.given_back == {"failed": 3, "rejected": 1, "retried": 1, "not_started": 4, "ended": 2}
        assert sum(report.given_back.values()) == report.released
        assert report.acked == report.done + report.skipped + report.dead_letters + report.known_duplicates
        assert (report.failed, report.handled) == (3, 7)
        assert "18 received: 7 done, 11 given back (" in str(report)
