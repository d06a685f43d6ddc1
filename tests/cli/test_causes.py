"""Causes: what a dead letter says of itself, and which dead letters are of one cause."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from leasekeeper.cli.causes import Cause, Causes, DeadLetter, normalised, one_line
from leasekeeper.cli.redrive.filters import Filters, Pattern
from leasekeeper.envelopes.choosing import NAMES, advice
from leasekeeper.failure import FAILURE, Failure, timestamp
from leasekeeper.message import Received

ARN = "arn:aws:sqs:eu-west-1:123456789012:"
EPOCH = 1_700_000_000.0


def message(number: int = 1, **more: Any) -> Received:
    system = {"SentTimestamp": str(int((EPOCH + number) * 1000))}
    return Received(
        message_id=f"id-{number}", receipt="r", body="b", system=system | more.pop("system", {}), attributes=more
    )


def failed(number: int = 1, **said: Any) -> Received:
    failure = Failure(**{"reason": "exhausted", "queue": f"{ARN}orders", "at": timestamp(EPOCH + number), **said})
    return message(number, **{FAILURE: failure.attribute()})


def moved(number: int = 1, queue: str = "orders", **more: Any) -> Received:
    return message(number, **{"system": {"DeadLetterQueueSourceArn": f"{ARN}{queue}"}, **more})


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("no answer from 10.0.0.3:5432 in 30.5 s", "no answer from * in * s"),
        ("order 'A-17' of \"x y\" and `z`", "order * of * and *"),
        ("can't connect, don't retry", "can't connect, don't retry"),
        ("order-123 of order12", "order-* of order*"),
        ("utf8, s3, HTTP2", "utf8, s3, HTTP2"),
        ("card of bl1 is blocked by P5", "card of bl* is blocked by P*"),
        ("step 3 of 4", "step * of *"),
        ("HTTP/1.1 404 in 3 s, status_code=404, Status: 404", "HTTP/1.1 404 in * s, status_code=404, Status: 404"),
        ("E5: card 17 refused with code E51", "E5: card * refused with code E51"),
        ("code 1234567 of a parcel", "code * of a parcel"),
        ("HTTP 503 from https://api.example.com/v2/orders/8812?x=1", "HTTP 503 from https://api.example.com/v2/orders/*?x=*"),
        ("job 6f1b2c3d-0000-4000-8000-1234567890ab at 2026-11-28T20:41:09.123Z", "job * at *"),
        ("at 2026-11-28 20:41:09+00:00", "at *"),
        ("[Errno 111] Connect call failed ('127.0.0.1', 5432)", "[Errno 111] Connect call failed (*)"),
        ("ids [1, 2, 3]", "ids [*]"),
        ("0xDEADBEEF deadbeef01 AKIAIOSFODNN7EXAMPLE", "*"),
        ("a feedback of facade", "a feedback of facade"),
        ("1 error for Order\nid\n  must be an int", "* error for Order id must be an int"),
        ("it took 5ms", "it took *ms"),
        ("x" * 400, "x" * 300 + "*"),
        ("", ""),
    ],
)  # fmt: skip
def test_numbers_ids_and_quoted_values_are_blanked(text: str, shown: str) -> None:
    assert normalised(text) == shown


def test_our_own_advice_stays_readable() -> None:
    """What follows from the code is the same for all messages."""
    for name in NAMES:
        said = f"it is {NAMES[name]}: {advice(name, ('sns',))}"
        assert normalised(said) == said
    said = (
        "its body is not an SNS notification, which envelope='sns' opens: no 'Type'; leave it out then, or give 'auto'"
    )
    assert normalised(said) == said.replace("'Type'", "*")
    said = "handler ship ran longer than handler_timeout=2.5 s; its message is retried"
    assert normalised(said) == said


@given(st.text(st.sampled_from("ab09f-'\"`*, .:\nxZ[]"), max_size=60) | st.text(max_size=40), st.integers(1, 12))
def test_a_cause_as_a_pattern_matches_every_text_that_it_came_from(text: str, times: int) -> None:
    assert Pattern(normalised(text * times)).matches(one_line(text * times))


def test_long_texts_take_linear_time() -> None:
    """What others write must not stop the command: no pattern backtracks."""
    for text in ("'" * 100_000, "0" * 100_000, "a0" * 50_000, "1," * 50_000, "-" * 100_000):
        assert len(normalised(text)) <= 301
        assert not Pattern("*-*-*-*-*-*-*-*x").matches(text)


@pytest.mark.parametrize(
    ("received", "letter"),
    [
        (message(), DeadLetter(sent=EPOCH + 1)),
        (moved(), DeadLetter(queue="orders", moved=True, sent=EPOCH + 1)),
        (
            failed(error="TimeoutError", message="a\n b", sent=timestamp(EPOCH - 60)),
            DeadLetter(
                queue="orders",
                failure=Failure(
                    reason="exhausted",
                    error="TimeoutError",
                    message="a\n b",
                    queue=f"{ARN}orders",
                    at=timestamp(EPOCH + 1),
                    sent=timestamp(EPOCH - 60),
                ),
                sent=EPOCH - 60,
            ),
        ),
    ],
)
def test_a_dead_letter_says_where_it_came_from(received: Received, letter: DeadLetter) -> None:
    assert DeadLetter.of(received) == letter


def test_the_failure_of_an_earlier_life_says_nothing_about_a_message_that_sqs_moved() -> None:
    """A task of SQS moves a copy back with its attributes; if it then fails, SQS may move it."""
    stale = Failure(reason="exhausted", error="TimeoutError", queue=f"{ARN}orders").attribute()
    more: dict[str, Any] = {FAILURE: stale}
    letter = DeadLetter.of(moved(**more))
    assert (letter.moved, letter.failure, letter.reason, letter.error) == (True, None, "maxReceiveCount", "")


def test_messages_of_one_cause_are_one_group() -> None:
    received = [
        failed(1, error="TimeoutError", message="no answer in 3 s"),
        moved(2),
        failed(3, error="TimeoutError", message="no answer in 30 s", queue=f"{ARN}bills"),
        failed(4, error="KeyError", message="'a'"),
        message(5),
        failed(6, error="TimeoutError", message="no answer in 1 s"),
        moved(7, "bills"),
    ]
    causes = Causes(received).sorted()
    assert [(cause.count, cause.title, cause.where) for cause in causes] == [
        (3, "TimeoutError: no answer in * s", ("error=TimeoutError", "message=no answer in * s")),
        (2, "moved by SQS (maxReceiveCount)", ("reason=maxReceiveCount",)),
        (1, "KeyError: *", ("error=KeyError",)),
        (1, "no cause recorded: no consumer of ours sent it", ("reason=unknown",)),
    ]
    first, by_sqs = causes[:2]
    assert first.queues == {"orders": 2, "bills": 1}
    assert first.failed == (EPOCH + 1, EPOCH + 6)
    assert first.examples == ["id-1", "id-3", "id-6"]
    assert (by_sqs.failed, by_sqs.sent) == (None, (EPOCH + 2, EPOCH + 7))


def test_ids_with_one_digit_and_with_two_are_one_cause_but_codes_are_not() -> None:
    texts = [f"card of bl{number} is blocked, HTTP 402" for number in range(1, 13)]
    received = [failed(at, error="Refused", message=text) for at, text in enumerate(texts, 1)]
    other = failed(13, error="Refused", message="card of bl1 is blocked, HTTP 500")
    causes = Causes([*received, other]).sorted()
    assert [(cause.count, cause.text) for cause in causes] == [
        (12, "card of bl* is blocked, HTTP 402"),
        (1, "card of bl* is blocked, HTTP 500"),
    ]
    filters = Filters.read(causes[0].where, None, None)
    assert [filters.match(each, DeadLetter.of(each)) for each in [*received, other]] == [True] * 12 + [False]


def test_the_suggested_filter_of_a_cause_chooses_its_messages_and_no_others() -> None:
    received = [
        failed(1, error="TimeoutError", message="no answer in 3 s"),
        failed(2, error="KeyError", message="'a'"),
        moved(3),
        message(4),
    ]
    for each in received:
        (cause,) = Causes([each]).sorted()
        filters = Filters.read(cause.where, None, None)
        assert [other for other in received if filters.match(other, DeadLetter.of(other))] == [each]


def test_a_cause_as_json() -> None:
    (cause,) = Causes(
        [failed(1, error="TimeoutError", message="in 3 s"), failed(9, error="TimeoutError", message="in 4 s")]
    ).sorted()
    assert isinstance(cause, Cause)
    assert json.loads(json.dumps(cause.as_object())) == {
        "count": 2,
        "reason": "exhausted",
        "error": "TimeoutError",
        "message": "in * s",
        "example": "in 3 s",
        "queues": {"orders": 2},
        "first_failed": "2023-11-14T22:13:21.000Z",
        "last_failed": "2023-11-14T22:13:29.000Z",
        "first_sent": "2023-11-14T22:13:21.000Z",
        "last_sent": "2023-11-14T22:13:29.000Z",
        "ids": ["id-1", "id-9"],
        "where": ["error=TimeoutError", "message=in * s"],
    }
