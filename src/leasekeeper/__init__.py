"""Leasekeeper turns a function into an Amazon SQS service: you write the handler, Leasekeeper keeps the lease.

Importing this package is cheap. Each public name is imported from its module when it is first used, so that a command
which needs none of them, such as `leasekeeper health`, does not pay for the engine.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from leasekeeper.app import Leasekeeper
    from leasekeeper.batch import Batch
    from leasekeeper.consumer import Consumer
    from leasekeeper.errors import (
        BufferFull,
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
        Unsent,
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
    from leasekeeper.sending import Sender
    from leasekeeper.share import Share

__version__ = "0.1.0"
__all__ = [
    "Batch",
    "BufferFull",
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
    "Sender",
    "Settled",
    "Settlement",
    "Share",
    "SqsError",
    "Table",
    "UndecodableBody",
    "UnmatchedMessage",
    "Unsent",
    "Verdict",
]

_NAMES = {
    "app": "Leasekeeper",
    "batch": "Batch",
    "consumer": "Consumer",
    "errors": (
        "BufferFull Closed ConfigurationError CredentialsMissing HandlerError HandlerTimeout LeasekeeperError "
        "LifespanError QueueUnusable SqsError UndecodableBody UnmatchedMessage Unsent Verdict"
    ),
    "message": "Message MessageAttribute",
    "message_context": "MessageContext",
    "observe.statistics": "ConsumerStatistics Report",
    "options": "Options",
    "outcomes": "Reject Retry Settled Settlement",
    "retries": "Retries",
    "running": "Completion",
    "schedules": "Exponential Linear Table",
    "sending": "Sender",
    "share": "Share",
}
"""The public names of each module. The imports above say the same to type checkers and editors."""

if not TYPE_CHECKING:  # for a type checker a misspelt name stays an error

    def __getattr__(name: str) -> Any:
        for module, names in _NAMES.items():
            if name in names.split():
                value = globals()[name] = getattr(import_module(f"leasekeeper.{module}"), name)
                return value
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

    def __dir__() -> list[str]:
        return sorted({*globals(), *__all__})
