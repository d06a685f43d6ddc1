"""Notifications of Amazon SNS, as a queue receives them without raw message delivery.

The body is JSON; the published message is text inside of it. With raw delivery there is no envelope: the body is the
published message, and its attributes are message attributes of SQS.
"""

from __future__ import annotations

from base64 import b64decode
from datetime import datetime  # noqa: TC003 - msgspec reads annotations when it builds decoders
from typing import TYPE_CHECKING, Generic, Literal, TypeVar

import msgspec

from leasekeeper.envelopes.opening import NotThisEnvelope, Opened
from leasekeeper.message import MessageAttribute

if TYPE_CHECKING:
    from collections.abc import Mapping

    from leasekeeper.message import Received

T = TypeVar("T")

_NAMES = {
    "type": "Type",
    "message_id": "MessageId",
    "topic_arn": "TopicArn",
    "subject": "Subject",
    "message": "Message",
    "timestamp": "Timestamp",
    "message_attributes": "MessageAttributes",
    "sequence_number": "SequenceNumber",
    "signature_version": "SignatureVersion",
    "signature": "Signature",
    "signing_cert_url": "SigningCertURL",
    "unsubscribe_url": "UnsubscribeURL",
}
"""The names in JSON; capitals in them follow no rule."""


class SnsAttribute(msgspec.Struct, frozen=True, rename="pascal"):
    """An attribute of a notification: its type (`String`, `String.Array`, `Number`, `Binary`) and its value as text."""

    type: str
    value: str | int | float


class SnsNotification(msgspec.Struct, Generic[T], frozen=True, kw_only=True, rename=_NAMES):
    """A notification of Amazon SNS.

    Attributes:
        message_id: the id that SNS gave it; not the id of the SQS message.
        topic_arn: the topic that it was published to.
        message: what was published, decoded to `T`.
        timestamp: when it was published.
        subject: its subject, if it has one.
        message_attributes: the attributes that it was published with.
        sequence_number: of a FIFO topic.
        signature_version: "1" (SHA1) or "2" (SHA256); None from FIFO topics, which do not sign.
        signature: in base64.
        signing_cert_url: where the certificate of the signature is.
        unsubscribe_url: ends the subscription.
        type: always "Notification".
    """

    message_id: str
    topic_arn: str
    message: T
    timestamp: datetime
    subject: str | None = None
    message_attributes: dict[str, SnsAttribute] = {}
    sequence_number: str | None = None
    signature_version: str | None = None
    signature: str | None = None
    signing_cert_url: str | None = None
    unsubscribe_url: str | None = None
    type: Literal["Notification"] = "Notification"

    @property
    def attributes(self) -> Mapping[str, MessageAttribute]:
        """Its attributes as message attributes of SQS; values of Binary type are decoded."""
        return {name: _attribute(each) for name, each in self.message_attributes.items()}


class _Kind(msgspec.Struct, rename="pascal"):
    type: str = ""


_notification = msgspec.json.Decoder(SnsNotification[str])
_kind = msgspec.json.Decoder(_Kind)


def read_sns(body: str) -> SnsNotification[str]:
    """The notification in a body; its message is text.

    Raises:
        NotThisEnvelope: there is none.
    """
    try:
        return _notification.decode(body)
    except (msgspec.MsgspecError, RecursionError) as error:
        if _kind_of(body) in {"SubscriptionConfirmation", "UnsubscribeConfirmation"}:
            raise NotThisEnvelope(
                f"it is a {_kind_of(body)} of SNS: confirm it by hand (`aws sns confirm-subscription` with its token), "
                "or subscribe with the account that owns the queue, which needs no confirmation"
            ) from error
        raise NotThisEnvelope(str(error)) from error


def _kind_of(body: str) -> str:
    try:
        return _kind.decode(body).type
    except (msgspec.MsgspecError, RecursionError):
        return ""


def open_sns(received: Received) -> Opened:
    """Open a notification: the payload is the published text."""
    notification = read_sns(received.body)
    return Opened(notification.message, notification, notification.attributes)


def _attribute(attribute: SnsAttribute) -> MessageAttribute:
    text = str(attribute.value)
    if attribute.type.startswith("Binary"):
        return MessageAttribute(data_type=attribute.type, binary_value=b64decode(text))
    return MessageAttribute(data_type=attribute.type, string_value=text)
