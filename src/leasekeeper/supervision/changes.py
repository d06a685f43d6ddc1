"""Changes of the code, for `leasekeeper run --reload`: a thread that watches a folder with watchfiles.

Owned by the supervisor, on a machine of a developer. It promises to say which files have changed, once for all that
change within a fifth of a second.
"""

from __future__ import annotations

import os
import socket
import threading
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

SUFFIXES = (".py", ".toml")
"""Ends of the names of files that count."""
TOGETHER_MS = 200
"""Milliseconds within which changes are one."""
SHOWN = 3
"""Names that are said; of more, only how many."""


class Changes:
    """Watches a folder and everything below it, but for what version control and tools keep there.

    Raises:
        ModuleNotFoundError: watchfiles is not installed.

    Attributes:
        connection: readable when something has changed.
    """

    def __init__(self, folder: Path) -> None:
        import watchfiles  # an extra

        self._folder = folder
        self._names: list[str] = []
        self.connection, self._writer = socket.socketpair()
        self.connection.setblocking(False)
        found = watchfiles.watch(
            folder,
            watch_filter=watchfiles.PythonFilter(extra_extensions=SUFFIXES[1:]),
            debounce=TOGETHER_MS,
            raise_interrupt=False,
        )

        def watch() -> None:
            for changes in found:
                self._names += sorted({os.path.relpath(path, folder) for _, path in changes})
                self._writer.send(b".")

        threading.Thread(target=watch, name="leasekeeper-changes", daemon=True).start()

    def read(self) -> str:
        """The names of the files that have changed since the last time, in words; empty when none has."""
        with suppress(BlockingIOError):
            self.connection.recv(64)
        names, self._names = self._names, []
        return ", ".join(names) if len(names) <= SHOWN else f"{len(names)} files"
