"""The option `envelope`: the handler gets what the envelope holds, and `message.envelopes` the rest."""

from __future__ import annotations

import gzip
import json
from base64 import b64decode, b64encode
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec
import pydantic
import pytest

from leasekeeper import ConfigurationError, Message, Reject, Retry
from leasekeeper.envelopes import (
    CloudEvent,
    Envelope,
    EventBridgeEvent,
    Opened,
    S3Event,
    S3Record,
    SnsNotification,
)
from leasekeeper.message import MessageAttribute
from leasekeeper.outcomes import Done, Failed, Skipped, Unclaimed
from leasekeeper.testing.handling import Handled, run_handler

if TYPE_CHECKING:
    from collections.abc import Callable

    from leasekeeper.message import Received


@dataclass
class Order:
    id: int


class OrderModel(pydantic.BaseModel):
    id: int


class OrderStruct(msgspec.Struct):
    id: int


def handled(body: str, body_type: Any, **options: Any) -> tuple[Message[Any], Handled]:
    """The message that a handler of `Message[body_type]` gets."""
    seen: list[Message[Any]] = []

    def handle(message: Message[Any]) -> None:
        seen.append(message)

    handle.__annotations__["message"] = Message[body_type]
    done = run_handler(handle, body, **options)
    assert done.acked, done
    return seen[0], done


def reason(body: str, body_type: Any, **options: Any) -> str:
    """Why a body is rejected."""

    def handle(message: Any) -> None:
        raise AssertionError

    handle.__annotations__["message"] = body_type
    outcome = run_handler(handle, body, **options).outcome
    assert isinstance(outcome, Reject), outcome
    return outcome.reason


@pytest.mark.parametrize(
    ("name", "envelope", "kinds"),
    [
        ("sns", "sns", [SnsNotification]),
        ("sns_fifo", "sns", [SnsNotification]),
        ("sns_null_subject", "sns", [SnsNotification]),
        ("eventbridge", "eventbridge", [EventBridgeEvent]),
        ("eventbridge_replay", "eventbridge", [EventBridgeEvent]),
        ("eventbridge_in_sns", ("sns", "eventbridge"), [SnsNotification, EventBridgeEvent]),
        ("cloudevent", "cloudevents", [CloudEvent]),
        ("cloudevent_in_sns", ["sns", "cloudevents"], [SnsNotification, CloudEvent]),
        ("sns", "auto", [SnsNotification]),
        ("eventbridge", "auto", [EventBridgeEvent]),
        ("eventbridge_in_sns", "auto", [SnsNotification, EventBridgeEvent]),
        ("cloudevent", "auto", [CloudEvent]),
        ("cloudevent_in_sns", "auto", [SnsNotification, CloudEvent]),
    ],
)
@pytest.mark.parametrize("body_type", [Order, OrderModel, OrderStruct, dict, dict[str, int]], ids=str)
def test_the_handler_gets_what_is_inside(
    name: str, envelope: Envelope, kinds: list[type], body_type: Any, golden: Callable[[str], str]
) -> None:
    body = golden(name)
    message, _ = handled(body, body_type, envelope=envelope)
    assert message.body == (body_type(id=7) if body_type in (Order, OrderModel, OrderStruct) else {"id": 7})
    assert [type(each) for each in message.envelopes] == kinds
    assert message.raw_body == body


@pytest.mark.parametrize(("body_type", "held"), [(str, '{"id": 7}'), (bytes, b'{"id": 7}')])
@pytest.mark.parametrize("name", ["sns", "eventbridge"])
def test_text_and_bytes_are_what_is_inside_as_it_was_sent(
    name: str, body_type: type, held: object, golden: Callable[[str], str]
) -> None:
    message, _ = handled(json.dumps(json.loads(golden(name))), body_type, envelope="auto")
    assert message.body == held


def test_a_handler_of_the_body_alone_gets_it_too(golden: Callable[[str], str]) -> None:
    seen: list[Order] = []

    async def handle(order: Order) -> None:
        seen.append(order)

    assert run_handler(handle, golden("sns"), envelope="sns").acked
    assert seen == [Order(7)]


def test_middleware_sees_the_payload_and_the_envelopes(golden: Callable[[str], str]) -> None:
    seen: list[Any] = []

    def around(message: Message[Any], call_next: Callable[[Message[Any]], Any]) -> Any:
        seen.append((message.body, message.envelopes[0].topic_arn))
        return call_next(message)

    def handle(order: Order) -> None:
        seen.append(order)

    assert run_handler(handle, golden("sns"), envelope="sns", middleware=[around]).acked
    assert seen == [(Order(7), "arn:aws:sns:eu-west-1:111122223333:orders"), Order(7)]


