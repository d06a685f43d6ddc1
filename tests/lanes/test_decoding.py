"""From a body to what the annotation says, and the sentence for a type or a body that cannot be."""

from __future__ import annotations

import enum
import pathlib
import tracemalloc
from collections.abc import Iterable
from dataclasses import dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING, Annotated, Any, TypedDict

import msgspec
import pydantic
import pytest

from leasekeeper.errors import ConfigurationError, UndecodableBody
from leasekeeper.lanes.decoding import decoder_of
from leasekeeper.lanes.handler import Handler
from leasekeeper.message import Message
from leasekeeper.outcomes import Failed, Reject

if TYPE_CHECKING:
    from collections.abc import Callable

    from leasekeeper.core.delivery import Delivery


@dataclass
class Order:
    id: int
    total: Decimal = Decimal(0)
    parts: list[Order] = field(default_factory=list)


@dataclass
class Tree:
    """A type that contains itself, and must."""

    branches: list[Tree]


class Line(TypedDict):
    sku: str


class Event(msgspec.Struct, tag=True):
    at: float


class Ping(msgspec.Struct, tag=True):
    pass


class Customer(pydantic.BaseModel):
    name: str = pydantic.Field(max_length=5)


@dataclass
class Visit:
    """A dataclass of ours around a model of pydantic's."""

    customer: Customer


class Tagged(pydantic.BaseModel):
    tags: list[str]


class Colour(enum.Enum):
    RED = "red"


class Strict(msgspec.Struct, forbid_unknown_fields=True):
    id: int = 0


class Warehouse:
    """A class that nothing in JSON becomes."""


@dataclass
class Holds:
    warehouse: Warehouse


@dataclass
class MayHold:
    id: int
    warehouse: Warehouse | None = None


@pytest.mark.parametrize(
    ("body_type", "body", "decoded"),
    [
        (str, "any text {", "any text {"),
        (bytes, "grüße", "grüße".encode()),
        (dict, '{"a": 1}', {"a": 1}),
        (dict[str, int], '{"a": 1}', {"a": 1}),
        (list, "[1]", [1]),
        (Any, "[1, null]", [1, None]),
        (object, "[1]", [1]),
        (Iterable, "[1]", [1]),
        (int, "5", 5),
        (int | None, "null", None),
        (Order, '{"id": 7, "total": "1.20", "parts": [{"id": 8}]}', Order(7, Decimal("1.20"), [Order(8)])),
        (list[Order], '[{"id": 7}]', [Order(7)]),
        (Tree, '{"branches": [{"branches": []}]}', Tree([Tree([])])),
        (Line, '{"sku": "x"}', {"sku": "x"}),
        (Event, '{"type": "Event", "at": 1.5}', Event(1.5)),
        (Event | Ping, '{"type": "Ping"}', Ping()),
        (MayHold, '{"id": 1}', MayHold(1)),
        (Customer, '{"name": "Ada"}', Customer(name="Ada")),
        (list[Customer], '[{"name": "Ada"}]', [Customer(name="Ada")]),
        (Customer | None, "null", None),
        (dict[str, list[Customer]], '{"x": [{"name": "Ada"}]}', {"x": [Customer(name="Ada")]}),
        (Visit, '{"customer": {"name": "Ada"}}', Visit(Customer(name="Ada"))),
    ],
    ids=str,
)
def test_a_body_becomes_what_the_annotation_says(
    body_type: Any, body: str, decoded: Any, deliver: Callable[..., Delivery]
) -> None:
    result = decoder_of(body_type, "ship")(deliver(body).received)
    assert result == decoded
    assert type(result) is type(decoded)


@pytest.mark.parametrize(
    ("body_type", "body", "unquoted", "quoted"),
    [
        (dict, "", "(0 characters) is not dict: Input data was truncated", "'' "),
        (
            Order,
            '{"id": "7"}',
            "(11 characters) is not Order: Expected `int`, got `str` - at `$.id`",
            '\'{"id": "7"}\' ',
        ),
        (
            list[int],
            '["' + "x" * 100 + '"]',
            "(104 characters) is not list[int]: Expected `int`, got `str` - at `$[0]`",
            f"'[\"{'x' * 78}...' ",
        ),
        (
            Customer,
            '{"name": 42}',
            "(12 characters) is not Customer: 1 validation error for Customer: name: Input should be a valid string",
            "'{\"name\": 42}' ",
        ),
        (
            Customer,
            "\x1b[31m",
            "(5 characters) is not Customer: 1 validation error for Customer: Invalid JSON: expected value at line",
            r"'\x1b[31m' ",
        ),
    ],
)
def test_the_error_of_a_body_says_what_is_wrong_and_quotes_it_only_on_request(
    body_type: Any, body: str, unquoted: str, quoted: str, deliver: Callable[..., Delivery]
) -> None:
    """L30: bodies may be personal data, so they are not quoted unless `log_bodies` is on."""
    for quote in (False, True):
        with pytest.raises(UndecodableBody) as error:
            decoder_of(body_type, "ship", quote=quote)(deliver(body).received)
        sentence = str(error.value)
        assert sentence.startswith(f"its body {quoted if quote else ''}{unquoted}")
        assert sentence.isprintable()


