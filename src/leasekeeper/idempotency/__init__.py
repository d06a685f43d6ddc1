"""Idempotency: the work of a message is done once, also when the message comes twice.

The option `idempotency` of a consumer takes an `Idempotency` with a store. Nothing here is imported without it.
"""

from __future__ import annotations

from leasekeeper.core.idempotency_statistics import IdempotencyStatistics
from leasekeeper.errors import KeyUnusable
from leasekeeper.idempotency.api import (
    Claimed,
    Completed,
    Extension,
    KeyMissing,
    Running,
    Store,
    StoreUnavailable,
)
from leasekeeper.idempotency.dynamodb import DynamoDbStore
from leasekeeper.idempotency.inbox import PostgresInbox
from leasekeeper.idempotency.keys import MESSAGE_ID
from leasekeeper.idempotency.memory import MemoryStore
from leasekeeper.idempotency.postgres import PostgresStore
from leasekeeper.idempotency.redis import RedisStore
from leasekeeper.idempotency.settings import Idempotency

__all__ = [
    "MESSAGE_ID",
    "Claimed",
    "Completed",
    "DynamoDbStore",
    "Extension",
    "Idempotency",
    "IdempotencyStatistics",
    "KeyMissing",
    "KeyUnusable",
    "MemoryStore",
    "PostgresInbox",
    "PostgresStore",
    "RedisStore",
    "Running",
    "Store",
    "StoreUnavailable",
]
