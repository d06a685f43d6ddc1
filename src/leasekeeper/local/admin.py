"""The server's pages beside the API: the page for a browser, what it shows and does, health, counts of calls, faults.

Owned by the connection. They promise JSON in and out, and 400 with the reason for a value that is not accepted.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import parse_qsl

import msgspec

from leasekeeper.errors import ConfigurationError
from leasekeeper.local import page_content
from leasekeeper.local.model import Refusal
from leasekeeper.pages import LOCAL, page_file

if TYPE_CHECKING:
    from leasekeeper.local.broker import Broker
    from leasekeeper.local.call_log import CallLog
    from leasekeeper.local.http import HttpRequest

ROOT = b"/_leasekeeper"
JSON = "application/json"


class Page(NamedTuple):
    """An answer; `headers` is text as HTTP has it, a line each."""

    status: int
    body: bytes
    kind: str = JSON
    headers: str = "Cache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\n"


def answer(broker: Broker, log: CallLog, request: HttpRequest) -> Page:
    """The answer of a page."""
    path, question, query = request.path[len(ROOT) :].decode("latin-1").partition("?")
    method = "GET" if request.method == b"HEAD" else request.method.decode("latin-1")
    if method == "GET" and path == "":
        return Page(307, b"", headers=f"Location: {ROOT.decode()}/{question}{query}\r\n")
    if not path.startswith("/"):
        return _error(404, f"no page {method} {ROOT.decode()}{path}: the pages are below {ROOT.decode()}/")
    path = path.strip("/")
    if method == "GET" and (path == "" or path.startswith("pages/")):
        return _file(path.removeprefix("pages/") or LOCAL, request.if_none_match.decode("latin-1"))
    try:
        shown = _shown(broker, log, (method, path), dict(parse_qsl(query)), request.body)
    except (ConfigurationError, ValueError, RecursionError) as error:
        return _error(400, str(error))
    except Refusal as refusal:
        return _error(400, refusal.message)
    if shown is None:
        pages = "GET state, stream or message, POST do, GET health, GET or DELETE calls, and GET, PUT or DELETE faults"
        return _error(404, f"no page {method} /_leasekeeper/{path}: the pages are {pages}")
    return Page(200, msgspec.json.encode(shown))


def _error(status: int, reason: str) -> Page:
    return Page(status, msgspec.json.encode({"error": reason}))


def _file(name: str, known: str) -> Page:
    found = page_file(name)
    if found is None:
        return _error(404, f"no file {name[:80]!r}")
    headers = "".join(f"{name}: {value}\r\n" for name, value in found.headers.items())
    if known == found.headers["etag"]:
        return Page(304, b"", found.content_type, headers)
    return Page(200, found.body, found.content_type, headers)


def _shown(broker: Broker, log: CallLog, page: tuple[str, str], query: dict[str, str], body: bytes) -> Any:
    match page:
        case ("GET", "state"):
            return page_content.state(broker, log, query.get("queue", ""))
        case ("GET", "message"):
            return page_content.body(broker, query.get("queue", ""), int(query.get("number", 0)))
        case ("POST", "do"):
            return page_content.act(broker, msgspec.json.decode(body, type=dict[str, Any]))
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
