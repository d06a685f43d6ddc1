"""The AsyncAPI document of an app: a channel for each queue, an operation for each handler and for what it sends.

Made from the code alone: nothing is asked of AWS. The binding of SQS is version 0.2.0, the newest that the schema of
AsyncAPI 3.0.0 knows.
"""

from __future__ import annotations

import dataclasses
import inspect
import re
from typing import TYPE_CHECKING, Any

from leasekeeper.app import Leasekeeper
from leasekeeper.asyncapi.schemas import Schemas, held_by, wrapped
from leasekeeper.envelopes.choosing import parts_of
from leasekeeper.lanes.routed import RoutedHandler
from leasekeeper.lanes.signature import name_of
from leasekeeper.options import Options
from leasekeeper.sending.senders import queue_of
from leasekeeper.sqs.address import QueueAddress

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from leasekeeper.consumer import Consumer
    from leasekeeper.lanes.batch_handler import BatchHandler
    from leasekeeper.lanes.handler import Handler

BINDING = "0.2.0"
SHOWN = (
    "concurrency",
    "batch",
    "visibility_timeout",
    "handler_timeout",
    "max_attempts",
    "on_reject",
    "fifo_ack",
    "rate",
)
"""Options that readers of the document care about; others are the operator's."""


def document_of(
    *apps: Leasekeeper | Consumer, title: str = "Consumers", version: str = "0.0.0", description: str = ""
) -> dict[str, Any]:
    """The document of some apps and consumers, for AsyncAPI 3.0.

    Args:
        apps: the apps and consumers.
        title: of the document.
        version: of the document, which is that of your program.
        description: of the document, in Markdown.

    Raises:
        ConfigurationError: an app has no consumers, or no schema can be made of a type.
    """
    info = {"title": title, "version": version, **({"description": description} if description else {})}
    made = _Document(info)
    for app in apps:
        for consumer in app.consumers if isinstance(app, Leasekeeper) else (app,):
            made.add(consumer)
    return made.result()


class _Document:
    def __init__(self, info: dict[str, str]) -> None:
        self._info = info
        self._schemas = Schemas()
        self._channels: dict[str, Any] = {}
        self._operations: dict[str, Any] = {}
        self._messages: dict[str, Any] = {}

    def add(self, consumer: Consumer) -> None:
        """Add the channel and the operations of a consumer."""
        key = self._channel(consumer.address, consumer.options.dead_letter_queue)
        for handler, condition in _handlers(consumer):
            signature, doc = handler.signature, inspect.getdoc(inspect.unwrap(_bare(handler.function))) or ""
            message = self._message(handler.name, signature.body_type, consumer.options, doc, condition)
            self._link(key, message)
            operation = self._operation("receive", key, handler.name, [message], doc)
            operation["x-leasekeeper"] = _shown(consumer.options) | ({"when": condition} if condition else {})
            for parameter in signature.injected:
                queue = queue_of(parameter)
                if queue is not None:
                    self._sends(handler.name, queue)

    def _channel(self, address: QueueAddress, dead_letters: str | None = None) -> str:
        key = _key(address.name)
        if key not in self._channels:
            self._channels[key] = {"address": address.name, "messages": {}}
        sqs: dict[str, Any] = {"queue": {"name": address.name, "fifoQueue": address.fifo}, "bindingVersion": BINDING}
        if dead_letters is not None:
            dead = QueueAddress.parse(dead_letters)
            sqs["deadLetterQueue"] = {"name": dead.name, "fifoQueue": dead.fifo}
        self._channels[key].setdefault("bindings", {"sqs": sqs})
        return key

    def _message(self, handler: str, kind: Any, options: Options, doc: str, condition: str) -> str:
        names = [] if options.envelope is None else [_named(part) for part in parts_of(options.envelope)]
        held = held_by(kind)
        if held is not None:
            names += [held[0]] if held[0] not in names else []
            kind = held[1]
        payload = {"type": "object"} if kind is None else self._schemas.of(kind)
        text = payload == {"type": "string"}
        for name in reversed(names):
            payload = wrapped(name, payload)
        key = _key(handler)
        found: dict[str, Any] = {
            "name": handler,
            "title": _title(kind, handler),
            "contentType": "text/plain" if text and not names else "application/json",
            "payload": payload,
        }
        if doc:
            found["summary"] = doc.splitlines()[0]
        if names:
            found["x-leasekeeper-envelopes"] = names
        if condition:
            found["description"] = f"Taken where {condition}."
        self._messages[key] = found
        return key

    def _link(self, channel: str, message: str) -> None:
        self._channels[channel]["messages"][message] = {"$ref": f"#/components/messages/{message}"}

    def _operation(self, action: str, channel: str, name: str, messages: Sequence[str], doc: str) -> dict[str, Any]:
        key = _key(name if action == "receive" else f"{name}-{channel}")
        found: dict[str, Any] = {
            "action": action,
            "channel": {"$ref": f"#/channels/{channel}"},
            "messages": [{"$ref": f"#/channels/{channel}/messages/{each}"} for each in messages],
        }
        if doc:
            summary, _, more = doc.partition("\n")
            found["summary"] = summary
            if more.strip():
                found["description"] = more.strip()
        self._operations[key] = found
        return found

    def _sends(self, handler: str, queue: str) -> None:
        address = QueueAddress.parse(queue)
        channel = self._channel(address)
        self._operation("send", channel, handler, [], f"{handler} sends to {address.name}.")
        del self._operations[_key(f"{handler}-{channel}")]["messages"]

    def result(self) -> dict[str, Any]:
        """The whole."""
        components = {"messages": self._messages, "schemas": self._schemas.components}
        return {
            "asyncapi": "3.0.0",
            "info": self._info,
            "defaultContentType": "application/json",
            "channels": self._channels,
            "operations": self._operations,
            "components": {name: part for name, part in components.items() if part},
        }


def _handlers(consumer: Consumer) -> Iterator[tuple[Handler | BatchHandler, str]]:
    handler = consumer.handler
    if isinstance(handler, RoutedHandler):
        for route in handler.routes:
            yield route.handler, "" if route.condition is None else repr(route.condition)
    else:
        yield handler, ""


def _bare(function: Any) -> Any:
    while hasattr(function, "func"):
        function = function.func if not function.args else function.args[0]
    return function


def _named(part: Any) -> str:
    return part if isinstance(part, str) else name_of(part if hasattr(part, "__qualname__") else type(part)).lower()


def _title(kind: Any, handler: str) -> str:
    named = isinstance(kind, type) and kind.__module__ != "builtins"
    return kind.__qualname__ if named else f"Message of {handler}"


def _key(name: str) -> str:
    """A name as the keys of a document may be."""
    return re.sub(r"[^A-Za-z0-9_\-]", "-", name.replace(".<locals>.", "-"))


def _shown(options: Options) -> dict[str, Any]:
    """The options that are not as usual, of those that are of interest."""
    usual = {option.name: option.default for option in dataclasses.fields(Options)}
    return {name: getattr(options, name) for name in SHOWN if getattr(options, name) != usual[name]}
