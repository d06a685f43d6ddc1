"""SQS on your machine: a pure model of queues, a broker with a clock, an HTTP server and an in-process client.

Owned by the program that starts it. It keeps nothing on disk. It promises what was recorded from AWS
(`docs/how-to/local.md` lists the differences), and a switch for each fault that a consumer must survive.
"""

from leasekeeper.local.broker import Broker
from leasekeeper.local.client import LocalClient
from leasekeeper.local.faults import Faults, Switches
from leasekeeper.local.model import Account, Refusal
from leasekeeper.local.running import LocalSqs
from leasekeeper.local.server import LocalServer

__all__ = ["Account", "Broker", "Faults", "LocalClient", "LocalServer", "LocalSqs", "Refusal", "Switches"]
