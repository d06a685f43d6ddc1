"""Penstock turns a function into an Amazon SQS service: you write the handler, Penstock keeps the lease."""

from penstock.app import Penstock
from penstock.consumer import Consumer
from penstock.errors import (
    Closed,
    ConfigurationError,
    CredentialsMissing,
    HandlerTimeout,
    PenstockError,
    QueueUnusable,
    SqsError,
    UndecodableBody,
    Verdict,
)
from penstock.message import Message, MessageAttribute
from penstock.observe.statistics import Report, RunnerStatistics
from penstock.options import Options
from penstock.outcomes import Reject, Retry, Settled, Settlement
from penstock.running import Completion

__version__ = "0.1.0"
__all__ = [
    "Closed",
    "Completion",
    "ConfigurationError",
    "Consumer",
    "CredentialsMissing",
    "HandlerTimeout",
    "Message",
    "MessageAttribute",
    "Options",
    "Penstock",
    "PenstockError",
    "QueueUnusable",
    "Reject",
    "Report",
    "Retry",
    "RunnerStatistics",
    "Settled",
    "Settlement",
    "SqsError",
    "UndecodableBody",
    "Verdict",
]
