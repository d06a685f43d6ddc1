"""This process as a part of the state: reads its consumers, and says in words how each of them is.

Used by the watch of an admin surface. It asks consumers for what they count anyway, and changes nothing.
"""

from __future__ import annotations

import os
import socket
from contextlib import suppress
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from leasekeeper.admin.state import Totals
from leasekeeper.core.phases import Phase
from leasekeeper.core.scaling import backlog_seconds
from leasekeeper.engine.in_hand import smallest_lease
from leasekeeper.observe.rates import RECENT
from leasekeeper.observe.recorder import calls_of
from leasekeeper.texts import safe_str

if TYPE_CHECKING:
    from leasekeeper.admin.state import Backlog, ConsumerState
    from leasekeeper.consumer import Consumer
    from leasekeeper.engine.runner import Runner
    from leasekeeper.observe.recorder import Recorder
    from leasekeeper.observe.statistics import ConsumerStatistics

VERSION = version("leasekeeper")
HOST = socket.gethostname()
_STATES = {
    Phase.NEW: "STARTING",
    Phase.STARTING: "STARTING",
    Phase.RUNNING: "RUNNING",
    Phase.PAUSED: "PAUSED",
    Phase.QUIET: "QUIET",
    Phase.DRAINING: "DRAINING",
    Phase.FLUSHING: "DRAINING",
    Phase.CLOSED: "STOPPED",
}
STALLED = 3.0
"""If no handler has ended well for this many times its usual time, a backlog counts as not being worked off."""
_COUNTS = sorted(Totals.__annotations__)
URGENCY = ("UNHEALTHY", "DRAINING", "STARTING", "PAUSED", "QUIET", "RUNNING", "STOPPED")
"""States, the most urgent first."""


def key() -> str:
    """What names this process among others."""
    return f"{HOST}:{os.getpid()}"


def why_unhealthy(consumer: Consumer) -> str:
    """Why a consumer that runs, or is paused, is not healthy, as a sentence; empty for any other."""
    runner = consumer.runner
    if runner is None or runner.phase not in (Phase.RUNNING, Phase.PAUSED):
        return ""
    return safe_str(runner.context.health.reason(runner.context.clock()))


def why_blocked(consumer: Consumer) -> str:
    """What blocks the event loop of its handlers, as a sentence; empty while it is free."""
    watched = None if consumer.runner is None else consumer.runner.watched
    if watched is None or (blocked := watched.blocked) is None:
        return ""
    return f"the event loop of its handlers has been blocked for {watched.blocked_seconds:.0f} s: {blocked}"


def state_of(consumer: Consumer) -> tuple[str, str]:
    """The state of a consumer, and why, as a sentence."""
    phase, problem = consumer.phase, consumer.problem
    if unhealthy := why_unhealthy(consumer):
        return "UNHEALTHY", unhealthy
    reasons = {
        Phase.NEW: "it was not started yet",
        Phase.STARTING: "it connects, and looks at its queue",
        Phase.PAUSED: "it was paused: what is here runs, and nothing is received",
        Phase.QUIET: "it receives nothing more; a stop follows",
        Phase.DRAINING: "a stop was asked for: running handlers finish",
        Phase.FLUSHING: "a stop was asked for: the last deletes are being confirmed",
        Phase.CLOSED: safe_str(problem) if problem is not None else "",
    }
    return _STATES[phase], "; ".join(filter(None, (reasons.get(phase, ""), why_blocked(consumer))))


def most_urgent(states: dict[str, tuple[str, str]]) -> tuple[str, str]:
    """The state of several consumers together, and why, with the queue's name."""
    if not states:
        return "STARTING", "no consumer was declared yet"
    kinds = {state for state, _ in states.values()}
    if "STOPPED" in kinds and "RUNNING" in kinds:
        queue, reason = next((queue, reason) for queue, (state, reason) in states.items() if state == "STOPPED")
        return "UNHEALTHY", f"{queue} has stopped" + (f": {reason}" if reason else "")
    chosen = min(kinds, key=URGENCY.index)
    these = [(queue, reason) for queue, (state, reason) in states.items() if state == chosen]
    queue, reason = next((each for each in these if each[1]), these[0])
    if not reason or len(states) == 1:
        return chosen, reason
    others = sum(each[1] == reason for each in these) - 1
    return chosen, f"{queue}{f' and {others} more' if others else ''}: {reason}"


