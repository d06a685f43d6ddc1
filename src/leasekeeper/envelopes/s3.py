"""Events of Amazon S3: sent to a queue directly, through SNS, or through EventBridge.

Direct ones and those through SNS have the same form, and keys in them are encoded as in a form: a space is `+`. Through
EventBridge the form is another, one object an event, and the key is as it is. Both become `S3Record`.
"""

from __future__ import annotations

from datetime import datetime  # noqa: TC003 - msgspec reads annotations when it builds decoders
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote_plus

import msgspec

from leasekeeper.envelopes.eventbridge import EventBridgeEvent
from leasekeeper.envelopes.opening import NothingToHandle, NotThisEnvelope, Opened, OpenedMessage

if TYPE_CHECKING:
    from collections.abc import Sequence

    from leasekeeper.message import Received


class S3Bucket(msgspec.Struct, frozen=True):
    """The bucket of an S3 event; `arn` is empty in events that came through EventBridge."""

    name: str
    arn: str = ""


class S3Object(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """The object of an S3 event. `key` is as it was sent; `S3Record.key` is the key of the object."""

    key: str
    size: int | None = None
    etag: str | None = msgspec.field(name="eTag", default=None)
    version_id: str | None = None
    sequencer: str | None = None

    @property
    def decoded_key(self) -> str:
        """The key of the object."""
        return unquote_plus(self.key)


class _PlainKey(S3Object, frozen=True, kw_only=True):
    """An object as EventBridge names it: the key is not encoded."""

    @property
    def decoded_key(self) -> str:
        return self.key


class S3Entity(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Bucket, object, and the id of the notification configuration."""

    bucket: S3Bucket
    object: S3Object
    configuration_id: str = ""


class S3Record(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What happened to one object. As a handler's annotation: the handler is called once a record, in order.

    The message is done when the handler has returned for each record. If it fails for one, the whole message is
    retried, and the records before that one run again: the handler must tolerate that.

    Attributes:
        event_name: e.g. `ObjectCreated:Put`. Through EventBridge creations and deletions get these names too; other
            events keep their detail type, e.g. `Object ACL Updated`.
        event_time: when S3 finished the request.
        aws_region: the region of the bucket.
        event_version: of this form, e.g. `2.1`; a new minor version only adds fields.
        event_source: `aws:s3`.
        s3: bucket and object, as they were sent.
        user_identity: who caused it: `principalId`.
        request_parameters: `sourceIPAddress` of the request.
        response_elements: `x-amz-request-id` and `x-amz-id-2`, for AWS support.
    """

    event_name: str
    event_time: datetime
    s3: S3Entity
    aws_region: str = ""
    event_version: str = ""
    event_source: str = "aws:s3"
    user_identity: dict[str, Any] = {}
    request_parameters: dict[str, Any] = {}
    response_elements: dict[str, Any] = {}

    @property
    def bucket(self) -> str:
        """The name of the bucket."""
        return self.s3.bucket.name

    @property
    def key(self) -> str:
        """The key of the object, decoded as its envelope needs it: what `get_object` takes."""
        return self.s3.object.decoded_key

    @property
    def raw_key(self) -> str:
        """The key as it was sent."""
        return self.s3.object.key

    @property
    def size(self) -> int | None:
        """Bytes of the object; None where S3 does not say, e.g. for a deletion."""
        return self.s3.object.size

    @property
    def etag(self) -> str | None:
        """The entity tag of the object, if S3 says it."""
        return self.s3.object.etag

    @property
    def version_id(self) -> str | None:
        """The version of the object, in a bucket with versions."""
        return self.s3.object.version_id

    @property
    def sequencer(self) -> str | None:
        """Orders creations and deletions of one key, see `newer_than`; other events have none."""
        return self.s3.object.sequencer

    def newer_than(self, other: S3Record) -> bool | None:
        """Whether this happened after `other`, by their sequencers; None: it cannot be known.

        S3 may deliver events twice and in another order. AWS does not say how sequencers of different lengths compare,
        so these, and events without a sequencer, give None.

        Raises:
            ValueError: they are about different objects, for which sequencers say nothing.
        """
        if (self.bucket, self.key) != (other.bucket, other.key):
            raise ValueError(
                f"newer_than compares events of one object, and these are of {self.bucket}/{self.key} and "
                f"{other.bucket}/{other.key}"
            )
        mine, theirs = self.sequencer, other.sequencer
        if not mine or not theirs or len(mine) != len(theirs):
            return None
        return mine.upper() > theirs.upper()


class S3Event(msgspec.Struct, frozen=True):
    """An event of Amazon S3. As a handler's annotation it also takes what came through EventBridge.

    The test event that S3 sends when notifications are configured never reaches a handler: it is deleted, and counted
    as skipped.

    Attributes:
        records: what happened, in order; S3 sends one so far, and reserves the right to send more.
    """

    records: list[S3Record] = msgspec.field(name="Records")


class _Test(msgspec.Struct, rename="pascal"):
    event: str = ""
    service: str = ""


class _Detail(msgspec.Struct, rename="kebab", kw_only=True):
    """An S3 event's `detail` in EventBridge."""

    bucket: S3Bucket
    object: _DetailObject
    version: str = ""
    requester: str = ""
    request_id: str = ""
    source_ip_address: str = ""
    reason: str = ""
    deletion_type: str = ""


class _DetailObject(msgspec.Struct, rename="kebab", kw_only=True):
    key: str
    size: int | None = None
    etag: str | None = None
    version_id: str | None = None
    sequencer: str | None = None


_s3_event = msgspec.json.Decoder(S3Event)
_test = msgspec.json.Decoder(_Test)
_detail = msgspec.json.Decoder(_Detail)

_CREATED = {"PutObject": "Put", "POST Object": "Post", "CopyObject": "Copy"}
_REMOVED = {"Permanently Deleted": "Delete", "Delete Marker Created": "DeleteMarkerCreated"}


def read_s3(payload: str | bytes, envelopes: Sequence[Any] = ()) -> S3Event:
    """The S3 event in a payload, in either form.

    Args:
        payload: JSON.
        envelopes: what the payload was in, the outermost first: the last one says whether the form is EventBridge's.

    Raises:
        NothingToHandle: it is S3's test event.
        NotThisEnvelope: it is none.
    """
    around = envelopes[-1] if envelopes else None
    try:
        if isinstance(around, EventBridgeEvent):
            return S3Event([_from_eventbridge(around, _detail.decode(payload))])
        return _s3_event.decode(payload)
    except (msgspec.MsgspecError, RecursionError) as error:
        if _is_test(payload):
            raise NothingToHandle("it is the test event that S3 sends when notifications are configured") from None
        raise NotThisEnvelope(str(error)) from error


def open_s3(received: Received) -> Opened:
    """Open an S3 event: the payload is the list of its records."""
    envelopes = received.envelopes if isinstance(received, OpenedMessage) else ()
    event = read_s3(received.body, envelopes)
    return Opened(event.records, event)


def _is_test(payload: str | bytes) -> bool:
    try:
        return _test.decode(payload).event == "s3:TestEvent"
    except (msgspec.MsgspecError, RecursionError):
        return False


def _from_eventbridge(event: EventBridgeEvent[Any], detail: _Detail) -> S3Record:
    entity = S3Entity(bucket=detail.bucket, object=_PlainKey(**msgspec.structs.asdict(detail.object)))
    return S3Record(
        event_name=_event_name(event.detail_type, detail),
        event_time=event.time,
        s3=entity,
        aws_region=event.region,
        event_version=detail.version,
        user_identity={"principalId": detail.requester},
        request_parameters={"sourceIPAddress": detail.source_ip_address},
        response_elements={"x-amz-request-id": detail.request_id},
    )


def _event_name(detail_type: str, detail: _Detail) -> str:
    """The name that S3 itself gives to such an event, where there is one."""
    if detail_type == "Object Created":
        return f"ObjectCreated:{_CREATED.get(detail.reason, detail.reason)}"
    if detail_type == "Object Deleted":
        kind = _REMOVED.get(detail.deletion_type, detail.deletion_type)
        return f"LifecycleExpiration:{kind}" if detail.reason == "Lifecycle Expiration" else f"ObjectRemoved:{kind}"
    return detail_type
