"""Messages that fail: the sentences about them in `docs/reference/errors.md`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from leasekeeper import Reject, Retries, Table
from leasekeeper.testing.world import DEAD_LETTERS, World, virtual

if TYPE_CHECKING:
    import pytest

PAGE = (Path(__file__).parents[1] / "docs" / "reference" / "errors.md").read_text()


def documented(record: Any) -> bool:
    """Whether the page quotes this record, word for word; marks of code do not count."""
    sentence = record.getMessage().replace(record.message_id, "<id>")
    for handler in ("ship", "refuse"):
        sentence = sentence.replace(f"handler {handler}", "handler <handler>")
    return f" {_plain(sentence)} " in _plain(PAGE)


def _plain(text: str) -> str:
    return " ".join(text.replace("`", "").split())


async def ship(_body: str) -> None:
    raise ValueError("no stock")


async def refuse(_body: str) -> None:
    raise Reject("never")


@virtual
async def test_failures_and_the_last_attempt(caplog: pytest.LogCaptureFixture) -> None:
    async with World(max_receives=9) as world:
        await world.send("a")
        await world.start(ship, retry=Table(1), max_attempts=2)
        await world.until(lambda: world.bodies(DEAD_LETTERS))
    first, last = caplog.records
    assert documented(first)
    assert documented(last)


@virtual
async def test_a_failure_on_a_fifo_queue(caplog: pytest.LogCaptureFixture) -> None:
    async with World(max_receives=9, fifo=True) as world:
        await world.send("a")
        await world.start(ship, retry=Table(1), max_attempts=2)
        await world.until(lambda: len(caplog.records) == 2)
    assert documented(caplog.records[0])


@virtual
async def test_a_function_that_raises(caplog: pytest.LogCaptureFixture) -> None:
    def broken(*_: object) -> float:
        raise RuntimeError("no idea")

    async with World(max_receives=9) as world:
        await world.send("a")
        await world.start(ship, retry=Retries(Table(1), on={ValueError: broken}), max_attempts=2)
        await world.until(lambda: world.bodies(DEAD_LETTERS))
    assert documented(caplog.records[0])
    assert documented(caplog.records[1])


@virtual
async def test_copies_that_are_denied_or_have_no_room(caplog: pytest.LogCaptureFixture) -> None:
    async with World(max_receives=9) as world:
        await world.send(
            "a", MessageAttributes={f"a{n}": {"DataType": "String", "StringValue": "v"} for n in range(10)}
        )
        world.faults.set("SendMessageBatch", deny=1.0)
        await world.start(refuse, retry=Table(5))
        await world.until(lambda: any("could not be copied" in record.getMessage() for record in caplog.records))
        world.faults.clear()
        await world.until(lambda: world.bodies(DEAD_LETTERS))
    found = [record for record in caplog.records if " is rejected by " not in record.getMessage()]
    assert len(found) == 2
    assert [documented(record) for record in found] == [True, True], [record.getMessage() for record in found]
