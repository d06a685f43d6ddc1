"""The server's pages beside the API: health, counts of calls, faults.

Owned by the connection. They promise JSON in and out, and 400 with the reason for a value that is not accepted.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from leasekeeper.errors import ConfigurationError

if TYPE_CHECKING:
    from leasekeeper.local.broker import Broker
    from leasekeeper.local.http import HttpRequest

ROOT = b"/_leasekeeper/"


def answer(broker: Broker, request: HttpRequest) -> tuple[int, bytes]:
    """The status and the JSON of a page."""
    method = "GET" if request.method == b"HEAD" else request.method.decode("latin-1")
    page = (method, request.path.partition(b"?")[0][len(ROOT) :].decode("latin-1"))
    try:
        shown = _shown(broker, page, request.body)
    except (ConfigurationError, msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        return 400, msgspec.json.encode({"error": str(error)})
    if shown is None:
        reason = f"no page {method} /_leasekeeper/{page[1]}: the pages are GET health, GET or DELETE calls, and "
        return 404, msgspec.json.encode({"error": reason + "GET, PUT or DELETE faults"})
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
    """Replace all switches by the given ones: operation (or `*`) -> switches, and `dead_polls`."""
    dead_polls = wanted.pop("dead_polls", False)
    if not isinstance(dead_polls, bool):
        raise ConfigurationError(f"dead_polls: give true or false, not {dead_polls!r}")
    for operation, switches in wanted.items():
        if not isinstance(switches, dict):
            raise ConfigurationError(f"{operation}: give an object of switches, not {switches!r}")
        broker.faults.check(operation, **switches)
    broker.faults.clear()
    broker.faults.dead_polls = dead_polls
    for operation, switches in wanted.items():
        broker.faults.set(operation, **switches)
