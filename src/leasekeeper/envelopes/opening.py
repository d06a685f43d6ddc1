"""Opening: what every decoder of an envelope takes and gives, and the step from an envelope to what it holds.

Used by the lanes, where handlers run. It promises that the message as SQS sent it is not changed: what was opened is a
`Received` around the same body, with the envelopes and the payload beside it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import msgspec

from leasekeeper.errors import LeasekeeperError
from leasekeeper.message import MessageAttribute, Received

if TYPE_CHECKING:
    from collections.abc import Mapping

DEPTH = 4
"""Envelopes inside of each other that are opened, at most."""
LARGEST = 1_048_576
"""Characters of a body that is opened, at most: SQS takes no larger one (AWS SQS quotas)."""


class NotThisEnvelope(ValueError):
    """A body is not the envelope that a decoder opens. Its text says why; it ends a sentence."""


class NothingToHandle(LeasekeeperError):
    """A message that no handler needs to see, e.g. the test event of S3. It is deleted and counted as skipped."""


class Blocked(LeasekeeperError):
    """Opening has to wait for something that blocks: call `unblock()` in a thread, then open again."""

    def unblock(self) -> None:
        """Get what is missing, or note why it cannot be had: opening again then raises something else. Never raises."""
        raise NotImplementedError


class Opened(msgspec.Struct, frozen=True):
    """What a decoder found in a body.

    Attributes:
        payload: what the envelope holds: text, which is decoded to the handler's annotation; or `bytes`.
        envelope: the envelope itself, for `message.envelopes`; None adds nothing there.
        attributes: message attributes that it carries. Those that SQS sent win over these.
    """

    payload: Any
    envelope: Any = None
    attributes: Mapping[str, MessageAttribute] = {}


class EnvelopeDecoder(Protocol):
    """A function, or an object that can be called, that opens an envelope. The option `envelope` takes yours.

    It runs where the handler runs, before it, so it must not block an `async def` handler's event loop.
    """

    def __call__(self, received: Received, /) -> str | bytes | Opened:
        """The payload alone, or with more.

        Args:
            received: the message. Inside of another envelope `received.body` is what that one held.

        Raises:
            Retry: the message is retried.
            Reject: the message is rejected.
            OSError: something could not be reached; the message is tried again, and that is no attempt.
            Exception: anything else means that the body is not such an envelope: the message is rejected.
        """
        ...


class OpenedMessage(Received, frozen=True, kw_only=True):
    """A message with its envelopes open.

    Attributes:
        envelopes: those that were opened, the outermost first.
        payload: what the innermost one held.
    """

    envelopes: tuple[Any, ...] = ()
    payload: Any = ""


def begin(received: Received) -> OpenedMessage:
    """The message with no envelope open: its payload is its body."""
    return OpenedMessage(
        message_id=received.message_id,
        receipt=received.receipt,
        body=received.body,
        md5_of_body=received.md5_of_body,
        md5_of_attributes=received.md5_of_attributes,
        system=received.system,
        attributes=received.attributes,
        payload=received.body,
    )


def step_in(outside: OpenedMessage, decoder: EnvelopeDecoder) -> OpenedMessage:
    """Open one envelope more: the body is what it holds. Attributes that were there before stay.

    Raises:
        Exception: what the decoder raises.
    """
    found = decoder(outside)
    opened = found if isinstance(found, Opened) else Opened(found)
    payload = opened.payload
    return msgspec.structs.replace(
        outside,
        body=payload.decode(errors="replace") if isinstance(payload, bytes) else payload,
        payload=payload,
        envelopes=outside.envelopes if opened.envelope is None else (*outside.envelopes, opened.envelope),
        attributes={**opened.attributes, **outside.attributes} if opened.attributes else outside.attributes,
    )
