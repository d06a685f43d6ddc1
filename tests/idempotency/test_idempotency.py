"""The option `idempotency`: what runs, what does not, and what becomes of the key, for both kinds of handlers."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import threading
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from enum import Enum
from typing import TYPE_CHECKING, Any
from uuid import UUID

import msgspec
import pytest
from pydantic import BaseModel

from leasekeeper import Batch, ConfigurationError, Consumer, Message, Reject, Retry
from leasekeeper.idempotency import MESSAGE_ID, Completed, Idempotency, IdempotencyStatistics, KeyMissing, MemoryStore
from leasekeeper.idempotency.keys import digest
from leasekeeper.outcomes import Done, Skipped, Unclaimed
from leasekeeper.testing.handling import run_handler
from leasekeeper.testing.world import World, virtual

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from leasekeeper.idempotency import Extension
    from leasekeeper.idempotency.api import Found
    from leasekeeper.testing.handling import Handled

BODY = {"id": 1, "amount": 5}
made: list[Any] = []


@pytest.fixture(autouse=True)
def _empty() -> None:
    made.clear()


def both(function: Callable[[Any], Any]) -> tuple[Callable[[Any], Any], Callable[[Any], Any]]:
    """The same handler as a coroutine function and as a function."""

    async def coroutine(message: Message[dict[str, Any]]) -> Any:
        await asyncio.sleep(0)
        return function(message)

    def plain(message: Message[dict[str, Any]]) -> Any:
        return function(message)

    return coroutine, plain


def handled(handler: Callable[..., Any], idempotency: Idempotency, body: object = BODY) -> Handled:
    return run_handler(Consumer("payments", handler, idempotency=idempotency, region="eu-west-1"), body)


class Waiting(MemoryStore):
    """A store that waits, as those with a network do, so that it has a thread."""

    inline = False

    async def claim(self, key: str, token: str, fingerprint: str, lease: float) -> Found:
        await asyncio.sleep(0)
        return await super().claim(key, token, fingerprint, lease)


@pytest.mark.parametrize("kind", [0, 1])
@pytest.mark.parametrize("store", [MemoryStore, Waiting])
def test_a_key_runs_once_and_its_duplicate_is_acked_unrun(kind: int, store: type[MemoryStore]) -> None:
    handler = both(lambda message: made.append(message.body["id"]))[kind]
    idempotency = Idempotency(store(), key="id")
    assert handled(handler, idempotency).outcome == Done()
    assert isinstance(handled(handler, idempotency).outcome, Skipped)
    assert handled(handler, idempotency, {"id": 2}).outcome == Done()
    assert made == [1, 2]
    assert idempotency.statistics() == IdempotencyStatistics(claimed=2, done=1)


@pytest.mark.parametrize("kind", [0, 1])
@pytest.mark.parametrize("end", [ValueError, Retry, Reject, lambda: Retry, asyncio.CancelledError, SystemExit])
def test_a_run_that_does_not_end_well_frees_its_key(kind: int, end: Callable[[], Any]) -> None:
    """Powertools 3.37 keeps the claim of a run that was cancelled."""

    def fail(_: object) -> Any:
        made.append(1)
        ending = end()
        if isinstance(ending, BaseException) and len(made) % 2:
            raise ending
        return ending if not isinstance(ending, BaseException) or isinstance(ending, Retry | Reject) else None

    handler, idempotency = both(fail)[kind], Idempotency(Waiting(), key="id")
    try:
        first = handled(handler, idempotency)
    except asyncio.CancelledError:
        assert kind == 0
    else:
        assert not first.acked
    handled(handler, idempotency)
    assert len(made) == 2


@pytest.mark.parametrize("kind", [0, 1])
def test_a_key_that_runs_elsewhere_is_given_back_until_its_claim_ends(kind: int) -> None:
    idempotency = Idempotency(MemoryStore(), key="id")
    inside: list[Any] = []

    def nested(message: Message[dict[str, Any]]) -> None:
        if not inside:
            inside.append(1)
            found: list[Handled] = []
            other = threading.Thread(target=lambda: found.append(handled(handler, idempotency)))
            other.start()
            other.join()
            inside.append(found[0].outcome)

    handler = both(nested)[kind]
    assert handled(handler, idempotency).acked
    outcome = inside[1]
    assert isinstance(outcome, Unclaimed)
    assert 25 < outcome.after < 34
    assert idempotency.statistics() == IdempotencyStatistics(claimed=1, running=1)


@pytest.mark.parametrize("kind", [0, 1])
def test_a_message_that_its_handler_retries_early_frees_its_key(kind: int) -> None:
    def retry(message: Message[Any]) -> None:
        made.append(1)
        message.retry(after=5)

    handler, idempotency = both(retry)[kind], Idempotency(MemoryStore(), key="id")
    handled(handler, idempotency)
    handled(handler, idempotency)
    assert len(made) == 2


def test_another_payload_with_the_same_key_is_rejected() -> None:
    idempotency = Idempotency(MemoryStore(), key="id", fingerprint="amount")
    handler = both(lambda _: made.append(1))[0]
    assert handled(handler, idempotency).acked
    assert handled(handler, idempotency).acked
    other = handled(handler, idempotency, {"id": 1, "amount": 6})
    assert other.rejected
    assert str(other.error) == "same idempotency key, other payload"
    assert len(made) == 1
    assert idempotency.statistics().mismatched == 1


def test_a_result_is_kept_for_duplicates_if_that_is_wanted() -> None:
    results: list[Any] = []

    async def note(message: Message[Any], call_next: Callable[[Any], Any]) -> Any:
        results.append(await call_next(message))
        return results[-1]

    guard = Idempotency(MemoryStore(), key="id", result=True).for_handler("h", is_coroutine=True, timeout=None)

    async def handler(message: Message[dict[str, Any]]) -> Any:
        made.append(1)
        return {"paid": message.body["amount"]}

    for _ in range(2):
        run_handler(handler, BODY, middleware=[note, guard])
    assert results == [{"paid": 5}, {"paid": 5}]
    assert made == [1]


@pytest.mark.parametrize("missing", ["error", "reject", "run"])
def test_a_message_without_a_key(missing: Any) -> None:
    idempotency = Idempotency(MemoryStore(), key="id", missing=missing)
    found = handled(both(lambda _: made.append(1))[0], idempotency, {"amount": 5})
    if missing == "error":
        assert isinstance(found.error, KeyMissing)
        assert str(found.error).endswith(
            ": key='id' is not in the body, or is null or empty there; give every message one, or set missing='run' or "
            "missing='reject'"
        )
    assert (found.rejected, found.acked, made) == (missing == "reject", missing == "run", [1] * (missing == "run"))
    assert idempotency.statistics().missing == 1


@pytest.mark.parametrize("key", [None, ""])
def test_an_empty_key_is_none(key: object) -> None:
    """All messages with it would be duplicates of the first one, and be deleted unrun."""
    idempotency = Idempotency(MemoryStore(), key="id", missing="run")
    for _ in range(2):
        assert handled(both(lambda _: made.append(1))[0], idempotency, {"id": key}).acked
    assert made == [1, 1]


def test_a_result_that_is_too_long_is_not_kept(caplog: pytest.LogCaptureFixture) -> None:
    """An item of DynamoDB has 400 KB: the key could not be completed, and the work would be done again."""
    guard = Idempotency(MemoryStore(), key="id", result=True).for_handler("h", is_coroutine=False, timeout=None)

    def handler(message: Message[dict[str, Any]]) -> str:
        made.append(message.body)
        return "x" * 300_000

    found = [run_handler(handler, BODY, middleware=[guard]).outcome for _ in range(2)]
    assert found[0] == Done()
    assert isinstance(found[1], Skipped)
    assert "it has 300002 bytes, more than 262144" in caplog.text


class Silent(MemoryStore):
    """A store that does not answer at all."""

    inline = False

    async def claim(self, key: str, token: str, fingerprint: str, lease: float) -> Found:
        await asyncio.sleep(600)
        return await super().claim(key, token, fingerprint, lease)


@pytest.mark.parametrize("kind", [0, 1])
def test_a_store_that_does_not_answer_does_not_use_up_the_time_of_the_handler(kind: int) -> None:
    """Else it would count as a failed attempt, and bring the message to the dead-letter queue."""
    handler = both(lambda _: made.append(1))[kind]
    consumer = Consumer(
        "payments", handler, idempotency=Idempotency(Silent(), key="id"), handler_timeout=2.0, region="eu-west-1"
    )
    assert isinstance(run_handler(consumer, BODY).outcome, Unclaimed)
    assert made == []


def test_many_failures_at_once_do_not_make_an_outage_longer() -> None:
    """With 40 handlers the messages would come back a minute after the first moment of an outage."""
    idempotency = Idempotency(Down(), key="id")
    handler = both(lambda _: made.append(1))[0]
    consumer = Consumer("payments", handler, idempotency=idempotency, region="eu-west-1")
    for _ in range(40):
        outcome = run_handler(consumer, BODY).outcome
        assert isinstance(outcome, Unclaimed)
        assert outcome.after <= 5


class Down(MemoryStore):
    """A store that does not answer."""

    inline = False

    async def claim(self, key: str, token: str, fingerprint: str, lease: float) -> Found:
        raise ConnectionError("refused")

    async def extend(self, extensions: Sequence[Extension]) -> Sequence[bool]:
        raise ConnectionError("refused")


@pytest.mark.parametrize("kind", [0, 1])
def test_a_store_that_is_down_lets_nothing_run_and_is_no_failure_of_the_message(kind: int) -> None:
    idempotency = Idempotency(Down(), key="id")
    handler = both(lambda _: made.append(1))[kind]
    first = handled(handler, idempotency).outcome
    assert isinstance(first, Unclaimed)
    assert 2 <= first.after <= 3
    assert made == []
    assert idempotency.statistics() == IdempotencyStatistics(store_errors=1)
    assert handled(handler, Idempotency(Down(), key="id", on_store_error="run")).acked
    assert made == [1]


def test_a_run_that_was_overtaken_and_ends_well_is_told(caplog: pytest.LogCaptureFixture) -> None:
    store = MemoryStore()
    idempotency = Idempotency(store, key="id")

    async def overtaken(_: Message[dict[str, Any]]) -> None:
        [key] = store._records
        store._records.clear()  # its claim has ended
        await store.claim(key, "other", "", 60.0)

    assert handled(overtaken, idempotency).acked
    assert idempotency.statistics() == IdempotencyStatistics(claimed=1, conflicts=1)
    assert "the work was done twice" in caplog.text


@virtual
async def test_a_claim_lives_as_long_as_the_lease_and_no_longer() -> None:
    """The handler runs for 100 s with leases of 10 s, and the duplicate waits all that time."""
    async with World() as world:
        store = MemoryStore(clock=asyncio.get_running_loop().time)
        idempotency = Idempotency(store, key="id")

        async def handle(body: dict[str, Any]) -> None:
            made.append(world.now)
            await asyncio.sleep(100)

        await world.send(json.dumps(BODY), json.dumps(BODY))
        consumer = Consumer("orders", handle, idempotency=idempotency, visibility_timeout=10, region="eu-west-1")
        await world.start(consumer)
        await world.until(lambda: not world.bodies(), within=300)
        assert len(made) == 1
        assert idempotency.statistics().done == 1
        assert idempotency.statistics().running >= 9


@virtual
async def test_a_message_of_a_fifo_queue_that_is_given_back_keeps_its_order() -> None:
    async with World(fifo=True) as world:
        store = MemoryStore(clock=asyncio.get_running_loop().time)
        idempotency = Idempotency(store, key="id", scope="s")

        async def handle(body: dict[str, Any]) -> None:
            made.append(body["id"])

        key = f"leasekeeper:s:{digest(1)}"
        await store.claim(key, "another process", "", 20.0)
        await world.send(*(json.dumps({"id": n}) for n in (1, 2, 3)))
        await world.start(Consumer("orders.fifo", handle, idempotency=idempotency, region="eu-west-1"))
        begun = world.now
        await world.until(lambda: not world.bodies(), within=300)
        assert made == [1, 2, 3]
        assert world.now - begun >= 20


def test_keys_of_different_handlers_and_queues_are_different() -> None:
    idempotency = Idempotency(MemoryStore(), key="id")
    coroutine, plain = both(lambda _: made.append(1))
    for handler in (coroutine, plain):
        assert handled(handler, idempotency).acked
    other = Consumer("refunds", coroutine, idempotency=idempotency, region="eu-west-1")
    assert run_handler(other, BODY).acked
    assert len(made) == 3


def test_message_ids_are_keys_too() -> None:
    idempotency = Idempotency(MemoryStore(), key=MESSAGE_ID)
    assert handled(both(lambda _: made.append(1))[0], idempotency).outcome == Done()
    [record] = idempotency.store._records.values()  # type: ignore[attr-defined]
    assert isinstance(record.done, Completed)


class Color(Enum):
    RED = "red"


class Point(msgspec.Struct):
    y: int
    x: float


class Model(BaseModel):
    b: int = 1
    a: Decimal = Decimal("1.50")


def test_the_hash_is_stable() -> None:
    """The digits are written here, so that they are compared between versions of Python."""
    assert digest({"a": 1, "b": [2.0, None]}) == digest({"b": [2, None], "a": 1.0})
    assert digest(Point(1, 2.0)) == digest({"x": 2, "y": 1})
    assert digest(Model()) == digest({"a": "1.50", "b": 1})
    values = [
        UUID(int=7),
        datetime(2026, 1, 2, tzinfo=UTC),
        Color.RED,
        Decimal("1.10"),
        0.1,
        "é",
    ]
    assert digest(values) == "6f92e689c479b1c1f1ef37afad88c4de5a191a298dbcdceef9db0f0dcd3931e3"
    assert digest("1") != digest(1)
    assert digest({"b", "a", "c"}) == digest(["a", "b", "c"])
    assert digest("\ud800") != digest("?")
    with pytest.raises(ValueError, match="not JSON compliant"):
        digest({"amount": float("nan")})


def test_the_hash_of_a_set_is_the_same_in_each_process() -> None:
    """The order of a set of texts differs between processes."""
    code = "from leasekeeper.idempotency.keys import digest; print(digest({'a', 'b', 'c', 'd'}))"
    found = {
        subprocess.run(
            [sys.executable, "-c", code],
            check=True,
            capture_output=True,
            text=True,
            env={**os.environ, "PYTHONHASHSEED": seed},
        ).stdout
        for seed in ("1", "2")
    }
    assert found == {digest(["a", "b", "c", "d"]) + "\n"}


async def waiting(message: Message[Any]) -> str:
    return message.id


def nothing() -> str:
    return ""


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: Idempotency(MemoryStore, key="id"), "must be a store"),  # type: ignore[arg-type]
        (lambda: Idempotency(MemoryStore(), key=7), "must be a plain function of a message"),  # type: ignore[arg-type]
        (lambda: Idempotency(MemoryStore(), key=waiting), "must be a plain function of a message"),
        (lambda: Idempotency(MemoryStore(), key=nothing), "must be a plain function of a message"),  # type: ignore[arg-type]
        (lambda: Idempotency(MemoryStore(), key="id", keep=timedelta(0)), "must be a timedelta"),
        (lambda: Idempotency(MemoryStore(), key="id", timeout=0), "from 0.01 to 60"),
        (lambda: Idempotency(MemoryStore(), key="id", missing="skip"), "must be one of 'error'"),  # type: ignore[arg-type]
    ],
)
def test_wrong_arguments_are_refused(make: Callable[[], Any], sentence: str) -> None:
    with pytest.raises(ConfigurationError, match=sentence):
        make()


def test_it_cannot_be_used_with_batches() -> None:
    async def handle(batch: Batch[str]) -> None: ...

    with pytest.raises(ConfigurationError, match="a key is of one message"):
        Consumer("q", handle, batch=10, idempotency=Idempotency(MemoryStore(), key="id"))
    with pytest.raises(ConfigurationError, match="must be an Idempotency"):
        Consumer("q", handle, batch=10, idempotency="id")  # type: ignore[arg-type]


def test_nothing_of_it_is_imported_without_it() -> None:
    code = """if True:
        import sys, leasekeeper
        leasekeeper.Consumer("q", lambda m: None)
        print([name for name in sys.modules if "idempotency" in name or "redis" in name])
    """
    assert subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout == "[]\n"
