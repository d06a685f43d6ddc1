"""Leasekeeper turns a function into an Amazon SQS service: you write the handler, Leasekeeper keeps the lease."""

from leasekeeper.app import Leasekeeper
from leasekeeper.batch import Batch
from leasekeeper.consumer import Consumer
from leasekeeper.errors import (
    Closed,
    ConfigurationError,
    CredentialsMissing,
    HandlerError,
    HandlerTimeout,
    LeasekeeperError,
    LifespanError,
    QueueUnusable,
    SqsError,
    UndecodableBody,
    UnmatchedMessage,
    Verdict,
)
from leasekeeper.message import Message, MessageAttribute
from leasekeeper.message_context import MessageContext
from leasekeeper.observe.statistics import ConsumerStatistics, Report
from leasekeeper.options import Options
from leasekeeper.outcomes import Reject, Retry, Settled, Settlement
from leasekeeper.retries import Retries
from leasekeeper.running import Completion
from leasekeeper.schedules import Exponential, Linear, Table
from leasekeeper.share import Share

__version__ = "0.1.0"
__all__ = [
    "Batch",
    "Closed",
    "Completion",
    "ConfigurationError",
    "Consumer",
    "ConsumerStatistics",
    "CredentialsMissing",
    "Exponential",
    "HandlerError",
    "HandlerTimeout",
    "Leasekeeper",
    "LeasekeeperError",
    "LifespanError",
    "Linear",
    "Message",
    "MessageAttribute",
    "MessageContext",
    "Options",
    "QueueUnusable",
    "Reject",
    "Report",
    "Retries",
    "Retry",
    "Settled",
    "Settlement",
    "Share",
    "SqsError",
    "Table",
    "UndecodableBody",
    "UnmatchedMessage",
    "Verdict",
]
