"""SQS on your machine: a pure model of queues, a broker that gives it time, a server and a client in process.

Owned by whoever starts it, for as long as it runs; nothing is kept on disk. It promises what AWS was recorded to do
(`docs/local.md` says where it does not), and every fault that a consumer must survive, at the turn of a switch.
"""

from penstock.local.broker import Broker
from penstock.local.client import LocalClient
from penstock.local.faults import Faults, Switches
from penstock.local.model import Account, Refusal
from penstock.local.running import LocalSqs
from penstock.local.server import LocalServer

__all__ = ["Account", "Broker", "Faults", "LocalClient", "LocalServer", "LocalSqs", "Refusal", "Switches"]
