"""The limit on repeated records: ten of one kind in a minute, then one that says how many were left out."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from leasekeeper.observe.repeats import RepeatLimit
from leasekeeper.testing.world import World, virtual

if TYPE_CHECKING:
    import pytest

log = logging.getLogger("leasekeeper")
LEFT_OUT = "like this one"


def messages(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records]


async def _fail(body: str) -> None:
    raise (ValueError if body.isdecimal() else KeyError)(body)


@virtual
async def test_a_flood_of_failures_is_ten_records_and_a_count(caplog: pytest.LogCaptureFixture) -> None:
    async with World() as world:
        await world.send_many(50)
        await world.send("another kind")
        consumer = await world.start(_fail, retry_base=600.0, retry_maximum=600.0)
        await world.until(lambda: consumer.statistics().work.failed == 51)
        assert len([each for each in messages(caplog) if "failed with message" in each]) == 11
        [before] = [record for record in caplog.records if getattr(record, "error", "") == "KeyError"]
        assert before.exc_info is not None
        await world.until(lambda: any(LEFT_OUT in each for each in messages(caplog)), within=61)
        [record] = [record for record in caplog.records if LEFT_OUT in record.getMessage()]
        assert record.getMessage().startswith(
            "40 more records like this one were left out within a minute: queue orders: handler _fail failed with"
        )
        found: Any = record
        assert (found.levelno, found.left_out, found.error) == (logging.WARNING, 40, "ValueError")
        await consumer.stop()


@virtual
async def test_a_stop_says_what_was_left_out(caplog: pytest.LogCaptureFixture) -> None:
    async with World() as world:
        await world.send_many(12)
        consumer = await world.start(_fail, retry_base=600.0, retry_maximum=600.0)
        await world.until(lambda: consumer.statistics().work.failed == 12)
        await consumer.stop()
    assert any(each.startswith("2 more records like this one were left out") for each in messages(caplog))


@virtual
async def test_the_limit_can_be_set_and_switched_off(caplog: pytest.LogCaptureFixture) -> None:
    async with World() as world:
        for number, (repeats, expected) in enumerate([(3, 3), (None, 12)]):
            caplog.clear()
            name = f"q{number}"
            await world.add_queue(name)
            await world.send_many(12, queue=name)
            consumer = await world.start(_fail, queue=name, retry_base=600.0, retry_maximum=600.0, log_repeats=repeats)
            await world.until(lambda: consumer.statistics().work.failed == 12)  # noqa: B023 - done before the next
            found = [each for each in messages(caplog) if "failed with message" in each and LEFT_OUT not in each]
            assert len(found) == expected
            await consumer.stop()


def test_kinds_differ_by_level_sentence_handler_and_error(caplog: pytest.LogCaptureFixture) -> None:
    """Without a loop too: then the next record of the kind, or the flush, says what was left out."""
    limit = RepeatLimit(log, 1)
    kinds: list[tuple[int, str, dict[str, Any]]] = [
        (logging.WARNING, "a %s", {"error": "ValueError"}),
        (logging.ERROR, "a %s", {"error": "ValueError"}),
        (logging.WARNING, "b %s", {"error": "ValueError"}),
        (logging.WARNING, "a %s", {"error": "KeyError"}),
        (logging.WARNING, "a %s", {"error": "KeyError", "handler": "ship"}),
        (logging.WARNING, "a %s", {"code": "AccessDenied"}),
    ]
    for _ in range(2):
        for level, sentence, extra in kinds:
            limit.write(level, sentence, ("x",), raised=None, extra=extra)
    assert len(messages(caplog)) == len(kinds)
    limit.flush()
    assert messages(caplog)[-1] == "1 more record like this one was left out within a minute: a x"
    assert len(messages(caplog)) == 2 * len(kinds)


def test_no_more_than_a_thousand_kinds_are_remembered(caplog: pytest.LogCaptureFixture) -> None:
    limit = RepeatLimit(log, 1)
    for number in range(3_000):
        limit.write(logging.WARNING, "a", (), raised=None, extra={"error": str(number)})
    assert len(limit._windows) <= 1_001
    assert len(caplog.records) == 3_000
