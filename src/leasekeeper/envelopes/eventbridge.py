"""Events of Amazon EventBridge, as a rule or a pipe sends them to a queue without an input transformer.

The body is JSON; the payload is the object under `detail`.
"""

from __future__ import annotations

from datetime import datetime  # noqa: TC003 - msgspec reads annotations when it builds decoders
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import msgspec
from msgspec import Raw

from leasekeeper.envelopes.opening import NotThisEnvelope, Opened

if TYPE_CHECKING:
    from leasekeeper.message import Received

T = TypeVar("T")


class EventBridgeEvent(
    msgspec.Struct,
    Generic[T],
    frozen=True,
    kw_only=True,
    rename={"detail_type": "detail-type", "replay_name": "replay-name"},
):
    """An event of Amazon EventBridge.

    Attributes:
        id: the id that EventBridge gave it.
        source: who sent it, e.g. `aws.s3` or a name of yours.
        detail_type: what it is about; with `source` it says what `detail` is.
        detail: the event's data, decoded to `T`.
        time: when it happened, as its source says.
        account: the AWS account that it comes from, 12 digits.
        region: the AWS region that it comes from.
        resources: ARNs that it is about.
        version: of this envelope; "0".
        replay_name: the replay that sent it again, if one did.
    """

    id: str
    source: str
    detail_type: str
    detail: T
    time: datetime
    account: str = ""
    region: str = ""
    resources: list[str] = []
    version: str = "0"
    replay_name: str | None = None


_event = msgspec.json.Decoder(EventBridgeEvent[Raw])


def read_eventbridge(body: str) -> EventBridgeEvent[str]:
    """The event in a body; its detail is JSON text.

    Raises:
        NotThisEnvelope: there is none.
    """
    try:
        event = _event.decode(body)
    except (msgspec.MsgspecError, RecursionError) as error:
        raise NotThisEnvelope(str(error)) from error
    whole: Any = event
    return msgspec.structs.replace(whole, detail=bytes(event.detail).decode())


def open_eventbridge(received: Received) -> Opened:
    """Open an event: the payload is its detail, as JSON."""
    event = read_eventbridge(received.body)
    return Opened(event.detail, event)
