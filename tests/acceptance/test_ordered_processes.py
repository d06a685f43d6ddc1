"""FIFO consumers in real processes: killed in a loop, suspended, and terminated; a ledger outside says what they did.

`LEASEKEEPER_KILLS=100` kills that many processes, and with both kinds of acks.
"""

from __future__ import annotations

import json
import os
import random
import signal
import time
from collections import Counter, defaultdict
from typing import Any, NamedTuple

import pytest

Bench = Any  # of conftest.py, which tests cannot import

KILLS = int(os.environ.get("LEASEKEEPER_KILLS", "2"))
GROUPS = 12
VISIBILITY = 3
FIFO = {"FifoQueue": "true", "ContentBasedDeduplication": "true"}

SHIP = """
    import asyncio, os, random
    from notes import note
    from leasekeeper import Consumer, Message

    async def ship(message: Message[str]) -> None:
        run = f"{{os.getpid()}} {{message.group_id}} {{message.body}} {{message.receive_count}}"
        note("ledger", f"start {{run}}")
        await asyncio.sleep({seconds})
        if {fails}:
            note("ledger", f"fail {{run}}")
            raise RuntimeError("at random")
        note("ledger", f"done {{run}} {{message.lease_lost}}")

    consumer = Consumer(
        "orders.fifo", ship, visibility_timeout={visibility}, {options}
    )
    print(consumer.run())
"""


DONE = 'note("ledger", f"done'
"""The beginning of what a handler notes at its end."""


class Line(NamedTuple):
    """A line of the ledger. `killed` lines, which the test writes, have a process id only."""

    what: str
    process: int
    group: str = ""
    body: str = ""
    receive_count: int = 0
    lease_lost: bool = False


def _lines(shop: Bench) -> list[Line]:
    lines = []
    for text in shop.lines("ledger"):
        what, process, *rest = text.split()
        group, body, count, lost = [*rest, "", "", "0", ""][:4] if rest else ("", "", "0", "")
        lines.append(Line(what, int(process), group, body, int(count), lost == "True"))
    return lines


def _send(shop: Bench, url: str, group: str, bodies: list[str]) -> None:
    for start in range(0, len(bodies), 10):
        entries = [
            {"Id": str(at), "MessageBody": body, "MessageGroupId": group, "MessageDeduplicationId": body}
            for at, body in enumerate(bodies[start : start + 10])
        ]
        assert not shop.boto.send_message_batch(QueueUrl=url, Entries=entries).get("Failed")


