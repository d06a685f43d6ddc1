"""How much memory this process may use: what the machine has, or its container allows.

On the ground floor; used when options are checked. It never raises.
"""

from __future__ import annotations

import math
import os
from contextlib import suppress
from pathlib import Path

LIMITS = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))
"""Where Linux says what a container may use: control groups of version 2, and of version 1."""


def available_memory() -> float:
    """Bytes that this process may use; inf if the system does not say."""
    known = [math.inf]
    with suppress(AttributeError, OSError, ValueError):
        known.append(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    for path in LIMITS:
        with suppress(OSError, ValueError):  # no such file, or the word "max"
            known.append(int(path.read_text()))
    return min(each for each in known if each > 0)
