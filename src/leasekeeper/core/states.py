"""The states of a message that we hold, and every transition there is between them.

This file decides the state of a delivery; only the ledger, its leases and `delivery.catch_up` apply it.
A transition that is not in the table is a bug of ours and raises. `docs/internals/states.md` draws the table.
"""

from __future__ import annotations

from enum import IntEnum


class State(IntEnum):
    """Where a delivery stands. The last three are ends: the ledger no longer holds the row."""

    WAITING = 0
    """Received; its handler has not started."""
    RUNNING = 1
    """Its handler is running, or has withheld the ack."""
    LEASE_LOST = 2
    """Its handler is running, but the lease has ended: another consumer may have the message."""
    REJECTING = 3
    """Rejected: its copy to the dead-letter queue waits for confirmation."""
    ACKING = 4
    """Finished: its delete waits for confirmation."""
    RELEASING = 5
    """Given back: its visibility change waits for confirmation."""
    ACKED = 6
    """Deleted, confirmed."""
    RELEASED = 7
    """Visible again, now or after its back-off."""
    LOST = 8
    """No longer ours, and neither deleted nor released by us."""


class Event(IntEnum):
    """What happens to a delivery."""

    START = 0
    """A lane calls the handler."""
    DONE = 1
    """It is finished, or was finished before: delete it."""
    RELEASE = 2
    """It is given back: retry, stop, or never started."""
    REJECT = 3
    """It can never be processed: copy it to the dead-letter queue."""
    CONFIRM = 4
    """SQS confirmed what we asked for."""
    REFUSE = 5
    """SQS refused for good, or the lease ended before it confirmed."""
    EXPIRE = 6
    """The lease ran out."""
    RENEW = 7
    """A redelivery brought a newer receipt, and with it a new lease."""
    AGAIN = 8
    """Its handler has ended, and is to be called again under the same lease."""


TRANSITIONS: dict[State, dict[Event, State]] = {
    State.WAITING: {
        Event.START: State.RUNNING,
        Event.DONE: State.ACKING,
        Event.RELEASE: State.RELEASING,
        Event.EXPIRE: State.LOST,
        Event.RENEW: State.WAITING,
    },
    State.RUNNING: {
        Event.DONE: State.ACKING,
        Event.RELEASE: State.RELEASING,
        Event.REJECT: State.REJECTING,
        Event.EXPIRE: State.LEASE_LOST,
        Event.RENEW: State.RUNNING,
        Event.AGAIN: State.WAITING,
    },
    State.LEASE_LOST: {
        Event.DONE: State.ACKING,
        Event.RELEASE: State.LOST,
        Event.REJECT: State.LOST,
        Event.RENEW: State.RUNNING,
        Event.AGAIN: State.LOST,  # nothing runs again without a lease
    },
    State.REJECTING: {
        Event.CONFIRM: State.ACKING,
        Event.REFUSE: State.RELEASING,
        Event.EXPIRE: State.LOST,
        Event.RENEW: State.REJECTING,
    },
    State.ACKING: {
        Event.CONFIRM: State.ACKED,
        Event.REFUSE: State.LOST,
        Event.EXPIRE: State.ACKING,
        Event.RENEW: State.ACKING,
    },
    State.RELEASING: {
        Event.CONFIRM: State.RELEASED,
        Event.REFUSE: State.LOST,
        Event.EXPIRE: State.RELEASED,
        # Received again before the release was confirmed: it did take effect.
        Event.RENEW: State.RELEASED,
    },
}
"""State, event, next state. The ends have no row: nothing happens to them after that."""

_NEXT: tuple[tuple[State | None, ...], ...] = tuple(
    tuple(TRANSITIONS.get(state, {}).get(event) for event in Event) for state in State
)


def next_state(state: State, event: Event) -> State:
    """Where `event` leads from `state`.

    Raises:
        AssertionError: the table has no such transition.
    """
    following = _NEXT[state][event]
    if following is None:
        raise AssertionError(f"no transition from {state.name} on {event.name}: a bug in Leasekeeper")
    return following
