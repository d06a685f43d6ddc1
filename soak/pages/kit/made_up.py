"""States made up for the page: calm, busy, failing, hostile, a fleet; each moves on with the time it is given.

Used by the browser tests and the screenshots, where a real consumer would show something else at every run.
"""

from __future__ import annotations

from math import sin
from random import Random
from typing import Any

from leasekeeper.admin.queues import queues_of
from leasekeeper.admin.silent import stopped, unknown

OPTIONS = [
    ("concurrency", "50", "flag", "--concurrency", "10", "Handlers that may run at once.", ""),
    ("visibility_timeout", "30", "default", "", "30", "Seconds that a message is hidden after a receive.", "s"),
    ("prefetch", "auto", "default", "", "auto", "Messages that may wait for a handler.", ""),
    ("handler_timeout", "20", "code", "", "None", "Seconds after which a handler is cancelled.", "s"),
    (
        "max_attempts",
        "5",
        "file",
        "pyproject.toml [tool.leasekeeper]",
        "None",
        "Attempts before a message is a dead letter.",
        "",
    ),
    ("wait_time", "20", "environment", "LEASEKEEPER_WAIT_TIME", "20", "Seconds of a long poll.", "s"),
]
TRACE = """Traceback (most recent call last):
  File "shop.py", line 41, in ship
    await carrier.book(order)
  File "carrier.py", line 88, in book
    raise CarrierError(response.status)
shop.CarrierError: the carrier answered 503"""
NOW = 1_790_000_001.0
"""A time for what is made up once."""
EVENTS = ("waiting", "waiting", "full", "waiting", "short", "waiting", "waiting", "empty")


def message_id(number: int) -> str:
    """An id as SQS gives them, the same at every run."""
    return f"{Random(number).getrandbits(32):08x}-{number % 65536:04x}-4e1c-9f02-{number:012x}"


def in_hand(
    now: float, much: int, *, running: int, groups: int = 0, lease: float = 30.0, pace: float = 0.35
) -> dict[str, Any]:
    """Messages in hand; each stays as long as its number says, then the next one takes its place."""
    found: list[tuple[float, str, list[Any]]] = []
    for slot in range(much):
        draw = Random(slot)
        stays = draw.uniform(0.4, 3.0) * (12 if draw.random() < 0.08 else 1) * pace * 4
        begins = draw.uniform(0, stays)
        turn = int((now + begins) / stays)
        number = slot * 100_003 + turn
        received = turn * stays - begins
        own = Random(number)
        waits = slot >= running
        started = None if waits else received + min(0.2, stays / 4)
        state = "waiting" if waits else "running"
        if not waits and now > received + 0.93 * stays:
            state = "acking"
        if own.random() < 0.004:
            state = "lease_lost"
        end = received + lease
        while end < now + lease / 2:  # the heartbeat
            end += lease / 2
        if own.random() < 0.02:
            end = now + 2 + 3 * own.random()
        group = f"tenant-{slot % groups}" if groups else None
        found.append((received, message_id(number), [state, received, started, end, 1 + (own.random() < 0.06), group]))
    found.sort(key=lambda row: row[0])
    return {name: row for _, name, row in found}


def backlog(visible: int, trend: float, now: float, **changed: Any) -> dict[str, Any]:
    """What SQS says."""
    given = {
        "visible": visible,
        "in_flight": 73,
        "delayed": 4,
        "dead_letters": 3,
        "seconds": visible / 96,
        "trend": trend,
        "asked": now - 3.2,
        "outdated": False,
    }
    return given | changed


def consumer(queue: str, now: float, **changed: Any) -> dict[str, Any]:
    """A consumer's state."""
    draw = Random(queue)
    base = draw.uniform(20, 120)
    spark = [
        round(base * (1 + 0.25 * sin((int(now) - n) / 6 + base) + 0.12 * Random(int(now) - n).random()), 1)
        for n in range(60, 0, -1)
    ]
    running = int(38 + 8 * sin(now / 5 + base))
    given: dict[str, Any] = {
        "queue": queue, "handler": f"shop.{queue.partition('.')[0].replace('-', '_')[:24]}", "fifo": queue.endswith(".fifo"),
        "state": "RUNNING", "reason": "", "seconds": 12_000.0, "concurrency": 50, "visibility_timeout": 30, "running": running,
        "waiting": int(6 + 5 * sin(now / 3)), "acking": int(5 + 5 * sin(now * 1.7)), "limit": 68, "prefetch": 18,
        "pollers": [EVENTS[(n + int(now)) % len(EVENTS)] for n in range(6)],
        "rate_in": spark[-1], "rate_out": spark[-1] * 0.99, "rate_out_minute": sum(spark) / 60, "failures_per_minute": round(draw.uniform(0, 1.4), 1),
        "calls_per_message": 0.23, "spark_in": spark, "spark_out": [round(each * 0.99, 1) for each in spark],
        "lag_p95": 0.21, "handler_p50": 0.34, "handler_p95": 1.2, "lease_margin": 14.2,
        "groups": {"held": 12, "running": 9, "backing_off": 1, "halted": 0, "waiting": 20} if queue.endswith(".fifo") else None,
        "backlog": backlog(int(base * 9), -1.4, now),
        "totals": {
            "received": 182_340, "done": 181_900, "failed": 412, "timed_out": 3, "retried": 388, "rejected": 21, "exhausted": 6,
            "dead_lettered": 27, "acked": 181_880, "released": 440, "late": 0, "lost": 2, "unsettled": 0, "known_duplicates": 4,
            "extended": 5_210, "calls": 41_820, "smallest_margin": 9.8,
        },
    }  # fmt: skip
    return given | changed


