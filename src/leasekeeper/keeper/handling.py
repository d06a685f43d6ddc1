"""Handlers of consumers with a keeper: the lane's own thread writes RUNNING when it calls the handler.

Given to a lane in place of the handler. The engine may be starved when a handler starts, so it cannot write that.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar, cast

from leasekeeper.keeper.layout import RUNNING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from leasekeeper.core.delivery import Delivery
    from leasekeeper.keeper.entries import Entries, Kept
    from leasekeeper.keeper.table import Table
    from leasekeeper.lanes.api import Say, UnitHandler
    from leasekeeper.lanes.bundles import Bundle

R = TypeVar("R")


class KeptHandler:
    """Runs a handler, after noting that its message runs."""

    def __init__(self, handler: UnitHandler[Delivery], entries: Entries) -> None:
        self.name = handler.name
        self.timed_out = handler.timed_out
        self.run = _noting(entries.table, handler.run)
        self.run_blocking = _noting(entries.table, handler.run_blocking)

    def __repr__(self) -> str:
        return f"<{self.name}, kept>"


class KeptBatchHandler:
    """Runs a batch handler, after noting that its messages run."""

    def __init__(self, handler: UnitHandler[Bundle], entries: Entries) -> None:
        self.name = handler.name
        self.timed_out = handler.timed_out
        self.run = _noting_all(entries, handler.run)
        self.run_blocking = _noting_all(entries, handler.run_blocking)

    def __repr__(self) -> str:
        return f"<{self.name}, kept>"


def _noting(table: Table, run: Callable[[Say[Delivery], Delivery], R]) -> Callable[[Say[Delivery], Delivery], R]:
    """A function and not a method: what a message costs is mostly how many attributes are looked up for it."""

    def noting(say: Say[Delivery], delivery: Delivery) -> R:
        table.states[delivery.slot] = RUNNING  # type: ignore[attr-defined] # of the ledger's row type
        return run(say, delivery)

    return noting


def _noting_all(entries: Entries, run: Callable[[Say[Bundle], Bundle], R]) -> Callable[[Say[Bundle], Bundle], R]:
    def noting_all(say: Say[Bundle], bundle: Bundle) -> R:
        entries.mark(cast("Sequence[Kept]", bundle.rows), RUNNING)
        return run(say, bundle)

    return noting_all