def _queue(shop: Bench, *, max_receives: int | None = None) -> str:
    attributes = dict(FIFO)
    if max_receives is not None:
        dead = shop.queue("orders-dead.fifo", **FIFO)
        arn = shop.boto.get_queue_attributes(QueueUrl=dead, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
        attributes["RedrivePolicy"] = json.dumps({"deadLetterTargetArn": arn, "maxReceiveCount": max_receives})
    url: str = shop.queue("orders.fifo", **attributes)
    return url


def _first_successes(lines: list[Line]) -> dict[str, list[str]]:
    """Per group, the bodies in the order of their first success."""
    order = defaultdict[str, list[str]](list)
    seen = set[str]()
    for line in lines:
        if line.what == "done" and line.body not in seen:
            seen.add(line.body)
            order[line.group].append(line.body)
    return order


def _overlaps(lines: list[Line]) -> list[str]:
    """Starts of a group while a handler of it was at work in a process that had not been killed."""
    at_work = dict[str, dict[int, str]]()
    found = []
    for line in lines:
        if line.what == "killed":
            for runs in at_work.values():
                runs.pop(line.process, None)
            continue
        runs = at_work.setdefault(line.group, {})
        if line.what == "start":
            if runs:
                found.append(f"{line} while {runs}")
            runs[line.process] = line.body
        else:
            runs.pop(line.process, None)
    return found


def _unexplained(lines: list[Line]) -> dict[str, int]:
    """Successes that were repeated although the process of the earlier one was not killed after it."""
    killed_at = {line.process: at for at, line in enumerate(lines) if line.what == "killed"}
    done = defaultdict[str, list[tuple[int, int]]](list)
    for at, line in enumerate(lines):
        if line.what == "done":
            done[line.body].append((at, line.process))
    return Counter(body for body, runs in done.items() for at, process in runs[:-1] if killed_at.get(process, -1) < at)


@pytest.mark.parametrize("ack", ["batched", "confirmed"] if KILLS > 10 else ["batched"])
def test_three_consumers_of_which_one_is_killed_again_and_again_keep_the_order(shop: Bench, ack: str) -> None:
    """L25, L28: first successes in the order of sending, nothing lost, every duplicate explained by a kill."""
    draw = random.Random(1)
    url = _queue(shop)
    options = f"wait_time=1, concurrency=8, retry_base=0.5, retry_maximum=1.0, fifo_ack={ack!r}"
    code = SHIP.format(
        seconds="random.uniform(0, 0.02)", fails="random.random() < 0.05", visibility=VISIBILITY, options=options
    )
    shop.module("worker", code)
    notes = shop.directory / "ledger"
    workers = [shop.script("worker") for _ in range(3)]
    sent = dict[str, list[str]]()
    for kill in range(KILLS):
        for group in range(GROUPS):
            bodies = [f"{group}.{kill * 10 + at}" for at in range(10)]
            sent.setdefault(f"{group}", []).extend(bodies)
            _send(shop, url, f"{group}", bodies)
        reached = len(shop.lines("ledger")) + 40
        shop.until(lambda least=reached: len(shop.lines("ledger")) >= least, "handlers are at work")
        index = draw.randrange(3)
        process = workers[index].process
        process.send_signal(signal.SIGKILL)
        process.wait()
        with notes.open("a") as file:
            file.write(f"killed {process.pid}\n")
        workers[index] = shop.script("worker")
    shop.until(lambda: shop.counts(url) == (0, 0), "the queue is empty")
    for worker in workers:
        worker.signal()
    ends = {worker.process.pid: worker.end() for worker in workers}
    lines = _lines(shop)
    at_work = {line.process for line in lines}
    assert {code for process, code in ends.items() if process in at_work} == {0}  # one may still have been starting
    assert _first_successes(lines) == sent
    assert _overlaps(lines) == []
    assert _unexplained(lines) == {}
    repeated = sum(line.what == "done" for line in lines) - sum(map(len, sent.values()))
    # A kill repeats what was finished and not deleted: at most ten of each group that the process held.
    assert 0 <= repeated <= KILLS * GROUPS * 10


def test_a_process_stopped_beyond_its_leases_runs_and_deletes_nothing_afterwards(shop: Bench) -> None:
    """L8, L29: SIGSTOP, another process runs the group, SIGCONT: `lease_lost` is set, and order holds."""
    url = _queue(shop)
    _send(shop, url, "g", ["1", "2", "3", "4"])
    options = "wait_time=1, concurrency=1, prefetch=0"
    code = SHIP.format(seconds=1, fails=False, visibility=VISIBILITY, options=options)
    # After SIGCONT the handler's loop may be quicker than the engine's thread, which notices that the lease has ended.
    shop.module("worker", code.replace(DONE, f"await asyncio.sleep(0.5)\n        {DONE}"))
    first = shop.script("worker")
    shop.until(lambda: shop.lines("ledger"), "the first process runs 1")
    first.signal(signal.SIGSTOP)
    second = shop.script("worker")
    shop.until(lambda: shop.counts(url) == (0, 0), "the second process has run them all")
    first.signal(signal.SIGCONT)
    shop.until(
        lambda: [line for line in _lines(shop) if line.what == "done" and line.process == first.process.pid], "1 ends"
    )
    for command in (first, second):
        command.signal()
        assert command.end() == 0
    lines = _lines(shop)
    ours = [line for line in lines if line.process == first.process.pid]
    assert [(line.what, line.body) for line in ours] == [("start", "1"), ("done", "1")]
    assert ours[-1].lease_lost
    assert _first_successes(lines) == {"g": ["1", "2", "3", "4"]}
    assert "4 leases lost" in first.out


def test_a_terminated_process_leaves_its_groups_visible_and_in_order(shop: Bench) -> None:
    """L22-L24, L26: heads running, backing off and waiting; the followers' receive counts rise by one at most."""
    url = _queue(shop, max_receives=10)
    groups = {
        f"{kind}{at}": [f"{kind}{at}.{number}" for number in range(5)] for kind in ("run", "fail") for at in range(3)
    }
    for group, bodies in groups.items():
        _send(shop, url, group, bodies)
    code = SHIP.format(
        seconds=0.5,
        fails="message.body.startswith('fail') and message.body.endswith('.0') and message.receive_count == 1",
        visibility=120,
        options="wait_time=1, concurrency=6, retry_base=4.0, retry_maximum=4.0",
    )
    shop.module("worker", code)
    first = shop.script("worker")
    shop.until(lambda: sum(line.what == "fail" for line in _lines(shop)) == 3, "three heads back off")
    first.signal()
    assert first.end() == 0
    ended = time.monotonic()
    hidden = shop.counts(url)[1]
    assert hidden <= 3  # the heads that back off
    before = len(_lines(shop))
    second = shop.script("worker")
    shop.until(lambda: shop.counts(url) == (0, 0), "the second process has run the rest")
    assert time.monotonic() - ended < 60  # half of the visibility timeout
    second.signal()
    assert second.end() == 0
    lines = _lines(shop)
    assert _first_successes(lines) == groups
    assert max(line.receive_count for line in lines) == 2
    assert {line.receive_count for line in lines[before:] if line.what == "start"} <= {1, 2}


def test_a_receive_whose_answer_is_lost_costs_no_visibility_timeout(shop: Bench) -> None:
    """The connection is reset after the server has handed out the messages: they run long before, at receive 1."""
    url = _queue(shop)
    ids = list[str]()
    start = shop.sqs.broker.start

    def watched(operation: str, request: dict[str, Any]) -> Any:
        if operation == "ReceiveMessage":
            ids.append(request["ReceiveRequestAttemptId"])
        return start(operation, request)

    vars(shop.sqs.broker).update(start=watched)
    shop.module("worker", SHIP.format(seconds=0, fails=False, visibility=60, options="wait_time=5, pollers=1"))
    worker = shop.script("worker")
    shop.until(lambda: ids, "it polls")
    shop.sqs.faults.next("ReceiveMessage", lose_by_reset=1.0)
    before = len(ids)
    shop.until(lambda: len(ids) > before, "it polls under the fault")
    began = time.monotonic()
    _send(shop, url, "g", ["1", "2", "3"])
    shop.until(lambda: shop.counts(url) == (0, 0), "all are handled")
    assert time.monotonic() - began < 30  # half of the visibility timeout
    assert {line.receive_count for line in _lines(shop)} == {1}
    assert max(Counter(ids).values()) == 2
    shop.sqs.faults.next("ReceiveMessage", throttle=1.0)
    known = len(ids)
    shop.until(lambda: len(ids) >= known + 2, "it polls after the throttle")
    assert len(set(ids[known:])) == len(ids[known:])
    worker.signal()
    assert worker.end() == 0
