"""What is logged of a consumer itself: its phases, its health, its receives, the loop of its handlers, and its stop.

Owned by a consumer's observer, as the part of its `Logs` that is not about messages.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from leasekeeper import events
from leasekeeper.observe.repeats import RepeatLimit
from leasekeeper.texts import bounded, safe_str

if TYPE_CHECKING:
    from leasekeeper.channel import Channel

REASON_LENGTH = 300
"""Characters of a reason, or of an error of SQS, in a sentence."""


class ConsumerLogs:
    """Writes to `logger` what the events of one channel tell of the consumer."""

    def __init__(self, channel: Channel, logger: logging.Logger, repeats: int | None = None) -> None:
        self._records = RepeatLimit(logger, repeats)
        channel.subscribe(self._pollers, events.PollersChanged)
        channel.subscribe(self._phase, events.PhaseChanged)
        channel.subscribe(self._receive_failed, events.ReceiveFailed)
        channel.subscribe(self._health, events.HealthChanged)
        channel.subscribe(self._loop_blocked, events.LoopBlocked)
        channel.subscribe(self._loop_unblocked, events.LoopUnblocked)
        channel.subscribe(self._stop_forced, events.StopForced)
        channel.subscribe(self._handlers_left, events.HandlersLeft)
        channel.subscribe(self._settlements_left, events.SettlementsLeft)
        channel.subscribe(self._internal_error, events.InternalError)

    def _write(
        self, level: int, event: events.Event, sentence: str, *values: object, raised: object = None, **fields: Any
    ) -> None:
        sentence = "queue %s: " + sentence  # one prefix for every sentence
        extra = {"queue": event.queue, **fields}
        self._records.write(level, sentence, (event.queue, *values), raised=raised, extra=extra)

    def _phase(self, event: events.PhaseChanged) -> None:
        if event.phase == "running":
            handlers = "1 handler" if event.concurrency == 1 else f"up to {event.concurrency} handlers"
            self._write(logging.INFO, event, "consuming, %s at once", handlers)
        elif event.phase == "paused":
            self._write(logging.INFO, event, "paused: nothing is received until resume()")
        elif event.phase == "closed":
            self._records.flush()

    def _pollers(self, event: events.PollersChanged) -> None:
        loops = "1 poller receives" if event.pollers == 1 else f"{event.pollers} pollers receive"
        self._write(logging.DEBUG, event, "%s now, %d before", loops, event.before)

    def _health(self, event: events.HealthChanged) -> None:
        if event.healthy:
            self._write(logging.INFO, event, "healthy again")
        else:
            self._write(logging.ERROR, event, "unhealthy: %s", bounded(event.reason, REASON_LENGTH))

    def _loop_blocked(self, event: events.LoopBlocked) -> None:
        self._write(
            logging.WARNING,
            event,
            "%s has blocked the event loop of its handlers for %.0f s, in %s: no other handler on it runs meanwhile; "
            "no lease is lost. %s what blocks with asyncio.to_thread",
            f"handler {event.handler}" if event.handler else "something",
            event.seconds,
            event.place,
            "Make the handler a `def`, or call" if event.handler else "Call",
            handler=event.handler,
        )

    def _loop_unblocked(self, event: events.LoopUnblocked) -> None:
        self._write(logging.INFO, event, "the event loop of its handlers is free again, after %.0f s", event.seconds)

    def _stop_forced(self, event: events.StopForced) -> None:
        self._write(logging.ERROR, event, "stopping: %s", bounded(event.reason, REASON_LENGTH))

    def _handlers_left(self, event: events.HandlersLeft) -> None:
        one = event.count == 1
        handlers = "1 handler still runs" if one else f"{event.count} handlers still run"
        messages = "its message is" if one else "their messages are"
        self._write(
            logging.WARNING,
            event,
            "%s after %s and cannot be ended; %s not given back now, to start no second run beside this one, but "
            "visible again after the visibility timeout",
            handlers,
            event.limit,
            messages,
        )

    def _settlements_left(self, event: events.SettlementsLeft) -> None:
        count = "1 settlement was" if event.count == 1 else f"{event.count} settlements were"
        self._write(
            logging.ERROR,
            event,
            "%s not confirmed within flush_timeout=%g s; these messages come again",
            count,
            event.flush_timeout,
        )

    def _internal_error(self, event: events.InternalError) -> None:
        self._write(logging.ERROR, event, "an error where none may be: %s", event.what, raised=event.error)

    # Receives

    def _receive_failed(self, event: events.ReceiveFailed) -> None:
        if event.expected:
            shown = safe_str(event.error, REASON_LENGTH)
            self._write(
                logging.WARNING,
                event,
                "a receive failed, next try in %.1f s: %s",
                event.pause,
                shown,
                code=event.code,
            )
        else:
            self._write(
                logging.ERROR,
                event,
                "a receive failed, next try in %.1f s",
                event.pause,
                raised=event.error,
                code=event.code,
            )
