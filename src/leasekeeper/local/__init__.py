"""SQS on your machine: a pure model of queues, a broker that gives it time, a server and a client in process.

Owned by whoever starts it, for as long as it runs; nothing is kept on disk. It promises what AWS was recorded to do
(`docs/how-to/local.md` says where it does not), and every fault that a consumer must survive, at the turn of a switch.
"""

from leasekeeper.local.broker import Broker
from leasekeeper.local.client import LocalClient
from leasekeeper.local.faults import Faults, Switches
from leasekeeper.local.model import Account, Refusal
from leasekeeper.local.running import LocalSqs
from leasekeeper.local.server import LocalServer

__all__ = ["Account", "Broker", "Faults", "LocalClient", "LocalServer", "LocalSqs", "Refusal", "Switches"]
