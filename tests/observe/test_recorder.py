"""What a recorder knows of the last minute: rates, failures without bodies, decisions, leases and the backlog."""

from __future__ import annotations

import asyncio
import math
from typing import Any

import msgspec
import pytest

from leasekeeper import events
from leasekeeper.api import EntryFailure
from leasekeeper.channel import Channel
from leasekeeper.engine.queue_counts import QueueCounts
from leasekeeper.errors import Verdict
from leasekeeper.events import Conclusion
from leasekeeper.message import Received
from leasekeeper.observe.backlog import Backlog
from leasekeeper.observe.failures import GROUPS, IDS, Failures
from leasekeeper.observe.masking import masked
from leasekeeper.observe.rates import KEPT, Rates, Sample
from leasekeeper.observe.recorder import Recorder
from leasekeeper.outcomes import DONE, Failed, Reject
from leasekeeper.schedules import Exponential
from leasekeeper.testing.world import World, virtual

CANARY = "canary-6ba1d0"


def conclusion(error: BaseException, *, body: str = "{}", name: str = "m") -> Conclusion:
    outcome = error if isinstance(error, Reject) else Failed(error)
    return Conclusion(Received(message_id=name, receipt="r", body=body), "ship", outcome, "failed")


def raised(error: BaseException, cause: BaseException | None = None) -> BaseException:
    def fail() -> None:
        raise error from cause

    with pytest.raises(type(error)) as caught:
        fail()
    return caught.value


@pytest.mark.parametrize(
    ("text", "body", "shown"),
    [
        ("no such customer: 4711", '{"customer": "4711"}', "no such customer: ***"),
        ("invalid literal for int(): '12a'", '{"count": "12a"}', "invalid literal for int(): '***'"),
        (
            "no address for Jürgen Müller, 12 Main Street",
            '{"to": ["Jürgen Müller"]}',
            "no address for ***, 12 Main Street",
        ),
        ("17.5 is too much", '{"price": {"amount": 1234.5, "tax": 17.5}}', "17.5 is too much"),
        ("got 1234.5", '{"price": {"amount": 1234.5}}', "got ***.5"),
        (f"bad body {CANARY}!", CANARY, "bad body ***!"),
        ("connection refused", "", "connection refused"),
        ("true is not a number", '{"gift": true, "note": null}', "true is not a number"),
    ],
)
def test_errors_do_not_quote_the_body(text: str, body: str, shown: str) -> None:
    assert masked(text, body) == shown


def test_failures_are_grouped_by_exception_and_place() -> None:
    failures = Failures()
    for number in range(IDS + 5):
        failures.add(conclusion(raised(ValueError(f"no {number}")), name=f"m{number}"), at=100.0 + number)
    failures.add(conclusion(raised(KeyError("x")), name="k"), at=200.0)
    newest, older = failures.newest_first()
    assert (newest.type, newest.count, list(newest.ids)) == ("KeyError", 1, ["k"])
    assert older.type == "ValueError"
    assert older.where.startswith("test_recorder.py:")
    assert older.where.endswith(" in raised.<locals>.fail")
    assert (older.count, older.first, older.last) == (IDS + 5, 100.0, 104.0 + IDS)
    assert (len(older.ids), list(older.ids)[-1]) == (IDS, f"m{IDS + 4}")
    assert older.message == f"no {IDS + 4}"


def test_a_message_that_fails_again_is_listed_once_with_its_newest_attempt() -> None:
    failures = Failures()
    for name, attempt in (("a", 1), ("b", 1), ("a", 2)):
        failures.add(msgspec.structs.replace(conclusion(raised(ValueError("no")), name=name), attempt=attempt), at=1.0)
    (group,) = failures.newest_first()
    assert (group.count, list(group.ids.items())) == (3, [("b", 1), ("a", 2)])


def test_no_body_is_in_a_failure_nor_kept_by_it() -> None:
    """Neither in the text, nor in that of its cause, nor in the traceback."""
    failures = Failures()
    body = f'{{"secret": "{CANARY}"}}'
    error = raised(ValueError(f"bad {CANARY}"), raised(KeyError(CANARY)))
    failures.add(conclusion(error, body=body), at=1.0)
    (group,) = failures.newest_first()
    assert CANARY not in group.message + group.traceback + group.where
    assert "The above exception was the direct cause" in group.traceback
    assert group.traceback.splitlines()[0] == "Traceback (most recent call last):"
    assert "raise error from cause" in group.traceback
    assert group.traceback.endswith("ValueError: bad ***")


def test_the_text_of_a_group_is_taken_once_a_second() -> None:
    failures = Failures()
    shown = []
    for text, at in (("first", 10.0), ("second", 10.5), ("third", 11.1)):
        failures.add(conclusion(raised(OSError(text))), at=at)
        shown += [(group.message, group.count) for group in failures.newest_first()]
    assert shown == [("first", 1), ("first", 2), ("third", 3)]


def test_groups_are_bounded_and_those_that_failed_last_stay() -> None:
    failures = Failures()
    kinds = [type(f"E{number}", (Exception,), {}) for number in range(GROUPS + 10)]
    for kind in kinds:
        failures.add(conclusion(kinds[0]()), at=0.0)
        failures.add(conclusion(kind()), at=1.0)
    found = failures.newest_first()
    assert len(found) == GROUPS
    assert any(group.type.endswith(".E0") for group in found)
    assert not any(group.type.endswith(".E5") for group in found)


