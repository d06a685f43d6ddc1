"""The check for idempotency finds handlers that are not, and passes those that are."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from leasekeeper import Consumer, Message
from leasekeeper.testing.idempotency import assert_idempotent

table: dict[int, int] = {}
mails: list[int] = []


@pytest.fixture(autouse=True)
def _empty() -> None:
    reset()


def reset() -> None:
    table.clear()
    mails.clear()


def state() -> object:
    return dict(table), list(mails)


async def good(order: dict[str, int]) -> None:
    await asyncio.sleep(0)
    table[order["id"]] = order["total"]
    await asyncio.sleep(0)


async def counts(order: dict[str, int]) -> None:
    table[order["id"]] = table.get(order["id"], 0) + order["total"]


async def checks_too_late(order: dict[str, int]) -> None:
    """It is done twice if the process ends between the two."""
    if order["id"] in table:
        return
    mails.append(order["id"])
    await asyncio.sleep(0)
    table[order["id"]] = 1


def plain_checks_too_late(order: dict[str, int]) -> None:
    if order["id"] in table:
        return
    mails.append(order["id"])
    table[order["id"]] = 1


def plain_good(order: dict[str, int]) -> None:
    table[order["id"]] = order["total"]
    if order["id"] not in mails:
        mails.append(order["id"])


@pytest.mark.parametrize("handler", [good, plain_good])
def test_a_handler_that_may_run_twice_passes(handler: Any) -> None:
    assert_idempotent(handler, {"id": 1, "total": 5}, state=state, reset=reset)
    assert_idempotent(Consumer("orders", handler, region="eu-west-1"), {"id": 1, "total": 5}, state=state, reset=reset)
    assert state() == ({}, [])


def test_a_handler_that_adds_up_is_found() -> None:
    with pytest.raises(AssertionError) as found:
        assert_idempotent(counts, {"id": 1, "total": 5}, state=state)
    assert str(found.value) == (
        "not idempotent: after one run the state is ({1: 5}, []), after a second run it is ({1: 10}, [])"
    )


@pytest.mark.parametrize(
    ("handler", "where"),
    [(checks_too_late, "at wait 1 of it"), (plain_checks_too_late, "before line 5")],
)
def test_a_crash_in_the_middle_is_found(handler: Any, where: str) -> None:
    with pytest.raises(AssertionError) as found:
        assert_idempotent(handler, {"id": 1, "total": 5}, state=state, reset=reset)
    assert f"after a crash {where} and another run it is ({{1: 1}}, [1, 1])" in str(found.value)


def test_a_consumer_crashes_too() -> None:
    with pytest.raises(AssertionError, match="a crash at wait 1 of it"):
        assert_idempotent(
            Consumer("orders", checks_too_late, region="eu-west-1"), {"id": 1, "total": 5}, state=state, reset=reset
        )


def test_a_run_that_fails_is_no_proof() -> None:
    def fails_again(message: Message[str]) -> None:
        if message.receive_count > 1:
            raise ValueError("a unique constraint")

    with pytest.raises(AssertionError, match="the second run does not end well") as found:
        assert_idempotent(fails_again, "x")
    assert isinstance(found.value.__cause__, ValueError)
