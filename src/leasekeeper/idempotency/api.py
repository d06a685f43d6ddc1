"""What a store of idempotency keys is: the four verbs, their answers, and the errors.

Stores implement `Store`. Each verb is one atomic step of the store, and each names the owner by a token, so that
a run which has lost its claim can change nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, Protocol

from leasekeeper.errors import LeasekeeperError, NotFound, Unusable

if TYPE_CHECKING:
    from collections.abc import Sequence


class KeyMissing(LeasekeeperError):
    """A message has no idempotency key, and `missing` does not say what to do with such messages."""


class StoreUnavailable(Unusable):
    """The store of idempotency keys did not answer, or answered with an error.

    Attributes:
        answered: whether it answered, so that the error may be about one key only.
    """

    def __init__(self, text: str, *, answered: bool = False) -> None:
        super().__init__(text)
        self.answered = answered


class TableMissing(StoreUnavailable, NotFound):
    """The table of a store does not exist, or is another table. It says with which command to create it."""


@dataclass(frozen=True, slots=True)
class Claimed:
    """The key is ours until the claim ends."""


@dataclass(frozen=True, slots=True)
class Running:
    """Another run has claimed the key.

    Attributes:
        left: seconds until its claim ends, unless it is extended.
    """

    left: float


@dataclass(frozen=True, slots=True)
class Completed:
    """A run with this key has ended well.

    Attributes:
        fingerprint: of the message that it ran for; empty if none was taken.
        result: what it returned, as JSON; None if it is not kept.
    """

    fingerprint: str = ""
    result: bytes | None = None


Found = Claimed | Running | Completed
CLAIMED = Claimed()


class Extension(NamedTuple):
    """A claim that should live longer."""

    key: str
    token: str
    lease: float
    """Seconds from now."""


class Store(Protocol):
    """Where idempotency keys are kept. All times are in seconds from now, by the store's clock.

    A key counts as absent when its claim, or the time for which it is kept, has ended.
    """

    inline: bool
    """Whether no verb ever waits, so that it needs no thread."""

    async def claim(self, key: str, token: str, fingerprint: str, lease: float) -> Found:
        """Claim an absent key, or one that this token has claimed already."""
        ...

    async def extend(self, extensions: Sequence[Extension]) -> Sequence[bool]:
        """Let claims live longer; False for those that their tokens do not hold any more."""
        ...

    async def complete(self, key: str, token: str, fingerprint: str, result: bytes | None, keep: float) -> bool:
        """Note that the work is done. False, and nothing changes: the key belongs to another run."""
        ...

    async def release(self, key: str, token: str) -> bool:
        """Give a claim up. False, and nothing changes: this token does not hold it."""
        ...

    async def close(self) -> None:
        """Close the connections; the next verb opens them again."""
        ...
