"""The AsyncAPI document of an app: valid by the official schema, and with what the code says."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import msgspec
import pydantic
import pytest

from leasekeeper import Batch, ConfigurationError, Consumer, Leasekeeper, Message, Sender
from leasekeeper.asyncapi import document_of, page_of
from leasekeeper.envelopes import EventBridgeEvent, S3Event, SnsNotification  # noqa: TC001 - annotations
from leasekeeper.routing import attribute

if TYPE_CHECKING:
    from collections.abc import Callable

    from jsonschema import Draft7Validator

SCHEMA = json.loads((Path(__file__).parent / "schema" / "3.0.0.json").read_text())


class Item(msgspec.Struct):
    """What is bought."""

    name: str
    count: Annotated[int, msgspec.Meta(ge=1)] = 1


class Order(msgspec.Struct, tag="order", tag_field="type"):
    id: int
    items: list[Item]
    note: str | None = None


class Refund(pydantic.BaseModel):
    id: int = pydantic.Field(description="of the order")
    reason: Literal["late", "broken"] = "late"


@dataclass
class Picture:
    key: str
    sizes: dict[str, int] = field(default_factory=dict)


def shop() -> Leasekeeper:
    app = Leasekeeper(region="eu-west-1", visibility_timeout=60)

    @app.consumer("orders", dead_letter_queue="orders-dead")
    async def ship(order: Order, shipped: Annotated[Sender, "shipped.fifo"]) -> None:
        """Ship an order.

        It is done once.
        """

    @app.consumer("refunds.fifo", when=attribute("kind") == "full")
    async def refund(message: Message[Refund]) -> None: ...

    @app.consumer("refunds.fifo")
    async def other(body: dict[str, Any]) -> None: ...

    @app.consumer("pictures", batch=50)
    async def resize(pictures: Batch[Picture]) -> None: ...

    @app.consumer("news", envelope="sns")
    def tell(text: str) -> None: ...

    @app.consumer("events")
    def note(event: EventBridgeEvent[Picture]) -> None: ...

    @app.consumer("uploads", envelope=("sns", "s3"))
    def store(event: S3Event) -> None: ...

    return app


def by_the_official_schema() -> Draft7Validator:
    from jsonschema import Draft7Validator  # slow to import

    return Draft7Validator(SCHEMA)


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    return document_of(shop(), title="Shop", version="1.2.3", description="All of it.")


def test_it_is_valid_by_the_official_schema(document: dict[str, Any]) -> None:
    validator = by_the_official_schema()
    assert [f"{list(each.path)}: {each.message}" for each in validator.iter_errors(document)] == []
    assert validator.is_valid({**document, "channels": {"a": 7}}) is False, "the schema does refuse"


def test_every_reference_leads_somewhere(document: dict[str, Any]) -> None:
    def references(value: Any) -> list[str]:
        if isinstance(value, dict):
            own = [value["$ref"]] if isinstance(value.get("$ref"), str) else []
            return own + [each for part in value.values() for each in references(part)]
        return [each for part in value for each in references(part)] if isinstance(value, list) else []

    found = references(document)
    assert len(found) > 15
    for reference in found:
        at: Any = document
        for name in reference.removeprefix("#/").split("/"):
            at = at[name]


def test_queues_are_channels_with_the_binding_of_sqs(document: dict[str, Any]) -> None:
    assert document["channels"]["orders"]["bindings"] == {
        "sqs": {
            "queue": {"name": "orders", "fifoQueue": False},
            "deadLetterQueue": {"name": "orders-dead", "fifoQueue": False},
            "bindingVersion": "0.2.0",
        }
    }
    assert document["channels"]["refunds-fifo"]["address"] == "refunds.fifo"
    assert document["channels"]["refunds-fifo"]["bindings"]["sqs"]["queue"]["fifoQueue"] is True


def test_handlers_are_operations_and_so_is_what_they_send(document: dict[str, Any]) -> None:
    operations = {name.removeprefix("shop-"): each for name, each in document["operations"].items()}
    assert list(operations) == ["ship", "ship-shipped-fifo", "refund", "other", "resize", "tell", "note", "store"]
    assert (operations["ship"]["summary"], operations["ship"]["description"]) == ("Ship an order.", "It is done once.")
    assert operations["ship"]["x-leasekeeper"] == {"visibility_timeout": 60}
    assert operations["ship-shipped-fifo"]["action"] == "send"
    assert operations["refund"]["x-leasekeeper"]["when"] == "attribute('kind') == 'full'"
    assert operations["resize"]["x-leasekeeper"]["batch"] == 50


def test_bodies_have_schemas_of_their_types(document: dict[str, Any]) -> None:
    schemas = document["components"]["schemas"]
    assert list(schemas) == ["Order", "Item", "Refund", "Picture"]
    assert schemas["Item"]["properties"]["count"] == {"type": "integer", "minimum": 1, "default": 1}
    assert schemas["Order"]["properties"]["items"]["items"] == {"$ref": "#/components/schemas/Item"}
    assert schemas["Refund"]["properties"]["id"]["description"] == "of the order"
    messages = {name.removeprefix("shop-"): each for name, each in document["components"]["messages"].items()}
    assert messages["ship"]["payload"] == {"$ref": "#/components/schemas/Order"}
    assert messages["resize"]["payload"] == {"$ref": "#/components/schemas/Picture"}


def test_envelopes_are_around_the_payload(document: dict[str, Any]) -> None:
    messages = {name.removeprefix("shop-"): each for name, each in document["components"]["messages"].items()}
    assert messages["tell"]["payload"]["properties"]["Message"] == {"type": "string"}
    assert messages["note"]["payload"]["properties"]["detail"] == {"$ref": "#/components/schemas/Picture"}
    assert messages["note"]["x-leasekeeper-envelopes"] == ["eventbridge"]
    inside = messages["store"]["payload"]["properties"]["Message"]["contentSchema"]
    assert messages["store"]["x-leasekeeper-envelopes"] == ["sns", "s3"]
    assert inside["required"] == ["Records"]


def test_real_bodies_are_valid_by_the_schemas(document: dict[str, Any]) -> None:
    from jsonschema import ValidationError, validate

    from leasekeeper.testing.envelopes import eventbridge, s3, sns

    def check(name: str, body: str) -> None:
        payload = document["components"]["messages"][f"shop-{name}"]["payload"]
        validate(json.loads(body), {**payload, "components": document["components"]})

    check("ship", '{"type": "order", "id": 7, "items": [{"name": "tea"}]}')
    check("tell", sns("hello"))
    check("note", eventbridge({"key": "a", "sizes": {}}))
    check("store", sns(s3("a.txt")))
    with pytest.raises(ValidationError):
        check("ship", '{"type": "order", "id": 7, "items": [{"name": "tea", "count": 0}]}')


def make_order(module: str) -> type:
    return msgspec.defstruct("Order", [(module, int)])


def test_two_types_of_one_name_are_both_there() -> None:
    one, other = make_order("a"), make_order("b")

    def handler(kind: type, name: str) -> Callable[..., None]:
        def handle(body: Any) -> None: ...

        handle.__annotations__["body"] = kind
        handle.__qualname__ = name
        return handle

    consumers = [
        Consumer(queue, handler(kind, queue), region="eu-west-1") for queue, kind in (("a", one), ("b", other))
    ]
    document = document_of(*consumers)
    assert list(document["components"]["schemas"]) == ["Order", "Order2"]
    assert document["components"]["messages"]["b"]["payload"] == {"$ref": "#/components/schemas/Order2"}


def test_annotations_of_sns_hold_types_too() -> None:
    def handle(event: SnsNotification[Picture]) -> None: ...

    document = document_of(Consumer("q", handle, region="eu-west-1"))
    [message] = document["components"]["messages"].values()
    assert message["payload"]["properties"]["Message"]["contentSchema"] == {"$ref": "#/components/schemas/Picture"}
    assert by_the_official_schema().is_valid(document)


def test_an_app_without_consumers_has_no_document() -> None:
    with pytest.raises(ConfigurationError, match="this app has no consumers"):
        document_of(Leasekeeper())


def test_the_page_shows_it_all_and_loads_nothing(document: dict[str, Any]) -> None:
    page = page_of(document)
    for text in ("Shop", "version 1.2.3", "orders-dead", "Ship an order.", "refunds.fifo", "FIFO queue", "sns, s3"):
        assert text in page
    assert "http:" not in page.replace("http-equiv", "")
    assert "https:" not in page
    assert "<script" not in page
    assert "default-src 'none'" in page


def test_the_page_escapes_what_it_shows(document: dict[str, Any]) -> None:
    odd = json.loads(json.dumps(document).replace("Ship an order.", "<b>&"))
    odd["info"]["title"] = "<script>"
    page = page_of(odd)
    assert "<script" not in page
    assert "&lt;b&gt;&amp;" in page
