"""The transactional outbox: messages written in the caller's transaction of Postgres, and sent by a relay.

`Outbox` belongs to what writes, `Relay` to a process that sends. Nothing is sent of a transaction that is rolled back,
and nothing is lost of one that commits.
"""

from __future__ import annotations

from leasekeeper.outbox.outbox import Outbox
from leasekeeper.outbox.relay import Relay
from leasekeeper.outbox.statistics import OutboxQueue, RelayStatistics

__all__ = ["Outbox", "OutboxQueue", "Relay", "RelayStatistics"]
