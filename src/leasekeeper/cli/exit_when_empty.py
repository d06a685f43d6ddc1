"""`leasekeeper run --exit-when-empty`: stops when the queues of all consumers have nothing left.

Owned by the command line. It promises not to stop while anything is in hand here, or while SQS counts a message that is
visible, in flight (here or elsewhere) or delayed.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

from leasekeeper.engine.queue_counts import LONGEST, queue_counts
from leasekeeper.errors import SqsError
from leasekeeper.events import MessagesReceived
from leasekeeper.loggers import safe_logger

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from leasekeeper.consumer import Consumer
    from leasekeeper.engine.queue_counts import QueueCounts
    from leasekeeper.engine.runner import Runner

log = safe_logger("leasekeeper.run")

POLLS = 3
"""Empty long polls in a row after which the queue is asked for its counts."""
LOOK = 0.5
"""Seconds between two looks, at the longest."""
SHORTEST = 1.0
"""Seconds of a long poll, at the least: a receive that does not wait asks only some of SQS's servers."""


def polls_within(seconds: float) -> float:
    """Seconds of a long poll, so that three fit into the time for which a queue has to be empty."""
    return max(SHORTEST, seconds / POLLS)


@dataclass(slots=True)
class Emptiness:
    """Whether a queue seems empty, from the answers to its receives. Pure.

    Attributes:
        seconds: for how long it has to be empty.
        wait: seconds of a long poll.
    """

    seconds: float
    wait: float
    _polls: int = 0
    _since: float | None = None

    def received(self, count: int, took: float, now: float) -> None:
        """A receive was answered with `count` messages, after `took` seconds."""
        if count:
            self.again()
        elif took >= self.wait / 2:  # a short poll asks only some of SQS's servers
            self._polls += 1
            self._since = now - took if self._since is None else self._since

    def again(self) -> None:
        """Begin again: there was something."""
        self._polls, self._since = 0, None

    def seems_empty(self, now: float) -> bool:
        """Whether it is time to ask for the counts."""
        return self._polls >= POLLS and self._since is not None and now - self._since >= self.seconds


@dataclass(slots=True)
class UntilEmpty:
    """Stops consumers when all of their queues are empty at the same time: one may send to the queue of another.

    Attributes:
        consumers: all of them, not yet started.
        seconds: for how long they have to be empty.
        stop: called once.
    """

    consumers: Sequence[Consumer]
    seconds: float
    stop: Callable[[], object]
    _queues: dict[Consumer, Emptiness] = field(default_factory=dict)
    _moved: threading.Event = field(default_factory=threading.Event)
    _warned: bool = False
    _told: dict[str, str] = field(default_factory=dict)

    def watch(self) -> None:
        """Watch, in a thread of its own that ends with the process."""
        for consumer in self.consumers:
            self._queues[consumer] = Emptiness(self.seconds, consumer.options.wait_time)
            consumer.subscribe(partial(self._received, self._queues[consumer]), MessagesReceived)
            wait = consumer.options.wait_time
            log.info(
                "queue %s: stops when it has been empty for %.0f s: after %d empty receives in a row (wait_time=%g s) "
                "with no message visible, in flight or delayed",
                consumer.address.name,
                max(self.seconds, POLLS * wait),
                POLLS,
                wait,
            )
        threading.Thread(target=self._watch, name="leasekeeper-emptiness", daemon=True).start()

    def _received(self, queue: Emptiness, event: MessagesReceived) -> None:
        queue.received(event.count, event.seconds, time.monotonic())
        self._moved.set()

    def _watch(self) -> None:
        while True:
            self._moved.wait(LOOK)
            self._moved.clear()
            now = time.monotonic()
            if all(each.seems_empty(now) for each in self._queues.values()) and all(map(self._empty, self.consumers)):
                names = ", ".join(consumer.address.name for consumer in self.consumers)
                log.info("nothing is left in %s: stopping", names)
                self.stop()
                return

    def _empty(self, consumer: Consumer) -> bool:
        """Whether nothing is left, by what is held here and by what SQS counts."""
        statistics = consumer.statistics()
        if statistics is None or any(statistics.ledger.held.values()):
            return False
        counts = self._counts(consumer)
        if counts is not None and (counts.visible or counts.in_flight or counts.delayed):
            self._queues[consumer].again()
            self._tell_left(consumer.address.name, counts)
            return False
        return True

    def _tell_left(self, queue: str, counts: QueueCounts) -> None:
        """Say once what the queue is not empty of, until that changes."""
        left = {"visible": counts.visible, "in flight": counts.in_flight, "delayed": counts.delayed}
        words = ", ".join(f"{number} {kind}" for kind, number in left.items() if number)
        if self._told.get(queue) != words:
            self._told[queue] = words
            log.info("queue %s: nothing was received, but SQS counts %s: not empty yet", queue, words)

    def _counts(self, consumer: Consumer) -> QueueCounts | None:
        """What SQS counts; None when that may not be read: then empty receives have to do."""

        def ask(runner: Runner) -> Any:
            return queue_counts(runner.context)

        asked = consumer.on_engine(ask)
        try:
            return asked.result(2 * LONGEST) if asked is not None else None
        except (SqsError, TimeoutError) as error:
            if not self._warned:
                log.warning("queue %s: its counts cannot be read: %s", consumer.address.name, error)
            self._warned = True
            return None
