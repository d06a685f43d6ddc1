"""Notices: whether a handler takes an envelope for its payload, looked for in the first bodies that it decodes.

Made by `leasekeeper.lanes.decoding` for handlers without the option `envelope`. It promises one notice a handler, and
that a message costs nothing for it after the first `LOOKS`.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

from leasekeeper.envelopes.choosing import NAMES, advice, envelope_in
from leasekeeper.loggers import safe_logger

if TYPE_CHECKING:
    import logging
    from collections.abc import Callable

LOOKS = 100
"""Bodies that are looked at. A queue that is subscribed to a topic or a rule has envelopes from the first message."""
PAYLOADS = {"sns": "message", "eventbridge": "detail", "s3": "records", "cloudevents": "data"}
"""The field of each envelope that holds the payload: a type that declares it is meant for the envelope."""


def noticing(
    decode: Callable[[str], Any], body_type: Any, notice: Callable[[str], None], looked: Callable[[], None]
) -> Callable[[str], Any]:
    """Decode and look. A body that cannot be decoded is not looked at: its error names the envelope.

    Args:
        decode: the decoder.
        body_type: the handler's annotation.
        notice: called once, with a sentence, if a body is an envelope and its type does not show that this is meant.
        looked: called when there is nothing more to look for.
    """
    left = iter(range(LOOKS))
    noticed = threading.Lock()

    def look(body: str) -> Any:
        result = decode(body)
        if next(left, None) is None:
            looked()
        elif (name := envelope_in(body)) is not None and not _declares(body_type, result, PAYLOADS[name]):
            looked()
            if noticed.acquire(blocking=False):  # once, also if several threads look
                notice(f"{NAMES[name]}: {advice(name)}; or give envelope=() if the envelope is meant")
        return result

    return look


def warn(logger: logging.Logger, queue: str, handler: str, notice: str) -> None:
    """Log a notice about the handler of a queue."""
    sentence = "queue %s: handler %s takes the whole of %s"
    safe_logger(logger).warning(sentence, queue, handler, notice, extra={"queue": queue, "handler": handler})


def _declares(body_type: Any, body: Any, payload: str) -> bool:
    """Whether the annotation, or the class of the body, has a field for the payload of an envelope."""
    classes = [*type(body).__mro__, *getattr(body_type, "__mro__", ())]
    return payload in {field.lower() for each in classes for field in _fields(each)}


def _fields(kind: type) -> list[str]:
    """The annotated fields of a class. From Python 3.14 on, to read them may raise what their types raise."""
    try:
        return list(getattr(kind, "__annotations__", ()))
    except Exception:
        return [str(each) for each in getattr(kind, "__struct_fields__", ())]
