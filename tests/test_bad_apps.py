"""Apps that cannot work: the sentences about lifespans and several handlers in `docs/reference/errors.md`."""

from __future__ import annotations

import re
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
import pytest

from leasekeeper import ConfigurationError, Leasekeeper, LeasekeeperError
from leasekeeper.local import LocalSqs
from leasekeeper.routing import field
from leasekeeper.testing.world import DEAD_LETTERS, World, virtual

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

PAGE = (Path(__file__).parents[1] / "docs" / "reference" / "errors.md").read_text()


def documented(sentence: object) -> bool:
    """Whether a cell of the page quotes this sentence, word for word; marks of code do not count."""
    return f" {_plain(str(sentence))} |" in _plain(PAGE)


def _plain(text: str) -> str:
    return " ".join(text.replace("`", "").split())


async def first(body: dict[str, Any]) -> None: ...


async def second(body: dict[str, Any]) -> None: ...


def two(first: str, second: str) -> None: ...


def test_two_handlers_for_the_same_messages_are_refused() -> None:
    app = Leasekeeper()
    app.consumer("orders")(first)
    with pytest.raises(ConfigurationError) as refusal:
        app.consumer("orders")(second)
    assert documented(refusal.value)


def test_an_option_given_twice_is_refused() -> None:
    app = Leasekeeper()
    app.consumer("orders", concurrency=5)(first)
    with pytest.raises(ConfigurationError) as refusal:
        app.consumer("orders", when=field("type") == "x", concurrency=10)(second)
    assert documented(refusal.value)


@virtual
async def test_a_message_that_no_handler_takes_is_rejected(caplog: pytest.LogCaptureFixture) -> None:
    async with World(max_receives=9) as world:
        await world.start([(first, field("type") == "a"), (second, field("type") == "b")])
        [message_id] = await world.send("c")
        await world.until(lambda: world.bodies(DEAD_LETTERS))
    [said] = [record.getMessage() for record in caplog.records if "rejected" in record.getMessage()]
    assert documented(said.replace(message_id, "<id>"))


async def resources(app: Leasekeeper) -> AsyncIterator[None]:
    yield


def test_a_lifespan_that_is_not_decorated_is_refused() -> None:
    with pytest.raises(ConfigurationError) as refusal:
        Leasekeeper(lifespan=resources)  # type: ignore[arg-type]  # the mistake that is tried
    assert documented(refusal.value)


class Db: ...


@dataclass
class Resources:
    db: Db


@pytest.fixture(scope="module")
def sqs() -> Iterator[LocalSqs]:
    with LocalSqs() as server:
        boto3.client(
            "sqs",
            endpoint_url=server.endpoint_url,
            region_name="eu-west-1",
            aws_access_key_id="fake",
            aws_secret_access_key="fake",
        ).create_queue(QueueName="orders")
        yield server


def _app(sqs: LocalSqs, lifespan: Any, handler: Any = first) -> Leasekeeper:
    lifespan.__name__ = lifespan.__qualname__ = "resources"
    app = Leasekeeper(
        lifespan=lifespan, endpoint_url=sqs.endpoint_url, region="eu-west-1", poll_grace=0.05, lifespan_timeout=0.1
    )
    app.consumer("orders")(handler)
    return app


@asynccontextmanager
async def _failing(app: Leasekeeper) -> AsyncIterator[None]:
    raise ConnectionRefusedError("db:5432")
    yield


@asynccontextmanager
async def _yielding(app: Leasekeeper) -> AsyncIterator[Resources]:
    yield Resources(Db())


@asynccontextmanager
async def _never_closing(app: Leasekeeper) -> AsyncIterator[None]:
    import asyncio

    yield
    await asyncio.Event().wait()


@asynccontextmanager
async def _failing_to_close(app: Leasekeeper) -> AsyncIterator[None]:
    yield
    raise OSError("gone")


@pytest.mark.slow
@pytest.mark.parametrize(("lifespan", "handler"), [(_failing, first), (_yielding, two)])
def test_a_start_fails(lifespan: Any, handler: Any, sqs: LocalSqs) -> None:
    with pytest.raises(LeasekeeperError) as failure:
        _app(sqs, lifespan, handler).start()
    assert documented(failure.value)


@pytest.mark.slow
@pytest.mark.parametrize("lifespan", [_never_closing, _failing_to_close])
def test_a_lifespan_does_not_close_well(lifespan: Any, sqs: LocalSqs, caplog: pytest.LogCaptureFixture) -> None:
    app = _app(sqs, lifespan)
    app.start()
    app.stop()
    [said] = [record.getMessage() for record in caplog.records]
    assert re.search(rf"\| `{re.escape(said)}`( with the traceback)? \|", PAGE)