def detail(now: float, held: dict[str, Any], **changed: Any) -> dict[str, Any]:
    """What is given of one consumer only."""
    failures = [
        {"type": "CarrierError", "where": "shop.py:41 in ship", "count": 391, "first": now - 4_000, "last": now - 7, "message": "the carrier answered 503", "traceback": TRACE, "ids": [message_id(n) for n in range(9)], "attempts": [3, 2] + [1] * 7},
        {"type": "TimeoutError", "where": "shop.py:44 in ship", "count": 21, "first": now - 900, "last": now - 200, "message": "handler_timeout of 20 s", "traceback": TRACE.replace("CarrierError", "TimeoutError"), "ids": [message_id(77)], "attempts": [1]},
    ]  # fmt: skip
    decisions = [
        {"at": now - 280 + 20 * n, "what": what, "from": before, "to": after, "reason": reason}
        for n, (what, before, after, reason) in enumerate([
            ("pollers", 1, 2, "messages arrive faster than one poller brings them"), ("limit", 10, 34, "handlers are faster than receives"),
            ("pollers", 2, 4, "the last receives were full"), ("limit", 34, 60, "handlers are faster than receives"), ("state", "RUNNING", "PAUSED", "pause() was called"),
            ("state", "PAUSED", "RUNNING", "resume() was called"), ("pollers", 4, 6, "the last receives were full"), ("prefetch", 12, 18, "receives take 9 ms"),
            ("limit", 60, 68, "handlers are faster than receives"),
        ])
    ]  # fmt: skip
    leases = [
        {"at": now - 60, "what": "extended", "count": 10, "id": None, "reason": "half of the lease is over"},
        {"at": now - 42, "what": "lost", "count": 1, "id": message_id(5), "reason": "the lease ended before SQS confirmed the extension"},
        {"at": now - 12, "what": "failed", "count": 2, "id": None, "reason": "RequestThrottled; tried again"},
        {"at": now - 4, "what": "extended", "count": 8, "id": None, "reason": "half of the lease is over"},
    ]  # fmt: skip
    names = ("name", "value", "source", "place", "default", "text", "unit")
    given = {"where": "shop.py:38", "in_hand": held, "in_hand_total": len(held), "failures": failures, "decisions": decisions, "leases": leases, "options": [dict(zip(names, row, strict=True)) for row in OPTIONS]}  # fmt: skip
    return given | changed


def process(key: str, now: float, consumers: list[dict[str, Any]], **changed: Any) -> dict[str, Any]:
    """A process with its consumers."""
    host, _, pid = key.rpartition(":")
    given = {
        "key": key, "host": host, "pid": int(pid), "version": "0.2.0", "started": now - 12_345, "state": "RUNNING", "reason": "",
        "since": now - 12_000, "rss_bytes": 84_000_000, "read_only": False, "consumers": {each["queue"]: each for each in consumers},
    }  # fmt: skip
    return given | changed


def state(now: float, *processes: dict[str, Any]) -> dict[str, Any]:
    """What a surface gives."""
    return {
        "version": "0.2.0",
        "now": now,
        "fleet": len(processes) > 1,
        "queues": queues_of(processes),  # type: ignore[arg-type]
        "processes": {each["key"]: each for each in processes},
    }


QUEUES = ("orders", "payments.fifo", "invoices", "emails")
HOSTILE = ("<b>bold</b><img src=x onerror=alert(1)>", "q" * 256, "طلبات-العملاء", "a&b;\"'`${1}")


def calm(now: float) -> dict[str, Any]:
    """One process, four consumers."""
    each = [consumer(queue, now) for queue in QUEUES]
    each[1]["detail"] = detail(now, in_hand(now, 46, running=30, groups=14))
    each[0]["detail"] = detail(now, in_hand(now, 60, running=44))
    each[2] |= {
        "state": "PAUSED",
        "reason": "pause() was called",
        "rate_in": 0.0,
        "rate_out": 0.0,
        "rate_out_minute": 0.0,
        "running": 0,
        "waiting": 0,
        "pollers": ["paused"],
        "lease_margin": None,
        "spark_in": [0.0] * 60,
        "spark_out": [0.0] * 60,
    }
    return state(now, process("shop-7f9c:4121", now, each))


