"""What a handler may say, and the promise of a settlement."""

from __future__ import annotations

import asyncio
import threading
from datetime import timedelta
from typing import Any

import pytest

from leasekeeper import Reject, Retry, Settled, Settlement
from leasekeeper.outcomes import DONE, ENDED, FREED, NOT_STARTED, WITHHELD, Failed


@pytest.mark.parametrize("after", [None, 0, 0.5, 43_200])
def test_a_retry_may_come_at_any_time_within_twelve_hours(after: float | None) -> None:
    assert Retry(after).after == after


@pytest.mark.parametrize("after", [-0.1, 43_200.5, float("inf"), float("nan")])
def test_a_retry_beyond_sqs_longest_visibility_is_refused(after: float) -> None:
    with pytest.raises(ValueError) as refusal:
        Retry(after=after)
    assert str(refusal.value) == (
        f"Retry(after={after!r}): must be between 0 and 43200 seconds (SQS's longest visibility)"
    )


@pytest.mark.parametrize("after", ["30", timedelta(seconds=30)])
def test_a_retry_takes_seconds(after: Any) -> None:
    with pytest.raises(TypeError) as refusal:
        Retry(after=after)
    assert str(refusal.value) == f"Retry(after={after!r}): must be a number of seconds"


def test_a_reject_has_a_reason() -> None:
    assert (Reject("no such customer").reason, str(Reject("no such customer")), Reject().reason) == (
        "no such customer",
        "no such customer",
        "",
    )


def test_outcomes_without_a_detail_are_the_same_always() -> None:
    for each in (DONE, ENDED, FREED, NOT_STARTED, WITHHELD):
        assert type(each)() == each
        assert repr(each) == f"{type(each).__name__}()"


def test_a_failure_has_its_error() -> None:
    error = ValueError("x")
    assert (Failed(error).error, Failed(error).still_running) == (error, False)


def test_the_first_word_on_a_settlement_stands() -> None:
    settlement = Settlement()
    assert not settlement.done()
    settlement.resolve(Settled.LATE)
    settlement.resolve(Settled.ACKED)
    assert settlement.done()
    assert settlement.result() is Settled.LATE


def test_waiting_for_a_settlement_has_an_end() -> None:
    with pytest.raises(TimeoutError):
        Settlement().result(0)


def test_a_settlement_can_be_awaited_on_any_loop_from_any_thread() -> None:
    """L14."""
    settlement = Settlement()
    waiting = threading.Barrier(3)
    ends: list[Settled] = []

    async def wait() -> None:
        waiting.wait(60)
        async with asyncio.timeout(60):
            ends.append(await settlement)

    threads = [threading.Thread(target=asyncio.run, args=(wait(),)) for _ in range(2)]
    for each in threads:
        each.start()
    waiting.wait(60)
    settlement.resolve(Settled.ACKED)
    for each in threads:
        each.join()
    assert ends == [Settled.ACKED] * 2


def test_who_stops_waiting_does_not_call_the_settlement_off() -> None:
    """L2."""

    async def main() -> Settled:
        settlement = Settlement()
        waiting = asyncio.ensure_future(_await(settlement))
        await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        settlement.resolve(Settled.ACKED)
        return await settlement

    assert asyncio.run(main()) is Settled.ACKED


async def _await(settlement: Settlement) -> Settled:
    return await settlement
