"""Which options cannot work together. Each refusal names the options, their values and what to change.

Used by `Options` when it is made, after each option was checked alone; and by a declaration and a start, for what the
kind of a queue rules out. The parameter has no type, because `Options` imports this file.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any

from leasekeeper.errors import Mistakes
from leasekeeper.memory import available_memory

if TYPE_CHECKING:
    from collections.abc import Iterator


def clashes(options: Any) -> Iterator[str]:
    """A sentence for each combination that cannot work."""
    # A lease is counted up to a fifth shorter than it is, and the extension has to get there.
    if options.extend_after > options.visibility_timeout * 0.75:
        yield (
            f"heartbeat_interval={options.heartbeat_interval!r} with visibility_timeout={options.visibility_timeout}: "
            "the lease would end before its first extension; make the interval at most half of the timeout"
        )
    if options.pollers is not None and options.pollers > options.slots + (options.prefetch or options.slots):
        yield (
            f"pollers={options.pollers} with concurrency={options.concurrency}: each poll needs room for a message; "
            "raise concurrency or prefetch, or lower pollers"
        )
    if options.threads is not None and options.concurrency > options.threads * (1 + options.thread_queue_depth):
        yield (
            f"concurrency={options.concurrency} with threads={options.threads} and thread_queue_depth="
            f"{options.thread_queue_depth}: {options.threads} threads hold at most "
            f"{options.threads * (1 + options.thread_queue_depth)} messages; raise threads or lower concurrency"
        )
    yield from _retries(options)
    if options.ack_interval >= options.visibility_timeout:
        yield (
            f"ack_interval={options.ack_interval!r} with visibility_timeout={options.visibility_timeout}: finished "
            "messages would wait for their delete until their lease ends; use a second or less"
        )
    for rules in (_batches, _share, _processes, _payloads):
        yield from rules(options)
    if options.keeper:
        yield from _keeper(options)
    if options.batch is not None and options.group_concurrency is not None:
        yield (
            f"group_concurrency={options.group_concurrency} with batch={options.batch}: a batch has messages of "
            "several groups; leave one of them out"
        )
    if options.burst is not None and options.rate is None:
        yield (
            f"burst={options.burst!r} without rate: set rate= to the handlers that may start in a second, or leave "
            "burst out"
        )
    if options.max_in_flight < options.concurrency:
        yield (
            f"max_in_flight={options.max_in_flight} with concurrency={options.concurrency}: handlers could never all "
            "be at work; raise max_in_flight or lower concurrency"
        )
    if options.dead_letter_queue is not None and options.on_reject == "redrive":
        yield (
            f"dead_letter_queue={options.dead_letter_queue!r} with on_reject='redrive': rejected messages would never "
            "be copied there; leave one of them out"
        )


def refuse_for_kind(options: Any, queue: str, *, fifo: bool) -> None:
    """Refuse what the kind of a queue rules out, with a `ConfigurationError`. The name of a queue shows its kind."""
    with Mistakes() as mistakes:
        mistakes.add(_on_fifo(options) if fifo else _on_standard(options, queue))


def _on_standard(options: Any, queue: str) -> Iterator[str]:
    if options.on_exhausted == "halt":
        yield (
            f"on_exhausted='halt' with queue {queue}: a standard queue keeps no order, so no group can wait. "
            "Leave on_exhausted out, or use a FIFO queue"
        )


def _on_fifo(options: Any) -> Iterator[str]:
    if options.share is not None:
        yield (
            f"share={options.share!r} on a FIFO queue: its message groups cannot share handlers with other queues; set "
            "concurrency= instead"
        )
    for name in ("fair", "group_concurrency"):
        if value := getattr(options, name):
            yield (
                f"{name}={value!r} on a FIFO queue: its message groups have one handler at a time and take turns "
                f"already; leave {name} out"
            )


def _payloads(options: Any) -> Iterator[str]:
    """Payloads where nothing could be put in the place of their pointers."""
    envelope = options.envelope
    parts = tuple(envelope) if isinstance(envelope, (list, tuple)) else (envelope,)
    if options.payloads is not None and any(type(part).__name__ == "Sns" for part in parts):
        yield (
            "payloads= with envelope=Sns(...): a signature is of the pointer, and not of the payload that takes its "
            "place; give envelope='sns', and let the queue's policy check the topic"
        )


def _retries(options: Any) -> Iterator[str]:
    """Retries that cannot work."""
    if options.retry_base > options.retry_maximum:
        yield (
            f"retry_base={options.retry_base!r} with retry_maximum={options.retry_maximum!r}: the first back-off would "
            f"be longer than the longest; raise retry_maximum to {options.retry_base!r} or more, or lower retry_base"
        )
    if options.retry is not None:
        for name, usual in (("retry_base", 2.0), ("retry_maximum", 900.0)):
            if (value := getattr(options, name)) != usual:
                yield (
                    f"{name}={value!r} with retry={options.retry!r}: both say how long a failed message waits; leave "
                    "one of them out"
                )


def _keeper(options: Any) -> Iterator[str]:
    """A keeper where there can be none."""
    if not hasattr(os, "memfd_create") or not hasattr(os, "pidfd_open"):
        yield (
            f"keeper=True on {sys.platform}: the keeper needs anonymous shared memory and descriptors of processes, "
            "which Linux has; leave it out here, e.g. keeper=sys.platform == 'linux'"
        )
    if not sys.executable or getattr(sys, "frozen", False):
        yield (
            f"keeper=True in a program without a Python interpreter (sys.executable={sys.executable!r}): the keeper is "
            "a process of that interpreter; leave it out"
        )
    for name in ("client", "http"):
        value = getattr(options, name)
        if value is not None and not isinstance(value, str):
            yield (
                f"keeper=True with {name}={value!r}: the keeper makes its calls itself, from another process, and "
                f"cannot use yours; leave one of them out"
            )


def _batches(options: Any) -> Iterator[str]:
    """Batches that cannot work."""
    if options.batch is None:
        return
    if options.max_in_flight < options.slots:
        yield (
            f"max_in_flight={options.max_in_flight} with concurrency={options.concurrency} and batch={options.batch}: "
            f"{options.concurrency} batches of {options.batch} are {options.slots} messages; lower concurrency or "
            "batch, or raise max_in_flight (SQS allows 120,000)"
        )
    memory = available_memory()
    if options.batch_bytes is not None and options.batch_bytes * options.concurrency > memory:
        yield (
            f"batch_bytes={options.batch_bytes} with concurrency={options.concurrency}: these batches may hold "
            f"{options.batch_bytes * options.concurrency:,} bytes, and this process may use {memory:,.0f}; lower one "
            "of them"
        )


def _share(options: Any) -> Iterator[str]:
    """What cannot be shared."""
    if options.share is None:
        for name in ("weight", "priority"):
            if (value := getattr(options, name)) != 1:
                yield (
                    f"{name}={value} without share: give the consumers one Share(concurrency=...) as share=, or leave "
                    f"{name} out"
                )
        return
    if options.batch is not None:
        yield (
            f"share={options.share!r} with batch={options.batch}: a share counts handlers for single messages; leave "
            "one of them out"
        )
    for name in ("fair", "group_concurrency"):
        if value := getattr(options, name):
            yield (
                f"share={options.share!r} with {name}={value!r}: a share receives only what can start at "
                "once, so no messages wait here to choose from; leave one of them out"
            )
    if options.prefetch:
        yield (
            f"share={options.share!r} with prefetch={options.prefetch}: what waits here would keep its queue's place "
            "in the share; leave prefetch out"
        )


_OF_PROCESSES = ("workers", "max_tasks", "max_age", "max_rss", "kill_rss", "start_method")


def _processes(options: Any) -> Iterator[str]:
    """What worker processes cannot do, and options that would have no effect without them."""
    if options.lane != "processes":
        given = next((name for name in _OF_PROCESSES if getattr(options, name) is not None), None)
        if given is not None:
            yield (
                f"{given}={getattr(options, given)!r} without lane='processes': there are no worker processes; set "
                f"lane='processes', or leave {given} out (concurrency= is for handlers in this process)"
            )
        return
    if options.threads is not None:
        yield (f"threads={options.threads} with lane='processes': handlers run in processes; set workers= instead")
