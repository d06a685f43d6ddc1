"""Task protection: when to ask Amazon ECS to spare a task from scale-in, to renew that, and to end it.

Pure. Owned by the process's `TaskProtection`, which makes the calls. It promises few of them: ECS limits how many a
cluster may make.
"""

from __future__ import annotations

import math

MINUTES = 20
"""Minutes that a protection lasts if it is not renewed, so that a task that hangs is not spared for ever."""
RENEW_AFTER = MINUTES * 60 / 2
"""Seconds after which it is renewed."""
IDLE = 30.0
"""Seconds without a long handler after which it ends: with the next one soon, ending it would be two calls for none."""
RETRY_AFTER = 60.0
"""Seconds until a call that failed is made again."""


class Protection:
    """The protection of one task, as far as is known.

    Attributes:
        on: whether ECS spares the task, by the last answer.
    """

    def __init__(self) -> None:
        self.on = False
        self._asked = -math.inf
        self._failed = -math.inf
        self._needed = -math.inf

    def decide(self, now: float, *, needed: bool) -> bool | None:
        """What to ask ECS for now: True to spare the task (again), False not to; None: nothing.

        Args:
            now: seconds, monotonic.
            needed: whether handlers run that a stop would have to cut off.
        """
        if needed:
            self._needed = now
        if now - self._failed < RETRY_AFTER:
            return None
        if needed:
            return True if not self.on or now - self._asked >= RENEW_AFTER else None
        return False if self.on and now - self._needed >= IDLE else None

    def answered(self, now: float, *, on: bool, ok: bool) -> None:
        """Note how ECS answered a call that asked for `on`."""
        if not ok:
            self._failed = now
        else:
            self.on, self._asked, self._failed = on, now, -math.inf

    def __repr__(self) -> str:
        return f"<Protection {'on' if self.on else 'off'}>"
