"""The command line: `penstock run|local|demo|send|peek|redrive|doctor`.

Owned by the console script. It promises an exit code that says what happened (`errors.py`) and, without the `cli`
extra, one sentence about what to install.
"""

from __future__ import annotations

import importlib.util
import sys
import time

BEGAN = time.monotonic()
"""When this command began, as near as can be told: the interpreter's own start comes before it."""


def main() -> int:
    """Run the command line of this process; returns the exit code."""
    missing = [name for name in ("typer", "rich") if importlib.util.find_spec(name) is None]
    if missing:
        print(f"penstock: {' and '.join(missing)} not installed: pip install 'penstock[cli]'", file=sys.stderr)
        return 2
    from penstock.cli.program import execute

    return execute()
