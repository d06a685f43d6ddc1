"""Envelopes: what other services put around a payload, as types to annotate handlers with, and as an option.

Annotate a handler with one of the types to get the envelope; give the option `envelope` to get what it holds.
"""

from leasekeeper.envelopes.choosing import Envelope
from leasekeeper.envelopes.cloudevents import CloudEvent
from leasekeeper.envelopes.eventbridge import EventBridgeEvent
from leasekeeper.envelopes.opening import EnvelopeDecoder, NotThisEnvelope, Opened
from leasekeeper.envelopes.s3 import S3Bucket, S3Entity, S3Event, S3Object, S3Record
from leasekeeper.envelopes.signature import Sns
from leasekeeper.envelopes.sns import SnsAttribute, SnsNotification

__all__ = [
    "CloudEvent",
    "Envelope",
    "EnvelopeDecoder",
    "EventBridgeEvent",
    "NotThisEnvelope",
    "Opened",
    "S3Bucket",
    "S3Entity",
    "S3Event",
    "S3Object",
    "S3Record",
    "Sns",
    "SnsAttribute",
    "SnsNotification",
]
