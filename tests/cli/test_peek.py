"""Peek: what others wrote is shown as it is, and without what a terminal would obey."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest
from rich.console import Console

from leasekeeper.cli.origins import Origin, destinations
from leasekeeper.cli.peek import as_object, show
from leasekeeper.message import MessageAttribute, Received

ARN = "arn:aws:sqs:eu-west-1:123456789012:"
HOSTILE = "\x1b[2J\x9b1A\x07\x7f\u202e\ud800"
SHOWN = "\\x1b[2J\\x9b1A\\x07\\x7f\\u202e\\ud800"


def text(value: str) -> MessageAttribute:
    return MessageAttribute(data_type="String", string_value=value)


def message(body: str = "b", **more: Any) -> Received:
    return Received(**{"message_id": "id-1", "receipt": "r", "body": body, "attributes": {}, **more})


def copy(**said: str) -> Received:
    return message(attributes={f"Leasekeeper.{name}": text(value) for name, value in said.items()})


def shown(received: Received, width: int = 200) -> str:
    console = Console(file=io.StringIO(), width=width, force_terminal=True, color_system=None, highlight=False)
    with console.capture() as capture:
        show(received, console)
    return capture.get()


def test_control_characters_of_a_message_are_shown_and_not_sent() -> None:
    """Everything that a sender or a server may choose: id, body, names, types and values, system attributes."""
    output = shown(
        message(
            f"plain {HOSTILE}",
            message_id=HOSTILE,
            attributes={HOSTILE: MessageAttribute(data_type=f"String.{HOSTILE}", string_value=HOSTILE)},
            system={"ApproximateReceiveCount": HOSTILE, "SentTimestamp": HOSTILE, "MessageGroupId": HOSTILE},
        )
    ) + shown(message(json.dumps({"a": HOSTILE}, ensure_ascii=False)))
    assert not set(output) & set(HOSTILE.replace("[2J", "").replace("1A", ""))
    assert f"plain {SHOWN}\n" in output
    output.encode()


def test_a_rejection_reason_is_shown_without_control_characters() -> None:
    output = shown(copy(Reason=f"no\nx {HOSTILE}", Source=f"{ARN}orders", ReceiveCount="3"))
    assert f"  rejected by a consumer of orders at receive 3: no x {SHOWN}\n" in output
    assert "Leasekeeper." not in output


def test_markup_in_a_message_is_text() -> None:
    output = shown(message("[/b] [red]x[/red]", message_id="[/x]", attributes={"[a]": text("[/b]")}))
    assert "[/x]  receive ?" in output
    assert "  [a] = '[/b]' (String)\n" in output
    assert "[/b] [red]x[/red]\n" in output


@pytest.mark.parametrize(
    ("body", "lines"),
    [
        ('{"n":1.10,"n":1e2,"big":123456789012345678901234567890}', [
            "{", '  "n": 1.10,', '  "n": 1e2,', '  "big": 123456789012345678901234567890', "}",
        ]),
        ("[]", ["[]"]),
        ('{"a": [}', ['{"a": [}']),
        ("two\n\tlines", ["two", "\tlines"]),
        ("7", ["7"]),
    ],
)  # fmt: skip
def test_json_is_indented_and_nothing_of_it_is_changed(body: str, lines: list[str]) -> None:
    console_lines = [line.expandtabs() for line in lines]
    assert shown(message(body)).splitlines()[1:] == [*console_lines, ""]


def test_a_body_nested_too_deep_is_shown_as_it_is() -> None:
    body = "[" * 100_000
    assert body in shown(message(body))


def test_a_message_without_a_readable_time_has_none() -> None:
    assert shown(message(system={"SentTimestamp": "soon", "ApproximateReceiveCount": "2"})).startswith(
        "id-1  receive 2\n"
    )


def test_json_output_is_one_line_of_json_for_every_kind_of_attribute() -> None:
    received = message(HOSTILE + "\n", attributes={"b": MessageAttribute(data_type="Binary", binary_value=b"\xff")})
    line = json.dumps(as_object(received))
    assert "\n" not in line
    assert line.isascii()
    assert json.loads(line)["attributes"] == {"b": {"type": "Binary", "value": "/w=="}}
    assert json.loads(line)["body"] == HOSTILE + "\n"


MOVED = message(system={"DeadLetterQueueSourceArn": f"{ARN}orders"})


@pytest.mark.parametrize(
    ("received", "origin", "line"),
    [
        (MOVED, Origin(queue="orders", moved=True), "  dead letter of orders"),
        (copy(), Origin(queue="", moved=False), None),
        (copy(Source=f"{ARN}bills"), Origin(queue="bills", moved=False), "  dead letter of bills"),
        (copy(Reason="no stock"), Origin(queue="", moved=False, reason="no stock"), "  rejected: no stock"),
    ],
)
def test_a_dead_letter_says_where_it_came_from(received: Received, origin: Origin, line: str | None) -> None:
    assert Origin.of(received) == origin
    assert (shown(received).splitlines()[1] == line) if line else "dead letter" not in shown(received)


@pytest.mark.parametrize(
    ("messages", "sources", "names"),
    [
        ([], ("orders", "bills"), None),
        ([MOVED, MOVED], ("orders", "bills"), None),
        ([copy()], ("orders",), {"orders"}),
        ([copy()], (), set()),
        ([copy()], ("orders", "bills"), {"orders", "bills"}),
        ([copy(Source=f"{ARN}orders"), MOVED], ("orders", "bills"), {"orders"}),
        ([copy(Source=f"{ARN}bills"), MOVED], ("orders", "bills"), {"orders", "bills"}),
        ([copy(), MOVED], ("bills",), {"orders", "bills"}),
    ],
)
def test_one_destination_is_named_only_when_every_message_came_from_there(
    messages: list[Received], sources: tuple[str, ...], names: set[str] | None
) -> None:
    assert destinations(messages, sources) == names