@pytest.mark.parametrize(
    ("body_type", "body", "unquoted", "quoted"),
    [
        (Colour, '"ada@x.org"', "Invalid enum value", "Invalid enum value 'ada@x.org'"),
        (Event, '{"type": "ada@x.org"}', "Invalid value - at `$.type`", "Invalid value 'ada@x.org' - at `$.type`"),
        (list[Colour], '["ada@x.org"]', "Invalid enum value - at `$[0]`", "Invalid enum value 'ada@x.org' - at `$[0]`"),
        (
            Customer,
            '{"name": "ada@x.org"}',
            "String should have at most 5 characters",
            "String should have at most 5 characters ('ada@x.org')",
        ),
    ],
)
def test_the_decoders_own_sentence_quotes_no_value_either(
    body_type: Any, body: str, unquoted: str, quoted: str, deliver: Callable[..., Delivery]
) -> None:
    for quote, sentence in ((False, unquoted), (True, quoted)):
        with pytest.raises(UndecodableBody) as error:
            decoder_of(body_type, "ship", quote=quote)(deliver(body).received)
        assert str(error.value).endswith(f": {sentence}")


def test_of_many_errors_the_first_are_shown(deliver: Callable[..., Delivery]) -> None:
    body = '{"tags": [1, 2, 3, 4, 5, 6, 7]}'
    with pytest.raises(UndecodableBody) as error:
        decoder_of(Tagged, "ship")(deliver(body).received)
    sentence = str(error.value)
    assert "7 validation errors for Tagged: tags.0: Input should be a valid string; tags.1: " in sentence
    assert sentence.endswith("tags.4: Input should be a valid string; 2 more")


@pytest.mark.parametrize(
    ("body_type", "body"),
    [
        (Tagged, '{"tags": [' + "1," * 500_000 + "1]}"),
        (dict[str, Customer], '{"' + "k" * 1_000_000 + '": {"name": "too long"}}'),
        (Colour, '"' + "x" * 1_000_000 + '"'),
        (Strict, '{"' + "k" * 1_000_000 + '": 1}'),
        (Customer, "[" * 1_000_000),
        (Order, "[" * 1_000_000),
    ],
    ids=["half a million errors", "a long key", "a long value", "a long field", "brackets", "brackets, msgspec"],
)
@pytest.mark.parametrize("quote", [False, True])
def test_the_error_of_a_large_body_is_small(
    body_type: Any, body: str, deliver: Callable[..., Delivery], *, quote: bool
) -> None:
    """L9: any sender can send one; its error once was a log line of 85 MB, and kept the decoder's error alive."""
    decode, received = decoder_of(body_type, "ship", quote=quote), deliver(body).received
    tracemalloc.start()
    try:
        with pytest.raises(UndecodableBody) as error:
            decode(received)
        kept, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(str(error.value)) < 1000
    assert error.value.__cause__ is error.value.__context__ is None
    assert kept < 500_000
    assert peak < 12 * len(body)


class Odd:
    """A validator's error with a text that raises."""

    @staticmethod
    def refuse(_value: object) -> None:
        class Refusal(ValueError):
            def __str__(self) -> str:
                raise SystemExit

        raise Refusal


class Refused(pydantic.BaseModel):
    name: Annotated[str, pydantic.AfterValidator(Odd.refuse)]


@dataclass
class RefusedByMsgspec:
    name: str

    def __post_init__(self) -> None:
        Odd.refuse(self.name)


@pytest.mark.parametrize("body_type", [Refused, RefusedByMsgspec])
def test_an_error_with_a_text_that_raises_is_an_undecodable_body_too(
    body_type: Any, deliver: Callable[..., Delivery]
) -> None:
    """L15."""

    def handle(message: Message[Any]) -> None:
        raise AssertionError

    handle.__annotations__["message"] = Message[body_type]
    outcome = Handler(handle, queue="q").run_blocking(lambda _: True, deliver('{"name": "Ada"}'))
    assert isinstance(outcome, Reject | Failed)


def test_an_undecodable_body_is_rejected_and_the_handler_not_called(deliver: Callable[..., Delivery]) -> None:
    """L30: it follows the reject policy; tried again it would be the same."""

    def handle(message: Message[Order]) -> None:
        raise AssertionError

    for log_bodies, start in ((False, "its body (8 characters)"), (True, "its body 'not json' (8 characters)")):
        handler = Handler(handle, queue="q", log_bodies=log_bodies)
        outcome = handler.run_blocking(lambda _: True, deliver("not json"))
        assert isinstance(outcome, Reject)
        assert outcome.reason.startswith(f"{start} is not Order: ")
        assert isinstance(outcome.__cause__, UndecodableBody)


@pytest.mark.parametrize(
    ("body_type", "why"),
    [
        (Warehouse, "nothing in JSON becomes a Warehouse"),
        (list[Warehouse], "nothing in JSON becomes a Warehouse"),
        (dict[str, Warehouse | None], "nothing in JSON becomes a Warehouse"),
        (tuple[int, Warehouse], "nothing in JSON becomes a Warehouse"),
        (Holds, "nothing in JSON becomes a Warehouse"),
        (pathlib.Path, "nothing in JSON becomes a Path"),
        (Message[dict[str, Any]] | None, "nothing in JSON becomes a Message"),
        (str | bytes, "Type unions may not contain more than one str-like type"),
        ("no type at all", "cannot be decoded to no type at all ("),
        (Customer | Warehouse, "Unable to generate pydantic-core schema"),
    ],
    ids=str,
)
def test_a_type_that_no_body_can_become_is_refused_at_construction(body_type: Any, why: str) -> None:
    """Refused later it would send every message to the dead-letter queue."""
    with pytest.raises(ConfigurationError) as refusal:
        decoder_of(body_type, "ship")
    sentence = str(refusal.value)
    assert sentence.startswith("handler ship: a body cannot be decoded to ")
    assert why in sentence
    assert sentence.endswith(
        "; annotate the parameter with str, bytes, dict, a dataclass, a msgspec.Struct, a pydantic model, or "
        "Message[...] of one of these"
    )
