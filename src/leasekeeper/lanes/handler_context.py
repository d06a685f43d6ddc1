"""A handler that notes its message for the log records written while it runs.

Made by the runner when `MessageContext` is in use, and given to a lane in place of the handler itself.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from leasekeeper.message_context import MESSAGE

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from leasekeeper.core.delivery import Delivery
    from leasekeeper.lanes.api import Say
    from leasekeeper.lanes.batch_handler import BatchHandler
    from leasekeeper.lanes.bundles import Bundle
    from leasekeeper.lanes.handler import Handler
    from leasekeeper.outcomes import Outcome


class HandlerInContext:
    """Runs a handler with its message in the context.

    Nothing resets it afterwards. Each call sets the message of its task or thread again, nothing else logs there, and
    mailboxes keep the context of their sender from the other side.
    """

    def __init__(self, handler: Handler, queue: str) -> None:
        self.name = handler.name
        self.timed_out = handler.timed_out
        self._handler = handler
        self._queue = queue

    def run(self, say: Say[Delivery], delivery: Delivery) -> Coroutine[None, None, Outcome]:
        """As `Handler.run`. It is called in the task of the handler."""
        MESSAGE.set((self._queue, self.name, delivery))
        return self._handler.run(say, delivery)

    def run_blocking(self, say: Say[Delivery], delivery: Delivery) -> Outcome:
        """As `Handler.run_blocking`."""
        MESSAGE.set((self._queue, self.name, delivery))
        return self._handler.run_blocking(say, delivery)

    def __repr__(self) -> str:
        return f"<{self._handler!r} in context>"


class BatchHandlerInContext:
    """Runs a batch handler with its name in the context; as `HandlerInContext`."""

    def __init__(self, handler: BatchHandler, queue: str) -> None:
        self.name = handler.name
        self.timed_out = handler.timed_out
        self._handler = handler
        self._queue = queue

    def run(self, say: Say[Bundle], bundle: Bundle) -> Coroutine[None, None, Outcome]:
        """As `BatchHandler.run`. It is called in the task of the handler."""
        MESSAGE.set((self._queue, self.name, None))
        return self._handler.run(say, bundle)

    def run_blocking(self, say: Say[Bundle], bundle: Bundle) -> Outcome:
        """As `BatchHandler.run_blocking`."""
        MESSAGE.set((self._queue, self.name, None))
        return self._handler.run_blocking(say, bundle)

    def __repr__(self) -> str:
        return f"<{self._handler!r} in context>"
