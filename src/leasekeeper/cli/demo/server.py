"""The demo's SQS: the local server in a process that ends when its parent ends.

Owned by `world.OwnSqs`, which holds the other end of its standard input. It promises to end with the demo, also when
the demo is killed.
"""

from __future__ import annotations

import os
import signal
import sys
import threading

from leasekeeper.local.__main__ import main


def end_with_the_parent() -> None:
    """Ask for a stop when standard input ends: the parent closed it, or has ended."""
    # Not through sys.stdin: its buffer has a lock, and a daemon thread that holds it aborts the interpreter's end.
    while os.read(sys.stdin.fileno(), 4096):
        pass
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    threading.Thread(target=end_with_the_parent, daemon=True).start()
    sys.exit(main(["--port", "0"]))