def consumer_state(consumer: Consumer, recorder: Recorder, counts: ConsumerStatistics | None) -> ConsumerState:
    """A consumer as it is now, without its detail; `counts` say how many messages run, wait and are being deleted."""
    now, runner, rates = recorder.last, consumer.runner, recorder.rates
    state, reason = state_of(consumer)
    pollers = [] if runner is None else runner.pollers.marks(runner.context.clock())
    # Unhealthy, if that goes on. The reason comes a moment after the marks: they are set on the engine's thread.
    if state == "RUNNING" and recorder.refusal and set(pollers) == {"failed"}:
        reason = f"no receive succeeds: {recorder.refusal}"
    return {
        "queue": consumer.address.name,
        "handler": consumer.handler.name,
        "fifo": consumer.address.fifo if runner is None else runner.source.fifo,
        "state": state,
        "reason": reason,
        "blocked": why_blocked(consumer),
        "seconds": 0.0 if now is None else round(now.seconds, 1),
        "concurrency": consumer.options.concurrency if now is None else now.concurrency,
        "visibility_timeout": consumer.options.visibility_timeout,
        "running": 0 if counts is None else counts.lane.running,
        "waiting": 0 if counts is None else counts.lane.waiting,
        "acking": 0 if counts is None else counts.ledger.held["acking"],
        "limit": 0 if now is None else now.throttler.limit,
        "prefetch": 0 if now is None else now.throttler.prefetch,
        "utilisation": 0.0 if now is None else round(now.load.utilisation, 3),
        "pollers": pollers,
        "rate_in": round(rates.received, 2),
        "rate_out": round(rates.done, 2),
        "rate_out_minute": round(_pace(recorder), 2),
        "failures_per_minute": rates.failures_a_minute,
        "calls_per_message": None if (calls := rates.calls_per_message) is None else round(calls, 3),
        "spark_in": [round(each, 1) for each in rates.by_second("received")],
        "spark_out": [round(each, 1) for each in rates.by_second("done")],
        "lag_p95": round(now.receives.lag_p95, 4) if now is not None and rates.new_lately else None,
        "handler_p50": 0.0 if now is None else round(now.throttler.handler, 6),
        "handler_p95": 0.0 if now is None else round(now.throttler.handler_p95, 6),
        "lease_margin": _margin(runner),
        "groups": None if now is None or now.groups is None else asdict(now.groups),
        "backlog": _backlog(recorder),
        "totals": totals(now),
    }


def _margin(runner: Runner | None) -> float | None:
    if runner is None:
        return None
    context = runner.context
    end = smallest_lease(context.ledger)
    return None if end is None else round(end - context.clock(), 1)


def _pace(recorder: Recorder) -> float:
    """Messages a second at which a backlog is worked off: 0 in an outage, whatever was done in the minute before it."""
    usual = 0.0 if recorder.last is None else recorder.last.throttler.handler_p95
    stalled = recorder.rates.since_done > max(RECENT, STALLED * usual)
    return 0.0 if stalled else recorder.rates.done_over_a_minute


def _backlog(recorder: Recorder) -> Backlog | None:
    last, trend = recorder.backlog.last, recorder.backlog.trend
    if last is None:
        return None
    seconds = backlog_seconds(last.counts.visible, _pace(recorder))
    return {
        "visible": last.counts.visible,
        "in_flight": last.counts.in_flight,
        "delayed": last.counts.delayed,
        "dead_letters": last.counts.dead_letters,
        "seconds": None if seconds is None else round(seconds, 1),
        "trend": None if trend is None else round(trend, 2),
        "asked": round(last.at, 1),
        "outdated": recorder.last is not None and recorder.backlog.outdated(recorder.last.receives.empty),
    }


def totals(now: ConsumerStatistics | None) -> Totals:
    """The counts since the start."""
    if now is None:
        return dict.fromkeys(_COUNTS, 0) | {"smallest_margin": None}  # type: ignore[return-value]
    work, ledger = now.work, now.ledger
    return {
        "received": ledger.received,
        "done": work.done,
        "failed": work.failed,
        "timed_out": work.timed_out,
        "retried": work.retried,
        "rejected": work.rejected,
        "exhausted": work.exhausted,
        "dead_lettered": work.dead_lettered,
        "acked": ledger.acked,
        "released": ledger.released,
        "late": ledger.late,
        "lost": ledger.lost,
        "unsettled": ledger.unsettled,
        "known_duplicates": ledger.known_duplicates,
        "extended": now.heartbeat.extended,
        "calls": calls_of(now),
        "smallest_margin": ledger.smallest_margin,
    }


def memory_used() -> int | None:
    """Bytes of memory that the process has resident; None where the system does not say."""
    with suppress(OSError, ValueError, IndexError):
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    return None
