"""Compile the tests as pytest does, side by side. Else each worker of the first run would compile all of them.

Each process collects its share of the test files, which leaves their bytecode on disk, and that of what they import.
One more has Hypothesis write down its table of Unicode.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

COLLECT = [sys.executable, "-m", "pytest", "--collect-only", "-qq"]
TEXT = [sys.executable, "-c", "from hypothesis import strategies; strategies.text().validate()"]


def main() -> None:
    """Compile; what fails here fails again, and says so, when the tests run."""
    files = sorted(Path("tests").rglob("test_*.py"), key=lambda path: path.stat().st_size, reverse=True)
    count = min(os.cpu_count() or 1, 8)
    commands = [TEXT, *([*COLLECT, *map(str, files[number::count])] for number in range(count))]
    silent = subprocess.DEVNULL
    for process in [subprocess.Popen(command, stdout=silent, stderr=silent) for command in commands]:
        process.wait()


if __name__ == "__main__":
    main()
