"""Idempotency keys and their stores: the sentences about them in `docs/reference/errors.md`."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from leasekeeper import Table
from leasekeeper.idempotency import Idempotency, MemoryStore
from leasekeeper.testing.world import World, virtual

if TYPE_CHECKING:
    import pytest

PAGE = (Path(__file__).parents[1] / "docs" / "reference" / "errors.md").read_text()


KEEP = timedelta(days=30)


class Down(MemoryStore):
    """A store whose server does not answer."""

    inline = False

    async def claim(self, *_: Any, **__: Any) -> Any:
        raise ConnectionRefusedError("store:6379")

    def __repr__(self) -> str:
        return "<RedisStore, store:6379/0>"


async def ship(_body: dict[str, Any]) -> None:
    raise AssertionError("it does not run")


async def said(store: MemoryStore, body: str, caplog: pytest.LogCaptureFixture) -> list[str]:
    """What is logged of one message."""
    async with World(max_receives=5) as world:
        [message_id] = await world.send(body)
        await world.start(ship, idempotency=Idempotency(store, key="id", keep=KEEP), retry=Table(600))
        await world.until(lambda: bool(caplog.records))
    return [record.getMessage().replace(message_id, "<id>") for record in caplog.records]


@virtual
async def test_a_store_that_is_down(caplog: pytest.LogCaptureFixture) -> None:
    sentence, *_ = await said(Down(), '{"id": 1}', caplog)
    assert f"`{sentence}`" in PAGE


@virtual
async def test_a_message_without_a_key(caplog: pytest.LogCaptureFixture) -> None:
    await said(MemoryStore(), "{}", caplog)
    assert caplog.records[0].exc_info is not None
    sentence = str(caplog.records[0].exc_info[1])
    assert sentence.startswith("message ")
    assert f" {sentence.split(' ', 2)[2]}`" in PAGE
