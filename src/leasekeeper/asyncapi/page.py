"""A page of an AsyncAPI document: one HTML file without a script, a font or a style from elsewhere.

Used by `leasekeeper docs --html`. Everything that comes from the document is escaped.
"""

from __future__ import annotations

import json
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    Schema = Mapping[str, Any]

STYLE = Path(__file__).with_name("style.css")
_VERBS = {"receive": "consumes", "send": "sends"}


def page_of(document: Mapping[str, Any]) -> str:
    """The page of a document of `document_of`."""
    return "\n".join(_Page(document).lines()) + "\n"


class _Page:
    def __init__(self, document: Mapping[str, Any]) -> None:
        self._document = document
        self._components: Mapping[str, Any] = document.get("components", {})
        self._schemas: Mapping[str, Schema] = self._components.get("schemas", {})

    def lines(self) -> Iterator[str]:
        """The page, line by line."""
        info, channels = self._document["info"], self._document["channels"]
        title = escape(info["title"])
        yield "<!doctype html>"
        yield '<html lang="en"><head><meta charset="utf-8">'
        yield '<meta name="viewport" content="width=device-width, initial-scale=1">'
        policy = "default-src 'none'; style-src 'unsafe-inline'"
        yield f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
        yield f"<title>{title}</title><style>{STYLE.read_text()}</style></head><body>"
        yield f'<header><h1>{title}</h1><span class="soft">version {escape(info["version"])}, AsyncAPI '
        yield f"{escape(self._document['asyncapi'])}</span>"
        if "description" in info:
            yield f"<p>{escape(info['description'])}</p>"
        yield "<nav>"
        for key, channel in channels.items():
            yield f'<a href="#{escape(key)}">{escape(channel["address"])}</a>'
        yield "</nav></header><main>"
        for key, channel in channels.items():
            yield from self._channel(key, channel)
        if self._schemas:
            yield "<h3>Types</h3>"
        for name, schema in self._schemas.items():
            yield f'<section id="schema-{escape(name)}"><h2><code>{escape(name)}</code></h2>'
            yield from self._schema(schema)
            yield "</section>"
        yield "</main></body></html>"

    def _channel(self, key: str, channel: Mapping[str, Any]) -> Iterator[str]:
        sqs = channel.get("bindings", {}).get("sqs", {})
        kind = "FIFO queue" if sqs.get("queue", {}).get("fifoQueue") else "standard queue"
        yield f'<section id="{escape(key)}"><h2>{escape(channel["address"])} <span class="tag">{kind}</span></h2>'
        if "deadLetterQueue" in sqs:
            yield f'<p class="soft">Dead letters go to {escape(sqs["deadLetterQueue"]["name"])}.</p>'
        for operation in self._document["operations"].values():
            if operation["channel"]["$ref"] == f"#/channels/{key}":
                yield from self._operation(operation)
        yield "</section>"

    def _operation(self, operation: Mapping[str, Any]) -> Iterator[str]:
        messages = [self._message(each["$ref"]) for each in operation.get("messages", ())]
        name = messages[0]["name"] if messages else ""
        verb = _VERBS[operation["action"]]
        yield f'<div class="operation"><span class="tag verb">{verb}</span> <code>{escape(name)}</code>'
        for part in ("summary", "description"):
            if part in operation:
                yield f"<p>{escape(operation[part])}</p>"
        for message in messages:
            if "description" in message:
                yield f'<p class="soft">{escape(message["description"])}</p>'
            if around := message.get("x-leasekeeper-envelopes"):
                yield f'<p class="soft">Inside of: {escape(", ".join(around))}</p>'
            yield "<h3>Body</h3>"
            yield from self._schema(message["payload"])
        if options := operation.get("x-leasekeeper"):
            shown = ", ".join(f"{name} {value}" for name, value in options.items() if name != "when")
            if shown:
                yield f'<p class="soft">{escape(shown)}</p>'
        yield "</div>"

    def _message(self, reference: str) -> Mapping[str, Any]:
        found: Mapping[str, Any] = self._components["messages"][reference.rpartition("/")[2]]
        return found

    def _schema(self, schema: Schema) -> Iterator[str]:
        if schema.get("description"):
            yield f"<p>{escape(schema['description'])}</p>"
        properties = schema.get("properties")
        if not properties:
            yield f"<p>{self._type(schema)}</p>"
            return
        required = set(schema.get("required", ()))
        yield "<table><thead><tr><th>field</th><th>type</th><th></th></tr></thead><tbody>"
        for name, field in properties.items():
            notes = (
                []
                if name in required
                else [f"default {json.dumps(field['default'])}" if "default" in field else "optional"]
            )
            notes += [escape(field["description"])] if "description" in field else []
            notes += [f"{word} {field[word]}" for word in ("minimum", "maximum", "pattern", "format") if word in field]
            yield f"<tr><th><code>{escape(name)}</code></th><td>{self._type(field)}</td>"
            yield f'<td class="soft">{"; ".join(map(escape, notes))}</td></tr>'
        yield "</tbody></table>"

    def _type(self, schema: Schema) -> str:
        """A type in a line, with links to those that have a name."""
        if "$ref" in schema:
            name = escape(schema["$ref"].rpartition("/")[2])
            return f'<a href="#schema-{name}"><code>{name}</code></a>'
        if "const" in schema:
            return f"<code>{escape(json.dumps(schema['const']))}</code>"
        if "enum" in schema:
            return " or ".join(f"<code>{escape(json.dumps(each))}</code>" for each in schema["enum"])
        for word in ("anyOf", "oneOf"):
            if word in schema:
                return " or ".join(map(self._type, schema[word]))
        kind = schema.get("type", "any")
        if "contentSchema" in schema:
            return f"JSON text of {self._type(schema['contentSchema'])}"
        if kind == "array":
            return f"list of {self._type(schema.get('items') or {})}"
        if kind == "object" and "additionalProperties" in schema and isinstance(schema["additionalProperties"], dict):
            return f"object of {self._type(schema['additionalProperties'])}"
        return escape(" or ".join(kind) if isinstance(kind, list) else kind)
