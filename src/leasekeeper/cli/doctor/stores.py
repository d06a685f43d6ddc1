"""The doctor's look at databases: those of idempotency keys, of inboxes, and of the outboxes of an app."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from leasekeeper.cli.doctor.facts import Finding, Level
from leasekeeper.errors import LeasekeeperError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from leasekeeper.options import Options
    from leasekeeper.outbox import Relay


async def store(options: Options | None) -> list[Finding]:
    """Whether the store of the option `idempotency` can be used; nothing without that option."""
    idempotency: Any = None if options is None else options.idempotency
    if not hasattr(idempotency, "counts"):
        return []
    try:
        await idempotency.check()
    except LeasekeeperError as error:
        return [Finding(Level.FAIL, "idempotency", str(error))]
    return [Finding(Level.OK, "idempotency", f"{idempotency!r} can be used")]


async def outboxes(relays: Sequence[Relay]) -> list[Finding]:
    """Whether the tables of these relays are there."""
    from leasekeeper.outbox.counts import Counts
    from leasekeeper.outbox.relay_loop import RelayLoop

    found = []
    for relay in relays:
        try:
            await RelayLoop(relay.outbox, Counts(), relay.settings).check()
        except LeasekeeperError as error:
            found.append(Finding(Level.FAIL, "outbox", str(error)))
        else:
            found.append(Finding(Level.OK, "outbox", f"table {relay.outbox.table} can be used"))
    return found
