"""The transition table: every state can be reached and left, ends cannot, and every event has somewhere to happen."""

from __future__ import annotations

import pytest

from leasekeeper.core.states import TRANSITIONS, Event, State, next_state

ENDS = {State.ACKED, State.RELEASED, State.LOST}
HELD = set(State) - ENDS


def reachable_from(state: State) -> set[State]:
    """Every state some sequence of events leads to, the first included."""
    seen, unseen = {state}, [state]
    while unseen:
        for following in TRANSITIONS.get(unseen.pop(), {}).values():
            if following not in seen:
                seen.add(following)
                unseen.append(following)
    return seen


def test_every_state_is_reached_from_waiting() -> None:
    assert reachable_from(State.WAITING) == set(State)


@pytest.mark.parametrize("state", sorted(HELD))
def test_every_held_state_can_reach_an_end(state: State) -> None:
    assert reachable_from(state) & ENDS


@pytest.mark.parametrize("state", sorted(ENDS))
@pytest.mark.parametrize("event", list(Event))
def test_ends_have_no_way_out(state: State, event: Event) -> None:
    assert state not in TRANSITIONS
    with pytest.raises(AssertionError, match=rf"no transition from {state.name} on {event.name}: a bug in Leasekeeper"):
        next_state(state, event)


def test_the_table_says_of_every_held_state_what_a_redelivery_means() -> None:
    """L29: a newer receipt may come for anything that is held, in any state."""
    assert {state for state, row in TRANSITIONS.items() if Event.RENEW in row} == HELD


def test_a_lease_can_run_out_in_every_state_that_has_one() -> None:
    """L8: LAPSED has none any more."""
    assert {state for state, row in TRANSITIONS.items() if Event.EXPIRE in row} == HELD - {State.LEASE_LOST}


def test_whatever_is_asked_of_sqs_has_an_answer_of_either_kind() -> None:
    asked = {State.REJECTING, State.ACKING, State.RELEASING}
    for event in (Event.CONFIRM, Event.REFUSE):
        assert {state for state, row in TRANSITIONS.items() if event in row} == asked


def test_what_is_at_work_can_be_finished_or_given_back() -> None:
    """L6: there is no state at work without a way out that a lane can take."""
    at_work = {State.WAITING, State.RUNNING, State.LEASE_LOST}
    for event in (Event.DONE, Event.RELEASE):
        assert {state for state, row in TRANSITIONS.items() if event in row} == at_work
    assert {state for state, row in TRANSITIONS.items() if Event.REJECT in row} == at_work - {State.WAITING}


def test_only_a_handler_that_was_at_work_is_called_again_and_only_with_a_lease() -> None:
    """L8: another consumer may run a message whose lease has ended."""
    assert {state: row[Event.AGAIN] for state, row in TRANSITIONS.items() if Event.AGAIN in row} == {
        State.RUNNING: State.WAITING,
        State.LEASE_LOST: State.LOST,
    }


def test_every_event_happens_somewhere() -> None:
    assert {event for row in TRANSITIONS.values() for event in row} == set(Event)


def test_finished_work_is_never_given_back() -> None:
    """L8: once the work is done nothing leads to RELEASING or to running again."""
    assert reachable_from(State.ACKING) == {State.ACKING, State.ACKED, State.LOST}


def test_what_was_lost_at_work_is_only_deleted_or_dropped() -> None:
    """L8: past the deadline nothing is sent with a receipt but a delete; only a newer receipt changes that."""
    assert {event: state for event, state in TRANSITIONS[State.LEASE_LOST].items() if event is not Event.RENEW} == {
        Event.DONE: State.ACKING,
        Event.RELEASE: State.LOST,
        Event.REJECT: State.LOST,
        Event.AGAIN: State.LOST,
    }


def test_next_state_is_the_table() -> None:
    for state, row in TRANSITIONS.items():
        for event in Event:
            if event in row:
                assert next_state(state, event) is row[event]
            else:
                with pytest.raises(AssertionError):
                    next_state(state, event)
