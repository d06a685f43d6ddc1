"""What the engine and its worker processes say to each other."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from leasekeeper import Exponential, Reject, Retry
from leasekeeper.errors import HandlerError
from leasekeeper.lanes.processes.frames import (
    Ended,
    Frames,
    Run,
    framed,
    pack_outcome,
    pack_received,
    to_engine,
    to_worker,
    unpack_outcome,
    unpack_received,
)
from leasekeeper.message import MessageAttribute, Received
from leasekeeper.outcomes import DONE, ENDED, NOT_STARTED, WITHHELD, Failed, NotStarted, Skipped

if TYPE_CHECKING:
    from leasekeeper.outcomes import Outcome

MESSAGE = Received(
    message_id="m",
    receipt="r",
    body="grüß\n" + "x" * 1000,
    system={"ApproximateReceiveCount": "3"},
    attributes={"blob": MessageAttribute(data_type="Binary", binary_value=b"\x00\xff")},
)


class Local(Exception):
    """An error of a handler that no other process can import."""


def test_a_message_is_the_same_on_the_other_side() -> None:
    assert unpack_received(pack_received(MESSAGE)) == MESSAGE


@given(st.lists(st.integers(1, 300), max_size=30))
def test_frames_are_found_wherever_the_stream_is_cut(cuts: list[int]) -> None:
    sent = [Ended(number, ["done"]) for number in range(20)]
    data = b"".join(map(framed, sent))
    frames, found, place = Frames(), list[object](), 0
    for cut in [*cuts, len(data)]:
        found += [to_engine(body) for body in frames.feed(data[place : place + cut])]
        place += cut
    assert found == sent


def test_a_frame_for_the_worker_is_read_there() -> None:
    run = Run(7, pack_received(MESSAGE), 2, 1.5, later=False)
    (body,) = Frames().feed(framed(run))
    assert to_worker(body) == run


@pytest.mark.parametrize("outcome", [DONE, WITHHELD, NOT_STARTED, NotStarted(7.5), ENDED, Skipped("no use", warn=True)])
def test_a_plain_outcome_is_the_same_on_the_other_side(outcome: Outcome) -> None:
    assert unpack_outcome(pack_outcome(outcome)) == outcome


def test_a_retry_and_a_rejection_keep_what_they_say() -> None:
    retry = unpack_outcome(pack_outcome(Retry(30)))
    assert isinstance(retry, Retry)
    assert retry.after == 30
    reject = Reject("no such customer")
    reject.__cause__ = KeyError("ann")
    found = unpack_outcome(pack_outcome(reject))
    assert isinstance(found, Reject)
    assert found.reason == "no such customer"
    assert type(found.__cause__).__name__ == "KeyError"


def test_an_error_comes_as_text_under_its_own_name() -> None:
    def fail() -> None:
        raise Local("bad thing")

    with pytest.raises(Local) as raised:
        fail()
    outcome = unpack_outcome(pack_outcome(Failed(raised.value, rule=Exponential(base=5))))
    assert isinstance(outcome, Failed)
    assert isinstance(outcome.error, HandlerError)
    assert type(outcome.error).__name__ == "Local"
    assert str(outcome.error) == "bad thing"
    assert "in fail" in str(outcome.error.__cause__)
    assert outcome.rule == Exponential(base=5)


def test_an_error_without_end_or_text_is_no_obstacle() -> None:
    class Nasty(Exception):
        def __str__(self) -> str:
            raise RuntimeError

    outcome = unpack_outcome(pack_outcome(Failed(Nasty(), rule_error=Nasty())))
    assert isinstance(outcome, Failed)
    assert type(outcome.error).__name__ == "Nasty"
    assert type(outcome.rule_error).__name__ == "Nasty"
