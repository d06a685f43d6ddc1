"""What the engine and its worker processes say to each other."""

from __future__ import annotations

import traceback
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from leasekeeper import Exponential, Reject, Retry
from leasekeeper.errors import HandlerError
from leasekeeper.lanes.processes.errors import LONGEST
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
from leasekeeper.observe.failures import place_of
from leasekeeper.outcomes import DONE, ENDED, NOT_STARTED, WITHHELD, Failed, Skipped, Unclaimed

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


@pytest.mark.parametrize("outcome", [DONE, WITHHELD, NOT_STARTED, Unclaimed(7.5), ENDED, Skipped("no use", warn=True)])
def test_a_plain_outcome_is_the_same_on_the_other_side(outcome: Outcome) -> None:
    assert unpack_outcome(pack_outcome(outcome)) == outcome


def test_a_key_that_was_not_claimed_keeps_what_the_store_said() -> None:
    found = unpack_outcome(pack_outcome(Unclaimed(7.5, ConnectionError("refused"), answered=True)))
    assert isinstance(found, Unclaimed)
    assert (found.after, str(found.error), found.answered, found.waits) == (7.5, "refused", True, False)


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
    assert outcome.error.__cause__ is None
    assert outcome.rule == Exponential(base=5)


def test_an_error_without_end_or_text_is_no_obstacle() -> None:
    class Nasty(Exception):
        def __str__(self) -> str:
            raise RuntimeError

    outcome = unpack_outcome(pack_outcome(Failed(Nasty(), rule_error=Nasty())))
    assert isinstance(outcome, Failed)
    assert type(outcome.error).__name__ == "Nasty"
    assert type(outcome.rule_error).__name__ == "Nasty"


def price(each: int) -> float:
    return 1 / each


def handle() -> None:
    try:
        price(0)
    except ZeroDivisionError as error:
        error.add_note("of an order")
        raise Local("no price") from error


def test_the_traceback_of_an_error_shows_the_same_lines_and_causes() -> None:
    with pytest.raises(Local) as raised:
        handle()
    outcome = unpack_outcome(pack_outcome(Failed(raised.value)))
    assert isinstance(outcome, Failed)

    def shown(error: BaseException) -> list[str]:
        lines = [line for line in "".join(traceback.format_exception(error)).splitlines() if set(line) - set(" ~^")]
        return [line.removeprefix("leasekeeper.errors.") for line in lines]

    assert shown(outcome.error) == shown(raised.value)
    assert place_of(outcome.error.__traceback__) == place_of(raised.value.__traceback__)


def test_what_was_on_its_way_when_an_error_was_raised_is_shown_unless_it_was_put_away() -> None:
    def packed(*, hide: bool) -> BaseException:
        try:
            try:
                price(0)
            except ZeroDivisionError:
                if hide:
                    raise Local("second") from None
                raise Local("second")  # noqa: B904 - the context is what is tested
        except Local as error:
            outcome = unpack_outcome(pack_outcome(Failed(error)))
            assert isinstance(outcome, Failed)
            return outcome.error
        raise AssertionError

    assert type(packed(hide=False).__context__).__name__ == "ZeroDivisionError"
    assert packed(hide=True).__context__ is None


def test_a_deep_recursion_and_a_group_of_errors_are_bounded() -> None:
    def deep(left: int) -> None:
        if left:
            deep(left - 1)
        raise ExceptionGroup("several", [Local("one"), Local("two")])

    with pytest.raises(ExceptionGroup) as raised:
        deep(300)
    outcome = unpack_outcome(pack_outcome(Failed(raised.value)))
    assert isinstance(outcome, Failed)
    assert len(traceback.extract_tb(outcome.error.__traceback__)) == LONGEST
    assert "Local: two" in outcome.error.__notes__[0]


class _Number(float):
    """As the numbers of NumPy are: a subclass that MessagePack does not know."""


def test_numbers_of_other_kinds_are_taken_along() -> None:
    outcome = unpack_outcome(to_engine(next(Frames().feed(framed(Ended(1, pack_outcome(Retry(_Number(5)))))))).outcome)
    assert isinstance(outcome, Retry)
    assert outcome.after == 5


def test_a_rule_that_cannot_be_taken_along_is_named_and_leaves_the_default() -> None:
    class Inner(Exponential):
        """No other process can import it."""

    outcome = unpack_outcome(pack_outcome(Failed(ValueError("x"), rule=Inner())))
    assert isinstance(outcome, Failed)
    assert outcome.rule is None
    assert "which cannot be taken from a worker process to the engine" in str(outcome.rule_error)
    assert "Inner" in str(outcome.rule_error)
