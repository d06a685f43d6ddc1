"""Sizing: how many handlers of a consumer run at the same time, and what follows when that changes at run time.

Owned by the runner, used on the engine's loop. It promises that no handler is ended for a change, and that a change
which cannot work is refused with a sentence before anything has changed.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from leasekeeper.engine.limits import most_at_once
from leasekeeper.errors import ConfigurationError
from leasekeeper.lanes.api import Resizable

if TYPE_CHECKING:
    from collections.abc import Callable

    from leasekeeper.core.delivery import Delivery
    from leasekeeper.core.gate import Gate
    from leasekeeper.core.throttler import Throttler
    from leasekeeper.engine.capacity import Capacity
    from leasekeeper.lanes.api import Lane
    from leasekeeper.options import Options


class Sizing:
    """The parts of a runner that know how many handlers there are.

    Args:
        options: the consumer's.
        coroutines: whether its handler is a coroutine function.
        lane: where handlers run.
        gate: lets messages start, if there is one.
        throttler: decides how many messages are held.
        capacity: gives slots to polls.
        changed: called after a change.

    Attributes:
        options: with the present concurrency.
    """

    def __init__(  # noqa: PLR0917 - one place makes it
        self,
        options: Options,
        coroutines: bool,
        lane: Lane[Delivery],
        gate: Gate | None,
        throttler: Throttler,
        capacity: Capacity,
        changed: Callable[[], None],
    ) -> None:
        self.options = options
        self._coroutines = coroutines
        self._lane = lane
        self._gate = gate
        self._throttler = throttler
        self._capacity = capacity
        self._changed = changed

    async def change(self, concurrency: int, now: float) -> str:
        """Let this many handlers run at the same time; what has changed, in words. A coroutine, for `on_engine`.

        Raises:
            ConfigurationError: this consumer cannot have it: its handlers are shared, its lane has a fixed size, or the
                number is out of bounds.
        """
        before = self.options
        self._apply(self._checked(concurrency), now)
        return self._said(before)

    def _checked(self, concurrency: int) -> Options:
        what, options = f"concurrency={concurrency!r}", self.options
        if options.share is not None:
            raise ConfigurationError(
                f"{what}: the handlers of this consumer are shared (share=), so their number is that of the share; "
                "change it in the code"
            )
        if not isinstance(self._lane, Resizable):
            raise ConfigurationError(f"{what}: the lane of this consumer has a fixed size; change it in the code")
        if options.lane == "processes":
            checked = replace(options, workers=concurrency)
        else:
            checked = replace(options, concurrency=concurrency)
        return replace(checked, max_in_flight=max(options.max_in_flight, checked.slots))

    def _apply(self, options: Options, now: float) -> None:
        self.options = options
        self._throttler.resize(options.slots, now)
        if self._gate is not None:
            self._gate.resize(most_at_once(options, coroutines=self._coroutines))
        if isinstance(self._lane, Resizable):
            self._lane.resize(options)
        self._capacity.resize(options)
        self._changed()

    def _said(self, before: Options) -> str:
        now = self.options
        if now.lane == "processes":
            return (
                f"workers was {before.worker_count} and is {now.worker_count}: each makes one call at a time; a new "
                "start has it from the code"
            )
        runs = now.concurrency if self._coroutines else min(now.concurrency, now.thread_count)
        few = "" if runs == now.concurrency else f" (there are no more than {now.thread_count} threads)"
        return (
            f"concurrency was {before.concurrency} and is {now.concurrency}: at most {runs} "
            f"{'handler runs' if runs == 1 else 'handlers run'} at the same time{few}; a new start has it from the code"
        )
