"""Peek: what others wrote is shown as it is, and without what a terminal would obey."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest
from rich.console import Console

from leasekeeper.cli.causes import Causes
from leasekeeper.cli.showing import as_object, show, show_causes
from leasekeeper.failure import FAILURE, Failure
from leasekeeper.message import MessageAttribute, Received

ARN = "arn:aws:sqs:eu-west-1:123456789012:"
HOSTILE = "\x1b[2J\x9b1A\x07\x7f\u202e\ud800"
AT = "2026-11-28T20:41:09.123Z"
SHOWN = "\\x1b[2J\\x9b1A\\x07\\x7f\\u202e\\ud800"
WRITTEN = SHOWN.replace("\\ud800", "?")  # an attribute cannot hold it


def text(value: str) -> MessageAttribute:
    return MessageAttribute(data_type="String", string_value=value)


def message(body: str = "b", **more: Any) -> Received:
    return Received(**{"message_id": "id-1", "receipt": "r", "body": body, "attributes": {}, **more})


def failed(**said: Any) -> Received:
    return message(attributes={FAILURE: Failure(**said).attribute()})


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


@pytest.mark.parametrize(
    ("received", "lines"),
    [
        (message(), []),
        (message(system={"DeadLetterQueueSourceArn": f"{ARN}orders"}), ["  dead letter of orders, moved by SQS"]),
        (
            failed(reason="rejected", error="Reject", message="no stock", queue=f"{ARN}bills"),
            ["  rejected by a consumer of bills", "  Reject: no stock"],
        ),
        (failed(), ["  copied"]),
        (
            failed(
                reason="exhausted",
                error="KeyError",
                message=f"no\nanswer {HOSTILE}",
                queue=f"{ARN}orders",
                host="web",
                attempts=8,
                at=AT,
                trace=f"Traceback:\n  line 1\n{HOSTILE}",
            ),
            [
                f"  exhausted by a consumer of orders on web after 8 attempts at {AT}",
                f"  KeyError: no answer {WRITTEN}",
                "    Traceback:",
                "      line 1",
                f"    {WRITTEN}",
            ],
        ),
    ],
)
def test_a_dead_letter_says_why_it_is_one(received: Received, lines: list[str]) -> None:
    assert shown(received, 1_000).splitlines()[1:-2] == lines


FOUND = [
    *(
        failed(error="TimeoutError", message=f"no answer in {n} s", queue=f"{ARN}orders", at=f"2026-11-28T09:00:0{n}Z")
        for n in range(3)
    ),
    failed(error="[/x]", message=f"[red]{HOSTILE}" + " long" * 40, queue=f"{ARN}bills"),
    message(system={"DeadLetterQueueSourceArn": f"{ARN}orders", "SentTimestamp": "1700000000000"}),
]


def causes(width: int, *, terminal: bool) -> str:
    console = Console(file=io.StringIO(), width=width, force_terminal=terminal, color_system=None, highlight=False)
    with console.capture() as capture:
        show_causes(Causes(FOUND).sorted(), console)
    return capture.get()


@pytest.mark.parametrize("width", [40, 80, 120])
def test_causes_fit_the_terminal_and_lose_no_word(width: int) -> None:
    output = causes(width, terminal=True)
    assert max(map(len, output.splitlines())) <= width
    words = output.split()
    assert words.count("long") == 40
    assert " ".join(words).startswith(
        "3 TimeoutError: no answer in * s orders, failed 2026-11-28 09:00:00 to 09:00:02 UTC 1 [/x]: [red]\\x1b[*J"
    )


def test_without_a_terminal_each_cause_is_one_line() -> None:
    lines = causes(80, terminal=False).splitlines()
    assert lines[0] == "3  TimeoutError: no answer in * s  (orders, failed 2026-11-28 09:00:00 to 09:00:02 UTC)"
    assert lines[1].endswith("long  (bills, at an unknown time)")
    assert lines[2] == "1  moved by SQS (maxReceiveCount)  (orders, sent 2023-11-14 22:13:20 UTC)"
    assert len(lines) == 3
    assert "\x1b" not in "".join(lines)
