"""The batch as a handler sees it: a sequence of messages, words about each, and types that catch misuse."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from leasekeeper import Batch, Message, Reject, Retry, Settlement
from leasekeeper.message import Received, lease_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path
    from typing import Any


class Lease:
    """A lease view that notes whether it was acked."""

    attempt = 1
    lease_lost = lease_capped = withheld = retried = False
    lease_deadline = 100.0
    waited = 0.5

    def __init__(self) -> None:
        self.acked = False

    def settle_early(self, *, retry_after: float | None) -> Settlement:
        self.acked = retry_after is None
        return Settlement()

    def watch(self) -> Callable[[], Sequence[tuple[str, float]]]:
        return tuple

    def withhold(self) -> None:
        raise AssertionError


class View:
    """A batch view that notes what was named."""

    def __init__(self) -> None:
        self.named: list[tuple[Any, Retry | Reject]] = []

    def name(self, message: Message[Any], outcome: Retry | Reject) -> None:
        self.named.append((message, outcome))


def message(number: int, group: str | None = None) -> Message[int]:
    system = {} if group is None else {"MessageGroupId": group}
    received = Received(message_id=f"m{number}", receipt="r", body=str(number), system=system)
    return Message(received, number, queue="events", lease=Lease())


def batch(*messages: Message[int], view: View | None = None) -> Batch[int]:
    return Batch(messages, queue="events", trigger="wait", waited=2.0, view=view or View())


def test_it_is_a_sequence_of_messages() -> None:
    one, two, three = (message(number) for number in range(3))
    found = batch(one, two, three)
    assert (len(found), found[0], found[-1], list(found[1:])) == (3, one, three, [two, three])
    assert (list(found), two in found, found.index(three)) == ([one, two, three], True, 2)
    assert message(1) not in found
    assert found.bodies == [0, 1, 2]
    assert (found.queue, found.trigger, found.waited) == ("events", "wait", 2.0)


def test_the_group_is_that_of_all_messages() -> None:
    assert batch(message(1, "a"), message(2, "a")).group_id == "a"
    assert batch(message(1, "a"), message(2, "b")).group_id is None
    assert batch(message(1)).group_id is None


def test_words_about_messages_are_passed_on() -> None:
    one, two = message(1), message(2)
    view = View()
    found = batch(one, two, view=view)
    found.retry(one)
    found.retry(one, after=30)
    found.reject(two, "no such customer")
    assert [(each, type(word)) for each, word in view.named] == [(one, Retry), (one, Retry), (two, Reject)]
    assert [view.named[0][1].args, view.named[1][1].args, view.named[2][1].args] == [
        (None,),
        (30,),
        ("no such customer",),
    ]


def test_an_ack_is_the_messages_own() -> None:
    one = message(1)
    lease = lease_of(one)
    assert isinstance(batch(one).ack(one), Settlement)
    assert isinstance(lease, Lease)
    assert lease.acked


def test_it_says_what_it_is() -> None:
    assert repr(batch(message(1))) == "<Batch of 1 message of events, complete by wait after 2 s>"
    assert repr(batch(message(1), message(2))) == "<Batch of 2 messages of events, complete by wait after 2 s>"


SKETCH = """
from dataclasses import dataclass

from leasekeeper import Batch, Consumer, Leasekeeper, Message, Reject, Retry

app = Leasekeeper()


@dataclass
class Event:
    id: int


async def bulk_insert(events: list[Event]) -> list[int]:
    return [1]


@app.consumer("events", batch=500, batch_wait=2.0, batch_bytes=4_000_000, concurrency=4)
async def load(batch: Batch[Event]) -> None:
    failed = await bulk_insert([m.body for m in batch])
    for m in (batch[i] for i in failed):
        batch.retry(m, after=30)
    batch.reject(batch[0], "why")
    settled = await batch.ack(batch[1])
    print(settled.value, batch.trigger == "wait", batch.waited + 1.0, batch.group_id, batch.queue)


@app.consumer("others", batch=10, on_batch_error="halves")
def bodies(events: list[Event]) -> dict[str, list[dict[str, str]]]:
    return {"batchItemFailures": []}


async def named(batch: Batch[Event]) -> dict[Message[Event], Retry | Reject]:
    return {message: Retry(after=message.body.id) for message in batch[1:]}


def tenant(message: Message[str]) -> str | None:
    return message.group_id


Consumer("events", named, batch=100, batch_key=tenant)
"""
MISUSE = {
    "batch[0].body.upper()": '"int" has no attribute "upper"',
    "batch.retry(other)": 'has incompatible type "Message[str]"; expected "Message[int]"',
    "batch.retry('id-1')": 'has incompatible type "str"; expected "Message[int]"',
    "batch.retry(batch[0], after='soon')": 'has incompatible type "str"; expected "float | None"',
    "batch[0] = batch[1]": "Unsupported target for indexed assignment",
    "batch.bodies.append('x')": 'has incompatible type "str"; expected "int"',
    "batch.reject(batch[0]).result()": '"reject" of "Batch" does not return a value',
}
"""Lines of a handler of `batch: Batch[int]`, and what mypy says of each."""


@pytest.mark.slow
def test_types_accept_the_sketches_and_refuse_misuse(tmp_path: Path, pytestconfig: pytest.Config) -> None:
    head = (
        "from leasekeeper import Batch, Message\n\n\nasync def load(batch: Batch[int], other: Message[str]) -> None:\n"
    )
    (tmp_path / "sketch.py").write_text(SKETCH)
    (tmp_path / "misuse.py").write_text(head + "".join(f"    {line}\n" for line in MISUSE))
    cache = pytestconfig.rootpath / ".pytest_cache" / "d" / "mypy"  # what it knows of Python and of the package
    command = [sys.executable, "-m", "mypy", "--strict", "--cache-dir", str(cache), "sketch.py", "misuse.py"]
    said = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path).stdout.splitlines()
    assert not [each for each in said if each.startswith("sketch.py")]
    assert said[-1].endswith("in 1 file (checked 2 source files)")
    for number, (line, complaint) in enumerate(MISUSE.items(), start=5):
        assert any(each.startswith(f"misuse.py:{number}: error") and complaint in each for each in said), (line, said)
