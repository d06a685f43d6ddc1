"""A private folder with a Unix socket of each process, and with what the supervisor knows of them.

Made by the supervisor, read by the admin surface of all processes. It promises that no other user can enter it.
"""

from __future__ import annotations

import json
import os
import re
from contextlib import suppress
from pathlib import Path
from typing import Any

LONGEST_PATH = 90
"""Bytes of the path of a socket: the kernel allows a few more, 103 on macOS."""
PROCESSES = "processes.json"
LOCK = "lock"
"""A file that the supervisor keeps locked: the kernel frees it when the supervisor dies, in whatever way."""
_NAME = re.compile(r"leasekeeper-\d+-[0-9a-f]{12}")


class Folder:
    """A folder of this kind.

    Args:
        path: where it is.
        lock: the descriptor of its locked file, for the supervisor that made it.
    """

    def __init__(self, path: str, lock: int | None = None) -> None:
        self.path = path
        self.lock = lock

    @classmethod
    def make(cls, parent: str | None = None) -> Folder:
        """Make one in the directory for temporary files, or in `parent`, if that is there and its path is short.

        Those that a supervisor has left there that was killed are removed.

        Raises:
            OSError: there is no directory that can be written to.
        """
        name = f"leasekeeper-{os.getpid()}-{os.urandom(6).hex()}"
        parents = [each for each in (parent, os.environ.get("TMPDIR")) if each and len(each) + 40 < LONGEST_PATH]
        for directory in (*parents, "/tmp"):  # noqa: S108 - the name cannot be guessed, and the folder is private
            with suppress(OSError):
                _remove_abandoned(directory)
                new, path = Path(directory, f".{name}"), Path(directory, name)
                new.mkdir(0o700)
                lock = os.open(new / LOCK, os.O_CREAT | os.O_RDWR, 0o600)
                _is_free(lock)
                new.rename(path)  # only now do others see it: its lock is held
                return cls(str(path), lock)
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
        if self.lock is not None:
            os.close(self.lock)
            self.lock = None


def _is_free(lock: int) -> bool:
    """Lock a file; False if another process has it locked."""
    import fcntl  # not on Windows, where there is no supervisor

    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _remove_abandoned(directory: str) -> None:
    """Remove folders of this user whose supervisor has ended without removing them."""
    for path in Path(directory).glob("leasekeeper-*"):
        with suppress(OSError):
            if _NAME.fullmatch(path.name) is None or path.lstat().st_uid != os.geteuid():
                continue
            lock = os.open(path / LOCK, os.O_RDWR | os.O_NOFOLLOW)
            if _is_free(lock):
                Folder(str(path), lock).remove()
            else:
                os.close(lock)
