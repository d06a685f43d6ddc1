"""Figures from the counts and notes of a run: pure arithmetic, one function for each question.

Everything "a message" is per message that was deleted. Times are seconds of the monotonic clock, which clients, server
and harness share.
"""

from __future__ import annotations

import math
import statistics
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    from notes import Note
    from processes import Exit
    from scenarios import Scenario

    Figures = dict[str, Any]

WINDOW = 0.1
"""Seconds over which finishes are counted, to see when a client reached its full speed."""
SUSTAINED = 10
"""How many windows in a row make the sustained rate."""
FULL = 0.9
"""The share of the best sustained rate that is full speed."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The state of a run at one time: the server's counts, the client's CPU seconds and peak memory in megabytes."""

    counts: dict[str, Any]
    cpu: float
    memory: float


def costs(scenario: Scenario, before: Snapshot, after: Snapshot) -> Figures:
    """The figures of all runs: speed, CPU, calls, memory."""
    first, last = before.counts, after.counts
    calls = {name: count - first["calls"].get(name, 0) for name, count in last["calls"].items()}
    figures: Figures = {
        "deleted": last["deleted"],
        "redelivered": last["redelivered"],
        "most_in_flight": last["most_in_flight"],
        "heartbeats": last["heartbeats"],
        "heartbeat_calls": last["heartbeat_calls"],
        "releases": last["releases"],
        "empty_receives": last["empty_receives"] - first["empty_receives"],
        "calls_by_operation": {name: count for name, count in calls.items() if count},
        "peak_mb": after.memory,
        "cpu_seconds": after.cpu - before.cpu,
    }
    deleted = last["deleted"]
    if not deleted:
        return figures
    seconds = last["last_delete"] - last["released_at"]
    cpu_us = (after.cpu - before.cpu) / deleted * 1e6
    return figures | {
        "seconds": seconds,
        "rate": deleted / seconds,
        "megabytes_a_second": deleted * scenario.size / seconds / 1e6,
        "cpu_us": cpu_us,
        "calls": sum(calls.values()) / deleted,
        "server_us": (last["server_cpu"] - first["server_cpu"]) / deleted * 1e6,
    }


def share(scenario: Scenario, figures: Figures) -> Figures:
    """The share of the rate that the scenario allows, by its rules or by its concurrency alone."""
    allowed = scenario.allowed(scenario.seconds, scenario.latency)
    return {"share": figures["rate"] / allowed} if "rate" in figures else {}


def alone(scenario: Scenario, notes: Sequence[Note], calls: Sequence[float]) -> Figures:
    """What a scenario's handlers take without a queue, and what its rules allow with handlers and calls that long.

    Args:
        scenario: says how many handlers were called at once.
        notes: of handlers that were called again and again.
        calls: the seconds of calls that did not wait.
    """
    seconds = max(note.finished for note in notes) - min(note.started for note in notes)
    handler, call = scenario.at_once * seconds / len(notes), statistics.median(calls)
    return {
        "rate": len(notes) / seconds,
        "handler_ms": handler * 1000,
        "call_ms": call * 1000,
        "allowed_here": scenario.allowed(handler, call),
    }


def beside_alone(notes: Sequence[Note], rate: float, allowed: float | None) -> Figures:
    """How long handlers took with a queue, and which share of what this machine allows the client reached.

    The middle is from the first tenth of the finished messages to the last: without the start, when the first messages
    are still to come, and without the end, when there are fewer groups than handlers.

    Args:
        notes: of all messages.
        rate: messages a second in the whole run.
        allowed: messages a second that the machine allows; None: unknown.
    """
    ended = [note for note in notes if note.finishes]
    finishes = sorted(note.finished for note in ended)
    if len(finishes) < len(notes):
        return {}
    first, last = len(finishes) // 10, len(finishes) * 9 // 10
    found: Figures = {
        "handler_ms": statistics.fmean(note.finished - note.started for note in ended) * 1000,
        "middle_rate": (last - first) / (finishes[last] - finishes[first]),
    }
    if allowed is None:
        return found
    return found | {
        "allowed_here": allowed,
        "share_here": rate / allowed,
        "middle_share_here": found["middle_rate"] / allowed,
    }


def cold(notes: Sequence[Note], hot: int, released: float) -> Figures:
    """The rate at which all messages but the first `hot` were handled, from the release to the last of them."""
    finishes = [note.finished for note in notes[hot:] if note.finishes]
    if len(finishes) < len(notes) - hot:
        return {"unfinished": f"{len(finishes):,} of {len(notes) - hot:,} messages of the other groups were handled"}
    return {
        "cold_rate": len(finishes) / (max(finishes) - released),
        "hot_handled": sum(n.finishes > 0 for n in notes[:hot]),
    }


def beyond(scenario: Scenario, figures: Figures) -> Figures:
    """The CPU beyond that of the handlers."""
    return {"beyond_us": figures["cpu_us"] - scenario.seconds * 1e6} if "cpu_us" in figures else {}


def ramp(notes: Sequence[Note], released: float, last_delete: float | None) -> Figures:
    """From the release to the first message handled, to full speed, and to the empty queue; in seconds.

    Full speed is reached at the start of the first window of 100 ms that has at least nine tenths of the best sustained
    rate; the best sustained rate is the best mean of ten windows in a row, or of all when there are fewer.
    """
    finishes = sorted(note.finished - released for note in notes if note.finishes)
    if not finishes or last_delete is None:
        return {}
    windows = [0] * (int(finishes[-1] / WINDOW) + 1)
    for time in finishes:
        windows[int(time / WINDOW)] += 1
    width = min(SUSTAINED, len(windows))
    best = max(sum(windows[at : at + width]) for at in range(len(windows) - width + 1)) / width
    full = next(at for at, count in enumerate(windows) if count >= FULL * best)
    emptied = {"to_empty": last_delete - released} if len(finishes) == len(notes) else {}
    return {"to_first": finishes[0], "to_full": full * WINDOW, **emptied}


def lease(figures: Figures, notes: Sequence[Note], count: int) -> Figures:
    """The cost of keeping leases, and whether it worked."""
    extensions = figures["heartbeats"]
    return {
        "heartbeat_calls_a_message": figures["heartbeat_calls"] / count,
        "heartbeats_a_message": extensions / count,
        "calls_an_extension": figures["heartbeat_calls"] / extensions if extensions else None,
        "duplicates": sum(max(0, note.starts - 1) for note in notes),
        "in_time": figures["deleted"] / count,
    }


def delay(notes: Sequence[Note], released: dict[int, float]) -> Figures:
    """From a message's release to its handler's start, in milliseconds."""
    delays = sorted((notes[index].started - time) * 1000 for index, time in released.items() if notes[index].starts)
    return {"p50_ms": quantile(delays, 0.5), "p99_ms": quantile(delays, 0.99)} if delays else {}


def stop(notes: Sequence[Note], deleted: set[int], leased: list[int], ended: Exit) -> Figures:
    """The messages that SIGTERM left behind."""
    return {
        "stop_deleted": len(deleted),
        "left_leased": len(leased),
        "finished_undeleted": sum(1 for index, note in enumerate(notes) if note.finishes and index not in deleted),
        "cut_short": sum(1 for note in notes if note.starts and not note.finishes),
        "lost": sum(1 for index in deleted if not notes[index].finishes),
        "exit_seconds": ended.seconds,
        "exit_status": ended.status,
        "killed": int(ended.killed),
    }


def quantile(ordered: Sequence[float], share: float) -> float:
    """The least value that at least this share of all values does not exceed."""
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]
