"""A pure model of SQS: its queues and messages, without a clock, an event loop, a thread or a socket.

Owned by `leasekeeper.local`; `Account.call(operation, request, now)` is its only entry. It promises what was recorded
from AWS. Where the documents and the recordings leave a case open, it takes the one that is harder for a consumer.
"""

from leasekeeper.local.model.refusals import Refusal
from leasekeeper.local.model.service import OPERATIONS, Account

__all__ = ["OPERATIONS", "Account", "Refusal"]
