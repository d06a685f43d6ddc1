"""The demo's SQS: the local server in a process that ends when its parent ends.

Owned by `world.OwnSqs`, which holds the other end of its standard input. It promises to end with the demo, also when
the demo is killed.
"""

from __future__ import annotations

import os
import sys

from leasekeeper.local import LocalSqs
from leasekeeper.local.running import collect_rarely


def main() -> None:
    """Print the address, and serve until standard input ends: the parent closed it, or has ended."""
    with LocalSqs() as sqs:
        collect_rarely()
        print(sqs.endpoint_url, flush=True)
        while os.read(sys.stdin.fileno(), 4096):
            pass


if __name__ == "__main__":
    main()
