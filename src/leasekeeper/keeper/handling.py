"""Handlers of consumers with a keeper: the lane's own thread writes RUNNING when it calls the handler.

Given to a lane in place of the handler. The engine may be starved when a handler starts, so it cannot write that.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from leasekeeper.keeper.layout import RUNNING

if TYPE_CHECKING:
    from collections.abc import Coroutine, Sequence

    from leasekeeper.core.delivery import Delivery
    from leasekeeper.keeper.entries import Entries, Kept
    from leasekeeper.lanes.api import Say, UnitHandler
    from leasekeeper.lanes.bundles import Bundle
    from leasekeeper.outcomes import Outcome


class KeptHandler:
    """Runs a handler, after noting that its message runs."""

    def __init__(self, handler: UnitHandler[Delivery], entries: Entries) -> None:
        self.name = handler.name
        self.timed_out = handler.timed_out
        self._run = handler.run
        self._run_blocking = handler.run_blocking
        self._table = entries.table

    def run(self, say: Say[Delivery], delivery: Delivery) -> Coroutine[None, None, Outcome]:
        """As `Handler.run`."""
        self._table.states[delivery.slot] = RUNNING  # type: ignore[attr-defined] # of the ledger's row type
        return self._run(say, delivery)

    def run_blocking(self, say: Say[Delivery], delivery: Delivery) -> Outcome:
        """As `Handler.run_blocking`."""
        self._table.states[delivery.slot] = RUNNING  # type: ignore[attr-defined] # of the ledger's row type
        return self._run_blocking(say, delivery)

    def __repr__(self) -> str:
        return f"<{self.name}, kept>"


class KeptBatchHandler:
    """Runs a batch handler, after noting that its messages run."""

    def __init__(self, handler: UnitHandler[Bundle], entries: Entries) -> None:
        self.name = handler.name
        self.timed_out = handler.timed_out
        self._run = handler.run
        self._run_blocking = handler.run_blocking
        self._entries = entries

    def run(self, say: Say[Bundle], bundle: Bundle) -> Coroutine[None, None, Outcome]:
        """As `BatchHandler.run`."""
        self._entries.mark(cast("Sequence[Kept]", bundle.rows), RUNNING)
        return self._run(say, bundle)

    def run_blocking(self, say: Say[Bundle], bundle: Bundle) -> Outcome:
        """As `BatchHandler.run_blocking`."""
        self._entries.mark(cast("Sequence[Kept]", bundle.rows), RUNNING)
        return self._run_blocking(say, bundle)

    def __repr__(self) -> str:
        return f"<{self.name}, kept>"
