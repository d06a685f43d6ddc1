"""Claims: whether engine or keeper may change the visibility of a message, slot by slot.

The keeper takes the claim for a call that extends; the engine takes it and returns it at once, to know that no such
call is out. Only the standard library is imported here.
"""

from __future__ import annotations

import fcntl
from typing import Protocol


class Claims(Protocol):
    """Which process may change the visibility of a slot's message."""

    def take(self, slot: int) -> bool:
        """Take the claim on a slot; False: the other process has it."""
        ...

    def give_back(self, slot: int) -> None:
        """Give it back."""
        ...


class LockClaims:
    """Claims by locks of the kernel on single bytes of the table's memory: they go with the process that has them.

    Args:
        descriptor: of the table.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def take(self, slot: int) -> bool:
        """Take the claim on a slot; False: the other process has it."""
        try:
            fcntl.lockf(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, slot)
        except OSError:
            return False
        return True

    def give_back(self, slot: int) -> None:
        """Give it back."""
        fcntl.lockf(self._descriptor, fcntl.LOCK_UN, 1, slot)
