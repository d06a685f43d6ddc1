"""What a message costs: counted, not timed, so that it fails for what we did and not for what else the machine does.

Counts see neither what a single C call costs nor how long memory takes to answer; the benchmarks do.
"""

from __future__ import annotations

import sys

import pytest
from counting import Calls
from lane_costs import LANES, Figures, Lane, count, measure, remaining
from records import COMMAND, VERSION, complaints, load

from leasekeeper.message_context import MessageContext
from leasekeeper.observe.tracing import Tracing

pytestmark = [
    pytest.mark.slow,  # a few seconds in all: each function call and instruction is seen one by one
    pytest.mark.skipif(sys.gettrace() is not None, reason="what traces already, coverage say, would be counted too"),
]

REMAINING = 5.0
"""Blocks of memory that may remain of a thousand messages; one that is kept of each makes a thousand."""
ASYNC_LANES: tuple[Lane, ...] = ("semaphore", "pool")


@pytest.mark.parametrize("lane", LANES)
def test_a_message_costs_what_is_recorded(lane: Lane) -> None:
    """Within the budget, no more than recorded, and not so much less that the gain could be lost again unseen.

    A thread lane has one thread here, which takes turns with the engine, and a somewhat wider tolerance: what the
    thread does before its handler begins may still fall into the engine's turn.
    """
    tables = load()
    found = complaints(lane, measure(lane), tables)
    assert not found, "\n" + "\n".join(found)
    if lane not in tables.get(VERSION, {}):
        pytest.skip(f"within the budget; nothing is recorded for Python {VERSION} to compare with: {COMMAND}")


@pytest.mark.parametrize("lane", LANES)
def test_nothing_remains_of_a_message(lane: Lane) -> None:
    """Nor does it take the collector of cycles to remove it."""
    assert remaining(lane) <= REMAINING


@pytest.mark.parametrize("lane", ASYNC_LANES)
def test_a_message_costs_the_same_however_many_others_are_in_flight(lane: Lane) -> None:
    by_held = {held: count(lane, Calls, held=held, concurrency=21_000) for held in (10, 20_000)}
    few = by_held[10]
    for held, figures in by_held.items():
        for name, value in figures.values.items():
            assert value == pytest.approx(few.values[name], rel=0.05), _said(held, name, value, few, figures)


@pytest.mark.parametrize("lane", ASYNC_LANES)
def test_counts_are_the_same_each_time(lane: Lane) -> None:
    """But for a collection of cycles that falls into one of them, and has a few weak references called."""
    assert count(lane, Calls).values == pytest.approx(count(lane, Calls).values, rel=1e-3)


def test_metrics_and_unsampled_traces_add_the_calls_that_are_stated(monkeypatch: pytest.MonkeyPatch) -> None:
    """`benchmarks/observing.py` counts more; decisions 40 and 42 state it. Seven calls are those of any middleware."""
    monkeypatch.setattr(MessageContext, "span_ids", None)  # `Tracing` sets it for the whole process
    header = "00-5759e988bd862e3fe1be46a994272793-53995c3f42cd8ad8-0"
    bare = count("semaphore", Calls).values["python_calls"]
    measured = count("semaphore", Calls, measured=True).values["python_calls"]
    carrying = count("semaphore", Calls, traceparent=f"{header}1").values["python_calls"]
    unsampled = count("semaphore", Calls, traceparent=f"{header}0", middleware=[Tracing()]).values["python_calls"]
    assert 0.5 < measured - bare < 1.3
    assert unsampled - carrying == pytest.approx(12, abs=0.1)


def _said(held: int, name: str, value: float, few: Figures, figures: Figures) -> str:
    return f"{value:.4g} {name} a message with {held:,} held, {few.values[name]:.4g} with 10\n{figures.largest(name)}"
