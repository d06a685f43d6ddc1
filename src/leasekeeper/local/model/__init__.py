"""A pure model of SQS: what it does with queues and messages, without a clock, a loop, a thread or a socket.

Owned by `leasekeeper.local`; `Account.call(operation, request, now)` is its one door. It promises what AWS was
recorded to do, and where the documents and the recordings leave something open, it takes what is harder on the
consumer.
"""

from leasekeeper.local.model.account import OPERATIONS, Account
from leasekeeper.local.model.refusals import Refusal

__all__ = ["OPERATIONS", "Account", "Refusal"]
