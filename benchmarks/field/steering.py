"""The requests of the harness to the lean SQS: stocks, releases and counts.

Owned by `server.py`; `control.py` is the other end. A stock is a list of messages made before the run, by the server
or from the messages of a client's own producer. Each request is a JSON object to `/control/<word>`; the answer is a
JSON object too.
"""

from __future__ import annotations

import asyncio
import dataclasses
import random
import resource
import time
from typing import TYPE_CHECKING, Any

import msgspec
from queues import Item

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine

    from broker import Broker, Exchange
    from queues import Queue

_tasks: set[asyncio.Task[None]] = set()
LOOK = 0.01
"""Seconds between two checks of a condition."""


def steer(broker: Broker, exchange: Exchange, word: str, body: bytes) -> None:
    """Carry out a request of the harness, and answer when it is done."""
    _keep(_steered(broker, exchange, word, body))


def _keep(work: Coroutine[Any, Any, None]) -> None:
    task = asyncio.get_running_loop().create_task(work)
    _tasks.add(task)
    task.add_done_callback(_tasks.discard)


async def _steered(broker: Broker, exchange: Exchange, word: str, body: bytes) -> None:
    try:
        answer = msgspec.json.encode(await WORDS[word](broker, **msgspec.json.decode(body or b"{}")))
    except Exception as error:  # the harness reports any error
        answer = msgspec.json.encode({"error": repr(error)})
    exchange.answer(answer)


async def stock(
    broker: Broker, stock: str, count: int, size: int, *, first: int = 0, groups: int = 0, hot: int = 0
) -> dict[str, int]:
    """Make a stock of raw payloads: their index, from `first` on, in seven digits, filled up to `size` characters.

    With `groups`, the first `hot` messages are of one group, and the others of so many groups in turn.
    """
    broker.stocks[stock] = [
        Item.of(index, f"{index:07d}".ljust(size, "x"), group=_group(index, groups, hot))
        for index in range(first, first + count)
    ]
    return {"count": count}


def _group(index: int, groups: int, hot: int) -> str:
    if not groups:
        return ""
    return "hot" if index < hot else f"g{index % groups}"


async def stocking(broker: Broker, queue: str, stock: str | None) -> dict[str, int]:
    """From now on put messages sent to a queue into a new stock; without a stock, into the queue again."""
    kept = broker.stocks.get(broker.stocking.pop(queue, ""), [])
    if stock is not None:
        broker.stocking[queue] = stock
        broker.stocks[stock] = []
    return {"count": len(kept)}


async def configure(broker: Broker, queue: str, latency: float, visibility: int) -> dict[str, str]:
    """Set the seconds that every answer about a queue takes, and its visibility timeout."""
    found = broker.queue(queue)
    found.latency, found.visibility = latency, visibility
    return {"url": f"{broker.endpoint}/000000000000/{queue}"}


async def release(broker: Broker, queue: str, stock: str, count: int, rate: float | None = None) -> dict[str, Any]:
    """Make messages of a stock visible, at once or at `rate` a second; return the counts before."""
    found, items = broker.queue(queue), broker.stocks[stock][:count]
    if len(items) < count:
        raise ValueError(f"the stock has {len(items)} messages, not {count}")
    if rate is not None:
        _keep(_trickle(broker, found, items, rate))
        return await counts(broker, queue)
    messages = found.add(items, int(time.time() * 1000))
    before = await counts(broker, queue)
    found.release(messages, time.monotonic)
    broker.serve(found)
    return before


async def _trickle(broker: Broker, queue: Queue, items: list[Item], rate: float) -> None:
    """Release `rate` messages a second, with exponential gaps from a fixed seed."""
    draw = random.Random(4711)
    due = time.monotonic()
    for item in items:
        due += draw.expovariate(rate)
        await asyncio.sleep(max(0.0, due - time.monotonic()))
        queue.release(queue.add([item], int(time.time() * 1000)), time.monotonic)
        broker.serve(queue)


async def counts(broker: Broker, queue: str) -> dict[str, Any]:
    """The counts of a queue, and the server's CPU seconds."""
    found = broker.queue(queue)
    used = resource.getrusage(resource.RUSAGE_SELF)
    return {
        **{each.name: getattr(found.counts, each.name) for each in dataclasses.fields(found.counts)},
        "visible": found.visible,
        "now": time.monotonic(),
        "server_cpu": used.ru_utime + used.ru_stime,
    }


async def wait(broker: Broker, queue: str, until: str, count: int, seconds: float) -> dict[str, bool]:
    """Wait until a queue is "polled" or `count` messages are "deleted"; return whether it happened in time."""
    found = broker.queue(queue)
    reached = _polled if until == "polled" else _deleted
    end = time.monotonic() + seconds
    while not reached(found, count) and time.monotonic() < end:  # noqa: ASYNC110  # ten calls a run are not worth an event in the hot path
        await asyncio.sleep(LOOK)
    return {"reached": reached(found, count)}


async def indices(broker: Broker, queue: str) -> dict[str, Any]:
    """When each index was released, which are deleted, and which are in flight."""
    found = broker.queue(queue)
    return {"released": found.release_times(), "deleted": sorted(found.deleted), "leased": sorted(found.leased())}


async def drop(broker: Broker, queue: str) -> dict[str, bool]:
    """Delete a queue."""
    for poll in broker.polls.pop(queue, ()):
        poll.timer.cancel()
    return {"dropped": broker.queues.pop(queue, None) is not None}


WORDS: dict[str, Callable[..., Awaitable[dict[str, Any]]]] = {
    each.__name__: each for each in (stock, stocking, configure, release, counts, wait, indices, drop)
}


def _polled(queue: Queue, count: int) -> bool:
    return queue.counts.calls["ReceiveMessage"] >= count


def _deleted(queue: Queue, count: int) -> bool:
    return queue.counts.deleted >= count
