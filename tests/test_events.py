"""The channel of events: order, kinds, and subscribers that raise."""

from __future__ import annotations

import logging

import pytest

from leasekeeper import events
from leasekeeper.channel import Channel


def test_a_subscriber_gets_the_kinds_it_asked_for_in_order() -> None:
    channel = Channel()
    seen: list[object] = []
    channel.subscribe(seen.append, events.LeaseLost, events.StopForced)
    lost, health, stop = events.LeaseLost("q", "m"), events.HealthChanged("q", True, ""), events.StopForced("q", "x")
    for event in (lost, health, stop):
        channel.emit(event)
    assert seen == [lost, stop]


def test_a_subscriber_without_kinds_gets_every_event_whenever_it_subscribed() -> None:
    channel = Channel()
    first: list[object] = []
    some: list[object] = []
    second: list[object] = []
    channel.subscribe(first.append)
    channel.subscribe(some.append, events.LeaseLost)
    channel.subscribe(second.append)
    channel.emit(events.LeaseLost("q", "m"))
    channel.emit(events.StopForced("q", "x"))
    assert (len(first), len(some), len(second)) == (2, 1, 2)


@pytest.mark.parametrize("error", [ValueError, SystemExit, KeyboardInterrupt])
def test_a_subscriber_that_raises_disturbs_nothing(
    error: type[BaseException], caplog: pytest.LogCaptureFixture
) -> None:
    """L15."""
    channel = Channel()
    seen: list[object] = []

    def bad(_event: object) -> None:
        raise error

    channel.subscribe(bad)
    channel.subscribe(seen.append)
    channel.emit(events.StopForced("q", "x"))
    assert len(seen) == 1
    assert channel.failures == {error.__name__: 1}
    assert "a subscriber of events raised" in caplog.text


def test_not_even_a_logger_that_raises_does() -> None:
    """L15."""

    class Bad(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            raise SystemExit(record.getMessage())

    channel, handler = Channel(), Bad()
    channel.subscribe(lambda _event: 1 / 0)
    logging.getLogger("leasekeeper").addHandler(handler)
    try:
        channel.emit(events.StopForced("q", "x"))
    finally:
        logging.getLogger("leasekeeper").removeHandler(handler)
    assert channel.failures == {"ZeroDivisionError": 1}