def test_text_that_looks_like_json_is_not_decoded_twice(golden: Callable[[str], str]) -> None:
    body = json.loads(golden("sns"))
    body["Message"] = "0123"
    message, _ = handled(json.dumps(body), str, envelope="sns")
    assert message.body == "0123"
    body["Message"] = '"{\\"id\\": 7}"'
    message, _ = handled(json.dumps(body), Any, envelope="sns")
    assert message.body == '{"id": 7}'


def test_attributes_of_the_notification_are_there_and_those_of_sqs_win(golden: Callable[[str], str]) -> None:
    message, _ = handled(golden("sns"), Order, envelope="sns", attributes={"tenant": "bob", "own": b"\x01"})
    assert {name: each.value for name, each in message.attributes.items()} == {
        "tenant": "bob",
        "own": b"\x01",
        "weight": "1.5",
        "seal": b"\x00\x01\x02",
        "tags": '["a", "b"]',
    }
    assert message.attributes["weight"].data_type == "Number"


def test_the_outer_envelope_wins_over_the_inner_one(golden: Callable[[str], str]) -> None:
    body = json.loads(golden("cloudevent_in_sns"))
    body["MessageAttributes"] = {"traceparent": {"Type": "String", "Value": "outer"}}
    message, _ = handled(json.dumps(body), Order, envelope="auto")
    assert message.attributes["traceparent"].value == "outer"


