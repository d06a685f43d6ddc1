"""Unwrapping: from a message to its payload, and from the payload to what a handler's annotation says.

Made by `leasekeeper.lanes.decoding` for a handler with the option `envelope`, or with an annotation that needs one. A
run changes nothing in it, so several threads may use it at once.
"""

from __future__ import annotations

from contextvars import ContextVar
from functools import partial
from typing import TYPE_CHECKING, Any, get_args, get_origin

import msgspec

from leasekeeper.envelopes.choosing import (
    ANNOTATIONS,
    NAMES,
    advice,
    decoder_named,
    envelope_in,
    names_of,
    open_found,
    parts_of,
)
from leasekeeper.envelopes.cloudevents import CloudEvent, read_cloudevent
from leasekeeper.envelopes.eventbridge import EventBridgeEvent, read_eventbridge
from leasekeeper.envelopes.opening import LARGEST, Blocked, NothingToHandle, OpenedMessage, begin, step_in
from leasekeeper.envelopes.s3 import S3Event, S3Record, read_s3
from leasekeeper.envelopes.signature import Sns
from leasekeeper.envelopes.sns import SnsNotification, read_sns
from leasekeeper.errors import ConfigurationError, UndecodableBody
from leasekeeper.loggers import OnceAMinute, safe_logger
from leasekeeper.outcomes import NotOpened, Reject, Retry
from leasekeeper.texts import one_line

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from leasekeeper.envelopes.choosing import Envelope
    from leasekeeper.message import Received

    Decode = Callable[[Any, Sequence[Any]], Any]
    """Decodes a payload; takes the envelopes around it too."""

log = safe_logger("leasekeeper.envelopes")

UNREACHED = 5.0
"""Seconds until a message with such an envelope comes again, where it cannot wait."""
_NOT_OPENED = (
    "handler %s is not run, its messages are tried again: envelope %s cannot be opened, because something could not be "
    "reached: %s"
)
_NO_PAYLOAD = "envelope {} returned an object of type {}: it must return the payload as text or bytes, or Opened(...)"
_OPENED: ContextVar[tuple[Received, object, OpenedMessage] | None] = ContextVar("leasekeeper.opened", default=None)
"""The message that was opened to choose its handler, with how."""
PASSING = (NothingToHandle, Blocked, UndecodableBody, Retry, Reject)
"""What a decoder may raise that does not mean that the body is no such envelope."""


class Unwrapping:
    """Opens a message's envelopes, and decodes what they hold. It is called as every decoder of a handler is.

    Args:
        envelope: the option; empty for an annotation that opens S3's events by itself.
        body_type: the handler's annotation.
        decode: decodes the payload of an opened message.
        handler: the handler's name.
        explain: an error's text, without what may be personal data.

    Raises:
        ConfigurationError: the annotation cannot take what the option gives.
    """

    def __init__(
        self,
        envelope: Envelope,
        body_type: Any,
        decode: Callable[[OpenedMessage], Any],
        handler: str,
        explain: Callable[[Exception], str],
    ) -> None:
        self._decode = decode
        self._explain = explain
        self._handler = handler
        self._told = OnceAMinute(log)
        parts = parts_of(envelope)
        if "s3" in parts and not takes_records(body_type) and body_type is not S3Event:
            raise ConfigurationError(
                f"handler {handler} with envelope={envelope!r}: annotate its parameter with S3Record, list[S3Record] "
                "or S3Event (leasekeeper.envelopes), which take S3 events"
            )
        inmost = "sns" if parts and isinstance(parts[-1], Sns) else str(*parts[-1:])
        kind = get_origin(body_type) or body_type
        if kind in _READERS and (inmost == "auto" or kind is ANNOTATIONS.get(inmost)):
            raise ConfigurationError(
                f"handler {handler} with envelope={envelope!r}: its annotation {kind.__name__} asks for "
                "an envelope that the option has opened already; leave one of them out"
            )
        opened: list[Any] = [part for part in parts if part != "s3"]
        if takes_records(body_type):
            opened.append("s3")
        as_text = body_type in (str, bytes)
        self.key = (tuple(opened), as_text)
        """Equal for two that open a message in the same way."""
        self._steps = [(part, _step(part, as_text=as_text)) for part in opened]

    def open(self, received: Received) -> OpenedMessage:
        """The message with its envelopes open.

        Raises:
            UndecodableBody: it is not in these envelopes.
            NothingToHandle: no handler needs to see it.
            Blocked: something has to be fetched first.
            NotOpened: something could not be reached.
            Exception: what a decoder of a user raises to have the message retried or rejected.
        """
        if len(received.body) > LARGEST:
            raise UndecodableBody(
                f"its body has {len(received.body)} characters, and envelopes are opened up to {LARGEST}: SQS takes "
                "no larger body"
            )
        inside = begin(received)
        for part, step in self._steps:
            try:
                inside = step(inside)
            except PASSING:
                raise
            except OSError as error:  # no fault of the message, and no attempt
                self._told.warning(_NOT_OPENED, self._handler, _shown(part), one_line(error))
                raise NotOpened(UNREACHED, error) from error
            except Exception as error:  # a decoder may be a user's code
                why = self._explain(error)
            else:
                if not isinstance(part, str) and not isinstance(inside.payload, str | bytes):
                    raise TypeError(_NO_PAYLOAD.format(_shown(part), type(inside.payload).__name__))
                continue
            # Outside of the `except`, as in `decoding`: the error may be large.
            raise UndecodableBody(_refusal(part, inside, why))
        return msgspec.structs.replace(inside, body=received.body)

    def open_once(self, received: Received) -> OpenedMessage:
        """As `open`, but what `remember` has noted is taken."""
        noted = _OPENED.get()
        if noted is not None and noted[0] is received and noted[1] == self.key:
            _OPENED.set(None)
            return noted[2]
        return self.open(received)

    def remember(self, received: Received, opened: OpenedMessage) -> None:
        """Note an open message for the handler that runs next in this task or thread."""
        _OPENED.set((received, self.key, opened))

    def __call__(self, received: Received) -> Any:
        """The body for the handler, of a message that is open or not."""
        return self._decode(received if isinstance(received, OpenedMessage) else self.open_once(received))


