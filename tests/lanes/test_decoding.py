"""From a body to what the annotation says, and the sentence for a type or a body that cannot be."""

from __future__ import annotations

import pathlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING, Any, TypedDict

import msgspec
import pydantic
import pytest

from leasekeeper.errors import ConfigurationError, UndecodableBody
from leasekeeper.lanes.decoding import decoder_of
from leasekeeper.lanes.handler import Handler
from leasekeeper.message import Message
from leasekeeper.outcomes import Reject

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
    ("body_type", "body", "sentence"),
    [
        (dict, "", "'' (0 characters) is not dict: Input data was truncated"),
        (Order, '{"id": "7"}', '\'{"id": "7"}\' (11 characters) is not Order: Expected `int`, got `str` - at `$.id`'),
        (
            list[int],
            '["' + "x" * 100 + '"]',
            f"'[\"{'x' * 78}...' (104 characters) is not list[int]: Expected `int`, got `str` - at `$[0]`",
        ),
    ],
)
def test_a_body_that_is_something_else_is_said_to_be(
    body_type: Any, body: str, sentence: str, deliver: Callable[..., Delivery]
) -> None:
    """L30: which message, which body, what was wanted and what was there."""
    with pytest.raises(UndecodableBody) as error:
        decoder_of(body_type, "ship")(deliver(body).received)
    assert str(error.value) == f"its body {sentence}"


@pytest.mark.parametrize("body", ['{"name": "much too long"}', "{", "[]"])
def test_a_body_that_a_model_refuses_is_undecodable_too(body: str, deliver: Callable[..., Delivery]) -> None:
    with pytest.raises(UndecodableBody, match=r"is not Customer: 1 validation error for Customer"):
        decoder_of(Customer, "ship")(deliver(body).received)


def test_an_undecodable_body_is_rejected_and_the_handler_not_called(deliver: Callable[..., Delivery]) -> None:
    """L30: it follows the reject policy; tried again it would be the same."""

    def handle(message: Message[Order]) -> None:
        raise AssertionError

    outcome = Handler(handle, queue="q").run_blocking(lambda _: True, deliver("not json"))
    assert isinstance(outcome, Reject)
    assert outcome.reason.startswith("its body 'not json' (8 characters) is not Order: ")
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
        ("no type at all", "Type ''no type at all'' is not supported"),
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
