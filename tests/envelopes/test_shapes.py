"""Which envelope a body is, by its exact shape; the golden files are all shapes, and bodies that only look alike."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from leasekeeper.envelopes import Sns, SnsNotification
from leasekeeper.envelopes.choosing import envelope_in, parts_of
from leasekeeper.envelopes.opening import LARGEST
from leasekeeper.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable

    from leasekeeper.message import Received

SHAPES = {
    "sns": "sns sns_null_subject sns_fifo s3_in_sns s3_test_event_in_sns eventbridge_in_sns "
    "s3_in_eventbridge_in_sns cloudevent_in_sns",
    "eventbridge": "eventbridge eventbridge_replay s3_eventbridge_created s3_eventbridge_brackets "
    "s3_eventbridge_deleted s3_eventbridge_acl",
    "s3": "s3_put s3_put_brackets s3_two_records s3_delete s3_tagging s3_newer_version s3_restore s3_test_event",
    "cloudevents": "cloudevent cloudevent_minimal cloudevent_binary cloudevent_xml",
    None: "sns_confirmation step_functions own_type_key own_event own_records",
}
GOLDEN = {name: shape for shape, names in SHAPES.items() for name in names.split()}


def test_every_golden_file_has_a_shape() -> None:
    assert {path.stem for path in (Path(__file__).parent / "golden").glob("*.json")} == set(GOLDEN)


@pytest.mark.parametrize("name", GOLDEN)
def test_a_shape_is_recognised(name: str, golden: Callable[[str], str]) -> None:
    body = golden(name)
    assert envelope_in(body) == GOLDEN[name]
    assert envelope_in(json.dumps(json.loads(body))) == GOLDEN[name]  # on one line, as services send it
    assert envelope_in(body.encode()) == GOLDEN[name]


REQUIRED = [
    *(("sns", field) for field in ("Type", "MessageId", "TopicArn", "Message", "Timestamp")),
    *(
        ("eventbridge", field)
        for field in ("version", "id", "detail-type", "source", "account", "time", "region", "resources", "detail")
    ),
    *(("cloudevent_minimal", field) for field in ("specversion", "id", "source", "type")),
    *(("s3_put", field) for field in ("Records",)),
]


@pytest.mark.parametrize(("name", "field"), REQUIRED)
def test_a_body_without_a_field_that_the_service_always_sends_is_no_envelope(
    name: str, field: str, golden: Callable[[str], str]
) -> None:
    body = json.loads(golden(name))
    del body[field]
    assert envelope_in(json.dumps(body)) is None


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("sns", {"Type": "notification"}),
        ("sns", {"TopicArn": "orders"}),
        ("sns", {"Message": {"id": 7}}),
        ("sns", {"Timestamp": "yesterday"}),
        ("eventbridge", {"detail": "text"}),
        ("eventbridge", {"resources": None}),
        ("cloudevent", {"specversion": "2.0"}),
        ("cloudevent", {"id": 7}),
        ("s3_put", {"Records": []}),
        ("s3_put", {"Records": {}}),
        ("s3_test_event", {"Event": "s3:Other"}),
    ],
)
def test_a_field_of_another_kind_makes_it_no_envelope(
    name: str, change: dict[str, object], golden: Callable[[str], str]
) -> None:
    assert envelope_in(json.dumps({**json.loads(golden(name)), **change})) is None


@pytest.mark.parametrize(
    "body",
    [
        "",
        "text",
        "[]",
        '"Notification"',
        "{",
        "{}",
        '{"Type": "Notification"',
        '{"a":' * 100_000,
        '{"Type": ' + "[" * 100_000,
        '{"detail": ' + '{"a":' * 50_000,
        "\ud800",
        b"\xff\xfe",
        b"{\xff",
    ],
    ids=lambda body: repr(body[:20]),
)
def test_anything_else_is_no_envelope_and_raises_nothing(body: str | bytes) -> None:
    assert envelope_in(body) is None


def test_a_body_larger_than_sqs_takes_is_not_looked_at(golden: Callable[[str], str]) -> None:
    body = json.loads(golden("sns"))
    body["Message"] = "x" * LARGEST
    assert envelope_in(json.dumps(body)) is None


@pytest.mark.parametrize(
    ("given", "parts"),
    [
        ("sns", ("sns",)),
        (("sns", "s3"), ("sns", "s3")),
        (["sns", "eventbridge"], ("sns", "eventbridge")),
        ("sns, s3", ("sns", "s3")),
        ("auto", ("auto",)),
        ((), ()),
        ("", ()),
        (len, (len,)),
        (("sns", len), ("sns", len)),
    ],
    ids=str,
)
def test_the_option_is_a_name_a_function_or_several(given: object, parts: tuple[object, ...]) -> None:
    assert parts_of(given) == parts  # type: ignore[arg-type] # wrong ones are tried below


def test_a_coroutine_function_is_refused() -> None:
    async def opened(received: Received) -> str:
        return received.body

    class Opener:
        async def __call__(self, received: Received) -> str:
            return received.body

    for each, name in ((opened, "opened"), (("sns", Opener()), "Opener")):
        with pytest.raises(ConfigurationError, match=f"{name}: nothing would await it"):
            parts_of(each)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ("sqs", "envelope='sqs': 'sqs' is none of 'sns', 'eventbridge', 's3', 'cloudevents', 'auto', and not a"),
        (SnsNotification, "envelope=SnsNotification: it is a class; give 'sns', or annotate the parameter with it"),
        (Sns, "envelope=Sns: it is a class; give a function or an instance"),
        (7, "envelope=7: 7 is none of"),
        (("sns", None), "envelope=('sns', None): None is none of"),
        (("auto", "sns"), "envelope=('auto', 'sns'): 'auto' finds all envelopes itself; give it alone"),
        (("s3", "sns"), "envelope=('s3', 'sns'): an S3 event holds no other envelope; name 's3' last"),
        (("sns",) * 5, "at most 4 envelopes are opened"),
    ],
    ids=str,
)
def test_what_opens_nothing_is_refused(given: object, sentence: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        parts_of(given)  # type: ignore[arg-type]
    assert sentence in str(caught.value)