def trouble(now: float) -> dict[str, Any]:
    """Unhealthy, and draining."""
    reason = "AccessDenied: the role may not call sqs:DeleteMessage on orders; `leasekeeper doctor orders --policy` prints what is missing"
    each = [consumer("orders", now, state="UNHEALTHY", reason=reason, failures_per_minute=62.0, lease_margin=1.4, lag_p95=94.0, backlog=backlog(48_211, 31.0, now, dead_letters=211, asked=now - 25), pollers=["failed", "failed", "paused"]),
            consumer("emails", now, state="DRAINING", reason="a stop was asked for", pollers=[], waiting=0, running=7, spark_in=[4.0] * 50 + [0.0] * 10),
            consumer("invoices", now, backlog=None, calls_per_message=None, lease_margin=None)]  # fmt: skip
    each[0]["detail"] = detail(
        now,
        {
            key: [row[0], row[1], row[2], now + (n % 40) / 3, *row[4:]]
            for n, (key, row) in enumerate(in_hand(now, 60, running=50).items())
        },
    )
    each[1]["detail"] = detail(now, in_hand(now, 7, running=7))
    each[2]["detail"] = detail(now, {}, failures=[], decisions=[], leases=[])
    return state(
        now,
        process(
            "shop-7f9c:4121", now, each, state="UNHEALTHY", reason=f"orders: {reason}", since=now - 95, read_only=True
        ),
    )


def aged(now: float) -> dict[str, Any]:
    """Backlogs of which SQS was not asked, that are new, and that receives have shown to be out of date; no lag."""
    drained = backlog(90_000, 12.0, now, seconds=900.0, outdated=True)
    each = [
        consumer("a-unknown", now, backlog=None),
        consumer("b-fresh", now, backlog=backlog(1_200, 0.0, now, seconds=12.0, dead_letters=None)),
        consumer("c-old", now, backlog=drained),
        consumer(
            "d-idle",
            now,
            lag_p95=None,
            rate_in=0.0,
            rate_out=0.0,
            backlog=backlog(0, 0.0, now, seconds=0.0, dead_letters=None),
        ),
    ]
    return state(now, process("shop-7f9c:4121", now, each))


def fleet(now: float) -> dict[str, Any]:
    """Five processes; one is far behind the others, one cannot be reached."""
    made = [
        process(f"shop-{name}:{4000 + n}", now, [consumer("orders", now + n), consumer("payments.fifo", now + n)])
        for n, name in enumerate("abcd")
    ]
    slow = made[2]["consumers"]["orders"]
    slow |= {
        "rate_in": 3.1,
        "rate_out": 2.9,
        "running": 50,
        "waiting": 18,
        "lag_p95": 14.0,
        "lease_margin": 4.1,
        "spark_in": [each / 20 for each in slow["spark_in"]],
    }
    for each in made:
        for queue in each["consumers"].values():
            queue["detail"] = detail(now, in_hand(now, 60, running=44, groups=9 if queue["fifo"] else 0))
    made.append(
        process(
            "shop-e:4009", now, [], state="UNREACHABLE", reason="http://shop-e:9900: connection refused", since=now - 40
        )
    )
    return state(now, *made)


def ended(now: float) -> dict[str, Any]:
    """A fleet that has stopped, as the last event before its end has it."""
    made = [process(f"shop-{name}:{4000 + n}", now, [consumer("orders", now + n)], number=n + 1) for n, name in enumerate("ab")]  # fmt: skip
    return state(now, *(stopped(each, "it has ended with exit code 0", now - 3) for each in made))  # type: ignore[arg-type]


def unheard(now: float) -> dict[str, Any]:
    """A process that has never answered."""
    silent = unknown("shop-a:4000", "shop-a", 4000)
    return state(now, {**silent, "reason": "unix:/run/1.sock: nothing listens there"}) | {"fleet": True}


def many(now: float) -> dict[str, Any]:
    """Thirty consumers."""
    return state(now, process("shop-7f9c:4121", now, [consumer(f"queue-{n:02}", now) for n in range(30)]))


def hostile(now: float) -> dict[str, Any]:
    """Names that would break a careless page."""
    each = [consumer(queue, now, handler=queue, reason=queue if n == 0 else "") for n, queue in enumerate(HOSTILE)]
    for one in each:
        held = in_hand(now, 20, running=20, groups=3)
        one["detail"] = detail(now, {name: [*row[:5], HOSTILE[n % 4]] for n, (name, row) in enumerate(held.items())})
        one["detail"]["failures"][0] |= {"type": HOSTILE[0], "message": HOSTILE[1], "where": HOSTILE[2]}
        one["fifo"] = True
    return state(now, process("<i>host:17", now, each))


def empty(now: float) -> dict[str, Any]:
    """No consumers."""
    return state(now, process("shop-7f9c:4121", now, []))


def crowded(now: float) -> dict[str, Any]:
    """5,000 messages in hand."""
    each = consumer("orders", now, concurrency=4_500, running=4_500, waiting=500)
    each["detail"] = detail(now, in_hand(now, 5_000, running=4_500, pace=0.6))
    return state(now, process("shop-7f9c:4121", now, [each]))


SCENES = {made.__name__: made for made in (calm, trouble, aged, fleet, many, hostile, empty, crowded, ended, unheard)}