def _step(part: Any, *, as_text: bool) -> Callable[[OpenedMessage], OpenedMessage]:
    if part == "auto":
        return partial(open_found, as_text=as_text)
    decoder = decoder_named(part, as_text=as_text) if isinstance(part, str) else part
    return lambda inside: step_in(inside, decoder)


def _refusal(part: Any, inside: OpenedMessage, why: str) -> str:
    """Why an envelope could not be opened, and what to do."""
    around = names_of(inside.envelopes)
    what = f"the payload of {NAMES[around[-1]]}" if around else "its body"
    part = "sns" if isinstance(part, Sns) else part
    if part == "auto":
        return f"{what} cannot be opened: {why}"
    found = envelope_in(inside.payload)
    remedy = f"; it is {NAMES[found]}: {advice(found, around)}" if found and found != part else ""
    if not isinstance(part, str):
        return f"{what} cannot be opened by {_shown(part)}, which the option envelope names: {why}{remedy}"
    if not remedy and part == "sns":
        remedy = "; raw message delivery puts nothing around a message: leave the option out then, or give 'auto'"
    return f"{what} is not {NAMES[part]}, which envelope={part!r} opens: {why}{remedy}"


def _shown(part: Any) -> str:
    """A part of the option, as its user wrote it."""
    return repr(part) if isinstance(part, str) else getattr(part, "__qualname__", type(part).__qualname__)


def takes_records(body_type: Any) -> bool:
    """Whether an annotation takes the records of an S3 event: `S3Record`, or a list of them."""
    return body_type is S3Record or (get_origin(body_type) is list and get_args(body_type) == (S3Record,))


def whole(body_type: Any, decoder_for: Callable[[Any], Decode]) -> Decode | None:
    """The decoder for an annotation that is an envelope; None for any other annotation.

    Args:
        body_type: the annotation.
        decoder_for: makes the decoder for what the envelope holds.
    """
    kind = get_origin(body_type) or body_type
    if kind is S3Event:
        return read_s3
    if kind not in _READERS:
        return None
    field, read, usual = _READERS[kind]
    [held] = get_args(body_type) or (usual,)
    if kind is CloudEvent and held in (str, bytes):
        read = partial(read, as_text=True)
    decode = decoder_for(held)

    def decode_whole(payload: str | bytes, _: Sequence[Any] = ()) -> Any:
        envelope = read(payload if isinstance(payload, str) else payload.decode())
        return msgspec.structs.replace(envelope, **{field: decode(getattr(envelope, field), (envelope,))})

    return decode_whole


def has_envelope(body_type: Any) -> bool:
    """Whether an annotation is an envelope around a payload, or has one in its brackets."""
    return (get_origin(body_type) or body_type) in _READERS or any(map(has_envelope, get_args(body_type)))


_READERS: dict[Any, tuple[str, Callable[..., Any], Any]] = {
    SnsNotification: ("message", read_sns, str),
    EventBridgeEvent: ("detail", read_eventbridge, Any),
    CloudEvent: ("data", read_cloudevent, Any),
}
"""For each type of envelope: the field of its payload, what reads it, and what the payload is without an annotation."""
