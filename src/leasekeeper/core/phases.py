"""The phases of a consumer's life, and every transition there is between them.

The runner moves through RUNNING to CLOSED; the consumer around it knows NEW and STARTING. A transition that is not in
the table is a bug of ours and raises. `docs/internals/states.md` draws both tables, this one and that of messages.
"""

from __future__ import annotations

from enum import Enum


class Phase(Enum):
    """How far a consumer has come."""

    NEW = "new"
    """Made, not started."""
    STARTING = "starting"
    """Connecting, and looking at its queue."""
    RUNNING = "running"
    """Receives and runs messages."""
    PAUSED = "paused"
    """Receives nothing until it is resumed; what is here is run. Polls in flight may still bring messages."""
    QUIET = "quiet"
    """As paused, but it cannot be resumed: a stop follows."""
    DRAINING = "draining"
    """A stop was asked for: running handlers finish, with heartbeats; what has not started is released."""
    FLUSHING = "flushing"
    """No handler runs any more: the last deletes and releases are sent and confirmed."""
    CLOSED = "closed"
    """Ended. It may be started again."""


class Change(Enum):
    """What happens to a consumer."""

    START = "start"
    """A start is asked for."""
    OPENED = "opened"
    """The queue is usable, and receiving begins."""
    PAUSE = "pause"
    """`pause()` was called: receive nothing for now."""
    RESUME = "resume"
    """`resume()` was called: receive again."""
    QUIET = "quiet"
    """`quiet()` was called: receive nothing more."""
    STOP = "stop"
    """A stop is asked for."""
    DRAINED = "drained"
    """No handler runs any more, or `drain_timeout` is over."""
    ENDED = "ended"
    """Everything is closed; or the start failed, or an error or a forced stop ended it."""


TRANSITIONS: dict[Phase, dict[Change, Phase]] = {
    Phase.NEW: {Change.START: Phase.STARTING, Change.STOP: Phase.CLOSED},
    Phase.STARTING: {Change.OPENED: Phase.RUNNING, Change.ENDED: Phase.CLOSED},
    Phase.RUNNING: {
        Change.PAUSE: Phase.PAUSED,
        Change.QUIET: Phase.QUIET,
        Change.STOP: Phase.DRAINING,
        Change.ENDED: Phase.CLOSED,
    },
    Phase.PAUSED: {
        Change.RESUME: Phase.RUNNING,
        Change.QUIET: Phase.QUIET,
        Change.STOP: Phase.DRAINING,
        Change.ENDED: Phase.CLOSED,
    },
    Phase.QUIET: {Change.STOP: Phase.DRAINING, Change.ENDED: Phase.CLOSED},
    Phase.DRAINING: {Change.DRAINED: Phase.FLUSHING, Change.ENDED: Phase.CLOSED},
    Phase.FLUSHING: {Change.ENDED: Phase.CLOSED},
    Phase.CLOSED: {Change.START: Phase.STARTING},
}
"""Phase, change, next phase. ENDED without a drain is an error that ended the consumer, or a forced stop."""


def next_phase(phase: Phase, change: Change) -> Phase:
    """Where `change` leads from `phase`.

    Raises:
        AssertionError: the table has no such transition.
    """
    following = TRANSITIONS[phase].get(change)
    if following is None:
        raise AssertionError(f"no transition from {phase.name} on {change.name}: a bug in Leasekeeper")
    return following
