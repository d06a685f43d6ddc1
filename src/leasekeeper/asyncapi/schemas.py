"""JSON Schemas of the bodies that handlers take: of msgspec's types, dataclasses, TypedDicts and pydantic models.

Used once for a document. A type with a name becomes a schema of the document's components, and is referred to.
"""

from __future__ import annotations

import json
from typing import Any, get_args, get_origin

import msgspec

from leasekeeper.envelopes import CloudEvent, EventBridgeEvent, S3Event, S3Record, SnsNotification
from leasekeeper.errors import ConfigurationError

PLACE = "#/components/schemas/"
_TEXT = {"type": "string"}
_HOLDERS: dict[Any, tuple[str, Any]] = {
    SnsNotification: ("sns", str),
    EventBridgeEvent: ("eventbridge", Any),
    CloudEvent: ("cloudevents", Any),
}
"""For each type of an envelope: its name, and what it holds without an annotation."""


class Schemas:
    """The schemas of one document.

    Attributes:
        components: schemas by name, for `components.schemas`.
    """

    def __init__(self) -> None:
        self.components: dict[str, Any] = {}

    def of(self, kind: Any) -> dict[str, Any]:
        """The schema of a type; named types are put into the components.

        Raises:
            ConfigurationError: no schema can be made of it.
        """
        if kind in (str, bytes):
            return dict(_TEXT)
        try:
            found, named = _pydantic(kind) if _has_pydantic(kind) else _msgspec(kind)
        except Exception as error:  # both libraries have their own errors
            raise ConfigurationError(f"no JSON Schema can be made of {kind}: {error}") from error
        return self._placed(found, named)

    def _placed(self, found: dict[str, Any], named: dict[str, Any]) -> dict[str, Any]:
        """Put named schemas into the components, under another name if one has theirs."""
        text = json.dumps([found, named])
        for name, schema in named.items():
            other, number = name, 2
            while other in self.components and self.components[other] != schema:
                other, number = f"{name}{number}", number + 1
            if other != name:
                text = text.replace(f'"{PLACE}{name}"', f'"{PLACE}{other}"').replace(f'"{name}": ', f'"{other}": ')
        found, named = json.loads(text)
        self.components |= named
        return found


def _msgspec(kind: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    (found,), named = msgspec.json.schema_components([kind], ref_template=PLACE + "{name}")
    return found, dict(named)


def _has_pydantic(kind: Any) -> bool:
    return hasattr(kind, "__pydantic_validator__") or any(_has_pydantic(each) for each in get_args(kind))


def _pydantic(kind: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    from pydantic import TypeAdapter

    found = TypeAdapter(kind).json_schema(ref_template=PLACE + "{model}")
    named: dict[str, Any] = found.pop("$defs", {})
    if "title" in found and found.get("type") == "object" and hasattr(kind, "__pydantic_validator__"):
        named[kind.__name__] = found
        return {"$ref": PLACE + kind.__name__}, named
    return found, named


def held_by(kind: Any) -> tuple[str, Any] | None:
    """The envelope that an annotation is, and the type of what it holds; None for any other annotation."""
    origin = get_origin(kind) or kind
    if kind in (S3Event, S3Record) or (origin is list and get_args(kind) == (S3Record,)):
        return "s3", None
    if origin not in _HOLDERS:
        return None
    name, usual = _HOLDERS[origin]
    return name, (get_args(kind) or (usual,))[0]


def wrapped(name: str, inside: dict[str, Any]) -> dict[str, Any]:
    """The schema of an envelope around a payload, as far as it always has the same fields."""
    text = {"type": "string", "contentMediaType": "application/json", "contentSchema": inside}
    if name == "sns":
        message = inside if inside == _TEXT else text
        return _object(
            Type={"const": "Notification"}, TopicArn=_TEXT, MessageId=_TEXT, Message=message, Timestamp=_TEXT
        )
    if name == "eventbridge":
        found = _object(source=_TEXT, id=_TEXT, time=_TEXT, account=_TEXT, region=_TEXT, detail=inside)
        found["properties"]["detail-type"] = _TEXT
        found["required"].append("detail-type")
        return found
    if name == "cloudevents":
        found = _object(specversion={"const": "1.0"}, id=_TEXT, source=_TEXT, type=_TEXT, data=inside)
        found["required"].remove("data")
        return found
    if name == "s3":
        record = _object(eventName=_TEXT, s3={"type": "object"})
        return _object(Records={"type": "array", "items": record})
    return inside


def _object(**properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": list(properties)}
