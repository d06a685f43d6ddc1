"""The server's own pages, beside the API: health, counters, faults.

Owned by the server; each function is one page. They promise JSON in and out, and 400 with the reason for what cannot be
set.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from leasekeeper.errors import ConfigurationError

if TYPE_CHECKING:
    from leasekeeper.local.broker import Broker

ROOT = b"/_leasekeeper/"


def answer(broker: Broker, method: bytes, path: bytes, body: bytes) -> tuple[int, bytes]:
    """The status and the JSON of the page at `path`."""
    page = (method.decode("latin-1"), path.partition(b"?")[0][len(ROOT) :].decode("latin-1"))
    try:
        shown = _shown(broker, page, body)
    except (ConfigurationError, msgspec.DecodeError) as error:
        return 400, msgspec.json.encode({"error": str(error)})
    if shown is None:
        sentence = f"no page {page[0]} /_leasekeeper/{page[1]}: see docs/how-to/local.md"
        return 404, msgspec.json.encode({"error": sentence})
    return 200, msgspec.json.encode(shown)


def _shown(broker: Broker, page: tuple[str, str], body: bytes) -> Any:
    match page:
        case ("GET", "health"):
            return {"status": "running", "queues": len(broker.account.queues)}
        case ("GET", "calls"):
            return dict(broker.calls)
        case ("DELETE", "calls"):
            broker.calls.clear()
            return {}
        case ("GET", "faults"):
            return _faults(broker)
        case ("PUT", "faults"):
            _set_faults(broker, msgspec.json.decode(body, type=dict[str, Any]))
            return _faults(broker)
        case ("DELETE", "faults"):
            broker.faults.clear()
            return _faults(broker)
    return None


def _faults(broker: Broker) -> dict[str, Any]:
    return {"dead_polls": broker.faults.dead_polls, **broker.faults.standing()}


def _set_faults(broker: Broker, wanted: dict[str, Any]) -> None:
    """Replace all switches by those given: operation (or `*`) -> switches, and `dead_polls`."""
    dead_polls = bool(wanted.pop("dead_polls", False))
    for operation, switches in wanted.items():
        if not isinstance(switches, dict):
            raise ConfigurationError(f"{operation}: give an object of switches, not {switches!r}")
        broker.faults.check(operation, **switches)
    broker.faults.clear()
    broker.faults.dead_polls = dead_polls
    for operation, switches in wanted.items():
        broker.faults.set(operation, **switches)
