"""A token bucket: how many handlers may start now, so that in no window of time more start than the rate allows.

The capacity and the ordering of a consumer with `rate=` share one. Pure: the time comes in. A token that is taken is
reserved until its handler starts, and comes again from then on. It promises that in any window of *t* seconds at most
`burst + rate * t` handlers start, however late a lane starts them.
"""

from __future__ import annotations

ROUNDING = 1e-6
"""Tokens by which a clock of floats may be off: the time that `token_at` names must be late enough for `take`."""


class TokenBucket:
    """Tokens that come at a rate, up to `burst` of them; it is full at first.

    It keeps the time at which it is full again, so waiting costs nothing, and errors do not add up. Besides, it counts
    the tokens that are reserved.

    Args:
        rate: tokens a second, above 0.
        burst: how many there are at most, 1 or more.

    Attributes:
        reserved: tokens of handlers that have not started yet.
    """

    __slots__ = ("_full_at", "burst", "rate", "reserved")

    def __init__(self, rate: float, burst: int) -> None:
        if not rate > 0:
            raise ValueError(f"a rate of {rate!r} tokens a second cannot work: give more than 0")
        if burst < 1:
            raise ValueError(f"a burst of {burst!r} tokens cannot work: give 1 or more")
        self.rate = rate
        self.burst = burst
        self.reserved = 0
        self._full_at = float("-inf")

    def tokens(self, now: float) -> float:
        """How many tokens are there, from 0 to `burst`."""
        return max(0.0, self._level(now))

    def _level(self, now: float) -> float:
        """The same, below 0 while charged tokens have not come."""
        return self.burst - self.reserved - max(0.0, self._full_at - now) * self.rate

    def reserve(self, now: float) -> bool:
        """Take a token for a handler that starts soon; False if none is there."""
        if self.tokens(now) < 1 - ROUNDING:
            return False
        self.reserved += 1
        return True

    def started(self, at: float) -> None:
        """A handler with a reserved token has started: the token comes again from then on."""
        self.reserved -= 1
        self._full_at = max(self._full_at, at) + 1 / self.rate

    def put_back(self) -> None:
        """A handler with a reserved token will not start."""
        self.reserved -= 1

    def take(self, now: float) -> bool:
        """Take a token for a handler that starts now; False if none is there."""
        if not self.reserve(now):
            return False
        self.started(now)
        return True

    def charge(self, now: float, count: int) -> None:
        """Take tokens also if they are not there: the next ones come later for that. A negative number puts back."""
        self._full_at = max(self._full_at, now) + count / self.rate

    def token_at(self, now: float, count: float = 1) -> float:
        """When `count` tokens are there or, above `burst`, would be if the bucket were larger; `now` if they are."""
        return max(now, now + (count - self._level(now)) / self.rate)

    def promised(self, now: float, ahead: float, claims: int) -> int:
        """How many more messages may be asked for, so that each finds a token within `ahead` seconds.

        Args:
            now: seconds, monotonic.
            ahead: seconds that a message may wait for its token.
            claims: messages that wait for a token, or may be brought by receives under way.
        """
        return max(0, int(self._level(now) + self.rate * ahead + ROUNDING) - claims)

    def __repr__(self) -> str:
        return f"<TokenBucket {self.rate:g} a second, burst {self.burst}>"
