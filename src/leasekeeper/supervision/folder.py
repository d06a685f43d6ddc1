"""A private folder with a Unix socket of each process, and with what the supervisor knows of them.

Made by the supervisor, read by the admin surface of all processes. It promises that no other user can enter it.
"""

from __future__ import annotations

import json
import os
from contextlib import suppress
from pathlib import Path
from typing import Any

LONGEST_PATH = 90
"""Bytes of the path of a socket: the kernel allows a few more, 103 on macOS."""
PROCESSES = "processes.json"


class Folder:
    """A folder of this kind."""

    def __init__(self, path: str) -> None:
        self.path = path

    @classmethod
    def make(cls, parent: str | None = None) -> Folder:
        """Make one in the directory for temporary files, or in `parent`, if that is there and its path is short.

        Raises:
            OSError: there is no directory that can be written to.
        """
        name = f"leasekeeper-{os.getpid()}-{os.urandom(6).hex()}"
        parents = [each for each in (parent, os.environ.get("TMPDIR")) if each and len(each) + 40 < LONGEST_PATH]
        for directory in (*parents, "/tmp"):  # noqa: S108 - the name cannot be guessed, and the folder is private
            with suppress(OSError):
                path = Path(directory, name)
                path.mkdir(0o700)
                return cls(str(path))
        raise OSError(f"no folder can be made in {', '.join((*parents, '/tmp'))}")  # noqa: S108

    def socket(self, number: int) -> str:
        """The path of the socket of a process."""
        return str(Path(self.path, f"{number}.sock"))

    def write(self, processes: list[dict[str, Any]]) -> None:
        """Write down what is known of the processes, all or nothing."""
        new = Path(self.path, f"{PROCESSES}.new")
        with suppress(OSError):  # of a full disk, or a folder that a cleaner has removed: the processes go on
            new.write_text(json.dumps(processes))
            new.replace(Path(self.path, PROCESSES))

    def read(self) -> list[dict[str, Any]]:
        """What was written down last; nothing before that."""
        with suppress(OSError, ValueError):
            found: list[dict[str, Any]] = json.loads(Path(self.path, PROCESSES).read_text())
            return found
        return []

    def remove(self) -> None:
        """Remove it, with everything in it."""
        with suppress(OSError):
            for each in Path(self.path).iterdir():
                each.unlink()
            Path(self.path).rmdir()
