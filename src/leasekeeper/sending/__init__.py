"""Sending: messages gathered into batches, confirmed, retried, in order where the queue has one.

Owned by the user's program, or by an app whose handlers send. Nothing that a sender accepts is lost silently.
"""

from __future__ import annotations

from leasekeeper.sending.schedules import Scheduled, Schedules
from leasekeeper.sending.sender import Sender

__all__ = ["Scheduled", "Schedules", "Sender"]