def test_rejections_count_and_what_was_done_does_not() -> None:
    failures = Failures()
    failures.add(conclusion(Reject("no such customer: 4711"), body='{"customer": 4711}'), at=1.0)
    failures.add(Conclusion(Received(message_id="m", receipt="r"), "ship", DONE, "done"), at=1.0)
    (group,) = failures.newest_first()
    assert (group.type, group.where, group.message) == ("Reject", "ship", "no such customer: ***")


def test_how_long_nothing_has_ended_well() -> None:
    rates = Rates()
    assert rates.since_done == 0
    for second in range(10):
        rates.add(Sample(float(second), 10 * second, min(second, 4), second, second))
    assert rates.since_done == 5


def test_rates_are_of_the_last_seconds() -> None:
    rates = Rates()
    assert (rates.received, rates.done, rates.failures_a_minute, rates.calls_per_message) == (0, 0, 0, None)
    for second in range(100):
        rates.add(Sample(float(second), 10 * second, 5 * second, second, 2 * second))
    assert (rates.received, rates.done, rates.done_over_a_minute) == (10, 5, 5)
    assert (rates.failures_a_minute, rates.calls_per_message) == (KEPT, 0.4)
    assert rates.by_second("received") == [10.0] * KEPT
    rates.add(Sample(100.0, 0, 0, 0, 0))  # the consumer was started again
    assert rates.received == 0
    rates.add(Sample(101.0, 3, 0, 0, 1))
    assert rates.by_second("received") == [0.0] * (KEPT - 1) + [3.0]


def test_a_new_message_counts_for_a_minute_and_one_that_comes_again_does_not() -> None:
    rates = Rates()
    assert not rates.new_lately
    rates.add(Sample(0.0, 3, 0, 0, 0, 3))
    assert rates.new_lately  # since the start
    for second in range(1, KEPT + 1):
        rates.add(Sample(float(second), 3 + second, 3, 0, 0, 3))
    assert not rates.new_lately
    rates.add(Sample(KEPT + 1.0, 80, 3, 0, 0, 4))
    assert rates.new_lately


@virtual
async def test_the_lag_of_a_message_is_measured_once() -> None:
    async def fail(_body: str) -> None:
        raise ValueError

    async with World() as world:
        await world.send("a")
        running = await world.start(fail, retry=Exponential(base=20, maximum=20, jitter="none"))
        await asyncio.sleep(90)
        received = running.statistics().receives
        assert (received.messages, received.lags) == (5, 1)
        recorder = Recorder(Source())
        recorder.look(running.statistics(), world.now)
        assert recorder.rates.new_lately
        for _ in range(KEPT):
            await asyncio.sleep(1)
            recorder.look(running.statistics(), world.now)
        assert running.statistics().receives.messages > 5
        assert not recorder.rates.new_lately


def test_a_backlog_is_out_of_date_when_nothing_is_received_of_it() -> None:
    backlog = Backlog()
    assert not backlog.outdated(1)
    backlog.ask(100.0, empty=3, early=False)
    backlog.add(100.1, QueueCounts(visible=7, in_flight=0, delayed=0, dead_letters=None))
    assert not backlog.outdated(3)
    assert backlog.outdated(4)
    backlog.ask(105.0, empty=4, early=True)
    assert not backlog.outdated(5)  # once is enough: a blocked FIFO queue stays so
    backlog.ask(130.0, empty=9, early=False)
    assert backlog.outdated(10)
    backlog.add(130.1, QueueCounts(visible=0, in_flight=0, delayed=0, dead_letters=None))
    assert not backlog.outdated(10)


def test_the_trend_of_the_backlog_is_that_of_the_last_answers() -> None:
    backlog = Backlog()
    assert (backlog.last, backlog.trend) == (None, None)
    for at, visible in ((0.0, 100), (30.0, 70), (60.0, 40)):
        backlog.add(at, QueueCounts(visible=visible, in_flight=1, delayed=0, dead_letters=None))
    assert backlog.last is not None
    assert backlog.last.counts.visible == 40
    assert backlog.trend is not None
    assert math.isclose(backlog.trend, -1.0)


class Source:
    """A channel as a consumer has it."""

    def __init__(self) -> None:
        self.channel = Channel()

    def subscribe(self, subscriber: Any, *kinds: type[events.Event]) -> None:
        self.channel.subscribe(subscriber, *kinds)


def test_what_happens_to_leases_is_kept_with_reasons() -> None:
    source = Source()
    recorder = Recorder(source)
    source.channel.emit(events.LeaseLost("orders", "m1"))
    failure = EntryFailure(Verdict.THROTTLED, "Throttled", "Slow down.", sender_fault=False)
    failed = events.EntriesFailed("orders", "ChangeMessageVisibilityBatch", [("m2", failure)], heartbeat=True)
    source.channel.emit(failed)
    source.channel.emit(events.EntriesFailed("orders", "DeleteMessageBatch", [("m3", failure)]))
    newest, older = recorder.leases()
    assert (older.what, older.message_id, older.leases) == ("lost", "m1", 1)
    assert (newest.what, newest.message_id) == ("failed", "m2")
    assert newest.reason == "Throttled: Slow down; it is tried again"
