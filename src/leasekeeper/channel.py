"""The channel between a consumer and those who want its news: it calls the subscribers of each kind of event.

One consumer owns one channel. A subscriber that raises loses its own event and disturbs nothing else (L15).
"""

from __future__ import annotations

import logging
from collections import Counter
from contextlib import suppress
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from leasekeeper.events import Event


class Channel:
    """Distributes events to the subscribers of their kind, in the order of subscribing.

    Attributes:
        failures: how often a subscriber raised, by the exception's class name.
    """

    __slots__ = ("_subscribers", "_to_all", "failures")

    def __init__(self) -> None:
        self._subscribers: dict[type[Event], tuple[Callable[[Any], object], ...]] = {}
        self._to_all: tuple[Callable[[Any], object], ...] = ()
        self.failures = Counter[str]()

    def subscribe(self, subscriber: Callable[[Any], object], *kinds: type[Event]) -> None:
        """Call `subscriber(event)` for each event of these kinds; without a kind, for every event.

        It is called on the engine's thread, so it has to be quick, and it must not block.
        """
        if not kinds:
            self._to_all = (*self._to_all, subscriber)
        for kind in kinds or list(self._subscribers):
            self._subscribers[kind] = (*self._subscribers.get(kind, self._to_all), subscriber)

    def emit(self, event: Event) -> None:
        """Call the subscribers. What they raise ends here (L15)."""
        for subscriber in self._subscribers.get(type(event), self._to_all):
            try:
                subscriber(event)
            except BaseException as error:  # also SystemExit: the engine's thread must not end
                self._failed(error)

    def _failed(self, error: BaseException) -> None:
        self.failures[type(error).__name__] += 1
        with suppress(BaseException):  # the logger may be what failed
            logging.getLogger("leasekeeper").error("a subscriber of events raised; it goes on", exc_info=error)

    def __repr__(self) -> str:
        return f"<Channel {sum(map(len, self._subscribers.values()))} subscriptions>"
