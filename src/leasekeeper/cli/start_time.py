"""When the command began. `leasekeeper.cli` imports this first, and the demo reads it."""

from __future__ import annotations

import time

BEGAN = time.monotonic()
"""The time on the monotonic clock, in seconds. The start of the interpreter itself comes before it."""
