"""Conditions: what they see of a message, how they combine, and what is refused."""

from __future__ import annotations

import json
from typing import Any

import pytest

from leasekeeper.errors import ConfigurationError
from leasekeeper.message import Message, MessageAttribute, Received
from leasekeeper.routing import Condition, Content, Part, attribute, condition_of, field

ATTRIBUTES = {
    "type": MessageAttribute(data_type="String", string_value="created"),
    "priority": MessageAttribute(data_type="Number", string_value="5.0"),
    "odd": MessageAttribute(data_type="Number.int", string_value="many"),
    "key": MessageAttribute(data_type="Binary", binary_value=b"\x00"),
}
BODY: dict[str, Any] = {
    "type": "created",
    "detail": {"type": "big", "a.b": 1, "none": None},
    "Records": [{"eventName": "Put"}],
    "yes": True,
    "Message": json.dumps({"type": "inside", "Message": json.dumps({"type": "deep"})}),
}


def content(body: object = BODY) -> Content:
    text = body if isinstance(body, str) else json.dumps(body)
    received = Received(message_id="m", receipt="r", body=text, attributes=ATTRIBUTES)
    lease: Any = None
    return Content(text, ATTRIBUTES, lambda: Message(received, text, queue="orders", lease=lease))


def holds(condition: Any, body: object = BODY) -> bool:
    return bool(condition_of(condition).matches(content(body)))


@pytest.mark.parametrize(
    "condition",
    [
        attribute("type") == "created",
        attribute("type") != "cancelled",
        attribute("missing") != "created",
        attribute("type").any_of("cancelled", "created"),
        attribute("type").startswith("cre"),
        attribute("priority") == 5,
        attribute("odd") == "many",
        attribute("key") == b"\x00",
        attribute("key").exists(),
        field("type") == "created",
        field("detail.type") == "big",
        field("detail", "a.b") == 1,
        field("detail.none") == None,  # noqa: E711 - JSON's null
        field("detail.none").exists(),
        field("Records.0.eventName") == "Put",
        field("yes") == True,  # noqa: E712 - JSON's true
        field("Message.type") == "inside",
        field("Message.Message.type") == "deep",
        field("detail") == {"type": "big", "a.b": 1, "none": None},
        (attribute("type") == "created") & (field("detail.type") == "big"),
        (attribute("type") == "x") | (field("detail.type") == "big"),
        ~(attribute("type") == "x"),
        (attribute("type") == "created") & (lambda message: message.queue == "orders"),
        lambda message: json.loads(message.body)["detail"]["type"] == "big",
    ],
)
def test_a_condition_holds(condition: Any) -> None:
    assert holds(condition)


@pytest.mark.parametrize(
    "condition",
    [
        attribute("type") == "cancelled",
        attribute("missing") == "created",
        attribute("missing") == None,  # noqa: E711 - a missing attribute equals nothing
        attribute("missing").exists(),
        attribute("missing").any_of("created"),
        attribute("key").startswith(""),
        field("type").any_of(),
        field("detail.missing") == None,  # noqa: E711 - a missing field equals nothing
        field("type.inside") == "created",
        field("Records.1.eventName").exists(),
        field("Records.x").exists(),
        field("yes") == 1,
        field("detail", "a.b") == True,  # noqa: E712 - 1 is not JSON's true
        (attribute("type") == "created") & (field("detail.type") == "small"),
        ~(attribute("type") == "created"),
        lambda message: None,
    ],
)
def test_a_condition_does_not_hold(condition: Any) -> None:
    assert not holds(condition)


@pytest.mark.parametrize("body", ["", "text", "{", '"text"', "[]", "[" * 100_000, "5", "\ud800"], ids=range(8))
def test_a_body_that_is_no_object_has_no_fields(body: str) -> None:
    assert not holds(field("type").exists(), body)
    assert holds(field("type") != "created", body)


def test_a_body_is_parsed_once_for_all_conditions_of_a_message(monkeypatch: pytest.MonkeyPatch) -> None:
    parsed: list[str] = []

    def decode(text: str) -> Any:
        parsed.append(text)
        return json.loads(text)

    monkeypatch.setattr("leasekeeper.routing.msgspec.json.decode", decode)
    one = content()
    for condition in field("type") == "a", field("detail.type") == "b", field("Message.type") == "c":
        assert not condition.matches(one)
    assert (field("Message.type") == "inside").matches(one)
    assert parsed == [json.dumps(BODY), BODY["Message"]]


def test_attributes_alone_do_not_parse_the_body(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("leasekeeper.routing.msgspec.json.decode", None)
    assert holds(attribute("type") == "created")


def test_a_condition_says_what_it_is() -> None:
    condition = (attribute("type") == "created") & ~field("detail.type").any_of(1, 2) | field("a", "b").exists()
    assert repr(condition) == (
        "((attribute('type') == 'created' & ~field('detail.type').any_of(1, 2)) | field('a', 'b').exists())"
    )


def test_and_and_or_are_refused_because_they_would_drop_one_side() -> None:
    with pytest.raises(TypeError, match=r"combine conditions with & \| ~, not and or not"):
        attribute("type") == "created" and field("detail.type") == "big"


async def coroutine(message: Message[str]) -> bool:
    return True


@pytest.mark.parametrize("when", ["created", 5, coroutine, Condition, attribute("type").exists, lambda one, two: True])
def test_what_is_no_condition_is_refused(when: Any) -> None:
    with pytest.raises(ConfigurationError, match=r"^when=.*: must be a condition, e\.g\. attribute\('type'\) == "):
        condition_of(when)


def test_several_values_are_several_arguments() -> None:
    with pytest.raises(
        ConfigurationError, match=r"^attribute\('type'\)\.any_of\(\['a', 'b'\]\): give the values themselves"
    ):
        attribute("type").any_of(["a", "b"])


def test_names_are_text() -> None:
    with pytest.raises(ConfigurationError, match=r"^attribute\(5\): names must be text, e\.g\. attribute\('type'\)"):
        attribute(5)  # type: ignore[arg-type]  # the mistake that is tried
    with pytest.raises(ConfigurationError, match=r"^field\('Records', 0\): names must be text"):
        field("Records", 0)  # type: ignore[arg-type]  # the mistake that is tried


def test_a_part_that_is_not_compared_is_refused() -> None:
    assert isinstance(attribute("type"), Part)
    with pytest.raises(ConfigurationError) as refusal:
        condition_of(attribute("type"))
    assert str(refusal.value) == (
        "when=attribute('type'): compare it, e.g. when=attribute('type') == 'created' or "
        "when=attribute('type').exists()"
    )