def test_the_trace_of_a_cloudevent_is_an_attribute(golden: Callable[[str], str]) -> None:
    message, _ = handled(golden("cloudevent"), Order, envelope="cloudevents")
    assert {name: each.value for name, each in message.attributes.items()} == {
        "traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    }


def test_a_message_without_an_envelope_has_none() -> None:
    message, _ = handled('{"id": 7}', Order)
    assert message.envelopes == ()
    message, _ = handled('{"id": 7}', Order, envelope="auto", attributes={"a": "b"})
    assert message.envelopes == ()
    assert message.attributes["a"].value == "b"


@pytest.mark.parametrize("name", ["own_type_key", "own_event", "own_records", "step_functions"])
def test_auto_leaves_alone_what_only_looks_alike(name: str, golden: Callable[[str], str]) -> None:
    message, _ = handled(golden(name), dict, envelope="auto")
    assert message.body == json.loads(golden(name))
    assert message.envelopes == ()


# What cannot be opened


def test_the_error_of_a_body_names_the_envelope_and_the_remedy(golden: Callable[[str], str]) -> None:
    body = golden("sns")
    assert reason(body, Order) == (
        f"its body ({len(body)} characters) is not Order: Object missing required field `id`; it is an SNS "
        "notification: give envelope='sns' to get what it holds, or annotate the parameter with SnsNotification[...]"
    )
    assert "it is an EventBridge event: give envelope='eventbridge' to get" in reason(golden("eventbridge"), list[int])
    assert "it is a CloudEvent: give envelope='cloudevents' to get" in reason(golden("cloudevent"), list[int])
    assert "it is an S3 event: annotate the parameter with S3Event or S3Record" in reason(golden("s3_put"), Order)


def test_the_error_of_a_payload_names_the_next_envelope(golden: Callable[[str], str]) -> None:
    said = reason(golden("eventbridge_in_sns"), list[int], envelope="sns")
    assert said.startswith("the payload of an SNS notification (")
    assert "it is an EventBridge event: give envelope=('sns', 'eventbridge') to get what it holds" in said


def test_the_error_of_a_payload_does_not_name_the_envelope_that_was_opened(golden: Callable[[str], str]) -> None:
    assert reason(golden("sns"), list[int], envelope="sns") == (
        "the payload of an SNS notification (9 characters) is not list[int]: Expected `array`, got `object`"
    )


def test_a_body_in_another_envelope_is_rejected_with_the_right_one(golden: Callable[[str], str]) -> None:
    said = reason(golden("eventbridge"), Order, envelope="sns")
    assert said.startswith("its body is not an SNS notification, which envelope='sns' opens: ")
    assert said.endswith(
        "; it is an EventBridge event: give envelope='eventbridge' to get what it holds, or annotate the parameter "
        "with EventBridgeEvent[...]"
    )
    said = reason(golden("sns"), Order, envelope=("sns", "eventbridge"))
    assert said.startswith("the payload of an SNS notification is not an EventBridge event, which envelope=")


def test_a_body_without_the_notification_is_rejected_with_what_raw_delivery_needs() -> None:
    assert reason('{"id": 7}', Order, envelope="sns").endswith(
        "; raw message delivery puts nothing around a message: leave the option out then, or give 'auto'"
    )


def test_a_confirmation_of_sns_says_what_to_do(golden: Callable[[str], str]) -> None:
    said = reason(golden("sns_confirmation"), Order, envelope="sns")
    assert "it is a SubscriptionConfirmation of SNS: confirm it by hand" in said
    assert "2336412f" not in said


@pytest.mark.parametrize("depth", [4, 5])
def test_auto_opens_four_envelopes_and_refuses_more(depth: int, golden: Callable[[str], str]) -> None:
    body = json.loads(golden("sns"))
    text = '{"id": 7}'
    for _ in range(depth):
        text = json.dumps({**body, "Message": text})
    if depth == 4:
        message, _ = handled(text, Order, envelope="auto")
        assert message.body == Order(7)
        assert len(message.envelopes) == 4
    else:
        assert reason(text, Order, envelope="auto") == (
            "its body cannot be opened: there are more than 4 envelopes around its payload"
        )


@pytest.mark.parametrize("envelope", ["sns", "eventbridge", "cloudevents", "auto", ("sns", "eventbridge")], ids=str)
def test_hostile_bodies_are_rejected_with_a_short_text(envelope: Envelope) -> None:
    for body in (
        '{"a":' * 100_000,
        "[" * 100_000,
        '{"Type": "Notification", "MessageAttributes": ' + '{"a":' * 100_000,
        '{"specversion": "1.0", "id": "1", "source": "s", "type": "t", "data": ' + "[" * 100_000,
        "x" * 1_048_577,
        '{"data_base64": "%"}',
        "\ud800",
    ):
        assert len(reason(body, Order, envelope=envelope)) < 1000


def test_a_body_larger_than_sqs_takes_is_not_opened() -> None:
    assert reason(" " * 1_048_577, Order, envelope="auto") == (
        "its body has 1048577 characters, and envelopes are opened up to 1048576: SQS takes no larger body"
    )


def test_what_may_be_personal_is_not_quoted(golden: Callable[[str], str]) -> None:
    secret = "4111111111111111"
    body = json.dumps({**json.loads(golden("sns")), "Type": secret})
    assert secret not in reason(body, Order, envelope="sns")
    body = json.dumps({**json.loads(golden("cloudevent")), "specversion": secret})
    assert secret not in reason(body, Order, envelope="cloudevents")


# Decoders of users


def unzip(received: Received) -> str:
    return gzip.decompress(b64decode(received.body)).decode()


def with_version(received: Received) -> Opened:
    found = json.loads(received.body)
    return Opened(
        json.dumps(found["payload"]),
        envelope=found["version"],
        attributes={"version": MessageAttribute(data_type="Number", string_value=str(found["version"]))},
    )


def test_a_decoder_of_a_user_gives_the_payload(golden: Callable[[str], str]) -> None:
    body = b64encode(gzip.compress(b'{"id": 7}')).decode()
    message, _ = handled(body, Order, envelope=unzip)
    assert message.body == Order(7)
    assert message.envelopes == ()
    message, _ = handled(json.dumps({**json.loads(golden("sns")), "Message": body}), Order, envelope=("sns", unzip))
    assert message.body == Order(7)
    assert [type(each) for each in message.envelopes] == [SnsNotification]


def test_a_decoder_of_a_user_gives_the_envelope_and_attributes() -> None:
    message, _ = handled('{"version": 3, "payload": {"id": 7}}', Order, envelope=with_version)
    assert message.body == Order(7)
    assert message.envelopes == (3,)
    assert message.attributes["version"].value == "3"


def test_a_decoder_of_a_user_may_look_at_attributes_and_give_bytes() -> None:
    def by_attribute(received: Received) -> bytes:
        return b64decode(received.body) if received.attributes["encoding"].value == "base64" else b""

    message, _ = handled("AAECAw==", bytes, envelope=by_attribute, attributes={"encoding": "base64"})
    assert message.body == b"\x00\x01\x02\x03"


@pytest.mark.parametrize("returned", [None, 3, {"id": 7}, Opened({"id": 7})], ids=str)
def test_a_decoder_of_a_user_that_returns_no_payload_is_told_what_to_return(returned: Any) -> None:
    """It is a mistake in the program, so the message is tried again, and its content is not shown."""

    def decode(received: Received) -> str:
        return returned  # type: ignore[no-any-return]

    def handle(order: Order) -> None:
        raise AssertionError

    outcome = run_handler(handle, "{}", envelope=decode).outcome
    assert isinstance(outcome, Failed)
    kind = "dict" if isinstance(returned, dict | Opened) else type(returned).__name__
    assert str(outcome.error).endswith(
        f".decode returned an object of type {kind}: it must return the payload as text or bytes, or Opened(...)"
    )


@pytest.mark.parametrize(
    ("raised", "kind"),
    [
        (ValueError("no"), Reject),
        (KeyError("payload"), Reject),
        (Retry(after=3), Retry),
        (Reject("spam"), Reject),
        (ConnectionError("registry is down"), Unclaimed),
        (TimeoutError("registry is slow"), Unclaimed),
    ],
    ids=repr,
)
def test_what_a_decoder_of_a_user_raises_decides(raised: Exception, kind: type) -> None:
    def decode(received: Received) -> str:
        raise raised

    def handle(order: Order) -> None:
        raise AssertionError

    outcome = run_handler(handle, "{}", envelope=decode).outcome
    assert type(outcome) is kind
    if isinstance(outcome, Reject) and raised.args != ("spam",):
        assert outcome.reason.startswith("its body cannot be opened by ")
        assert "decode, which the option envelope names: " in outcome.reason
    if isinstance(outcome, Unclaimed):
        assert outcome.error is raised


@pytest.mark.parametrize("body_type", [dict, Order, str, list[int], list[S3Event]], ids=str)
def test_s3_needs_an_annotation_that_takes_it(body_type: Any) -> None:
    with pytest.raises(ConfigurationError, match="annotate its parameter with S3Record, list"):
        reason("{}", body_type, envelope=("sns", "s3"))


def test_nothing_is_opened_for_an_empty_option(golden: Callable[[str], str]) -> None:
    message, _ = handled(golden("sns"), dict, envelope=())
    assert message.body == json.loads(golden("sns"))


# Records of S3


@pytest.mark.parametrize(
    ("name", "envelope"),
    [
        ("s3_put", None),
        ("s3_put", "s3"),
        ("s3_put", "auto"),
        ("s3_in_sns", "sns"),
        ("s3_in_sns", ("sns", "s3")),
        ("s3_in_sns", "auto"),
        ("s3_eventbridge_created", "eventbridge"),
        ("s3_eventbridge_created", "auto"),
        ("s3_in_eventbridge_in_sns", ("sns", "eventbridge", "s3")),
        ("s3_in_eventbridge_in_sns", "auto"),
    ],
)
@pytest.mark.parametrize("body_type", [S3Event, S3Record, list[S3Record]], ids=str)
def test_an_s3_event_arrives_by_every_way(
    name: str, envelope: Envelope | None, body_type: Any, golden: Callable[[str], str]
) -> None:
    message, _ = handled(golden(name), body_type, envelope=envelope)
    if body_type is S3Record:
        record = message.body
    else:
        [record] = message.body.records if body_type is S3Event else message.body
    assert (record.bucket, record.key, record.event_name) == ("shop-uploads", "a+b c/é.txt", "ObjectCreated:Put")


def test_the_test_event_of_s3_is_skipped(golden: Callable[[str], str]) -> None:
    def handle(event: Any) -> None:
        raise AssertionError

    for body_type in (S3Event, S3Record, list[S3Record], Message[S3Record], SnsNotification[S3Event]):
        handle.__annotations__["event"] = body_type
        body = golden("s3_test_event_in_sns" if body_type == SnsNotification[S3Event] else "s3_test_event")
        done = run_handler(handle, body)
        assert done.outcome == Skipped("it is the test event that S3 sends when notifications are configured")
        assert done.acked
    handle.__annotations__["event"] = S3Record
    assert run_handler(handle, golden("s3_test_event_in_sns"), envelope="sns").outcome == Skipped(
        "it is the test event that S3 sends when notifications are configured"
    )


def test_each_record_is_handled_in_order(golden: Callable[[str], str]) -> None:
    keys: list[str] = []

    async def handle(record: S3Record) -> None:
        keys.append(record.key)

    def handle_blocking(message: Message[S3Record]) -> None:
        keys.append(f"{message.body.key} {len(message.envelopes)}")

    assert isinstance(run_handler(handle, golden("s3_two_records")).outcome, Done)
    assert isinstance(run_handler(handle_blocking, golden("s3_two_records")).outcome, Done)
    assert keys == ["one", "two", "one 1", "two 1"]


def test_the_first_record_that_fails_is_the_last_one(golden: Callable[[str], str]) -> None:
    keys: list[str] = []

    def raises(record: S3Record) -> None:
        keys.append(record.key)
        raise ValueError(record.key)

    def retries(record: S3Record) -> Retry:
        keys.append(record.key)
        return Retry(after=5)

    def forgets(record: S3Record) -> Any:
        return map(keys.append, [record.key])  # has not run

    assert isinstance(run_handler(raises, golden("s3_two_records")).outcome, Failed)
    assert isinstance(run_handler(retries, golden("s3_two_records")).outcome, Retry)
    assert isinstance(run_handler(forgets, golden("s3_two_records")).outcome, Failed)
    assert keys == ["one", "one"]


def test_one_record_settles_the_whole_message(golden: Callable[[str], str]) -> None:
    async def handle(message: Message[S3Record]) -> None:
        if message.body.key == "one":
            message.ack()

    assert run_handler(handle, golden("s3_two_records")).said == (Done(),)

    def keep(message: Message[S3Record]) -> None:
        message.withhold()

    assert run_handler(keep, golden("s3_two_records")).withheld
