"""Leasekeeper: a consumer of the kind in PEER_KIND, with its defaults except for the settings of the scenario."""

from __future__ import annotations

import os
from typing import Any

from asked import CONCURRENCY, ENDPOINT, HANDLER, QUEUE, VISIBILITY, obey
from handling import handler_async, handler_sync

from leasekeeper import Consumer

KIND = os.environ["PEER_KIND"]


def options() -> dict[str, Any]:
    """Threads keep their default, unless handlers wait: then each running handler needs one."""
    if "PEER_LONGEST_PAUSE" in os.environ:
        return {"longest_pause": float(os.environ["PEER_LONGEST_PAUSE"])}
    if KIND == "def" and HANDLER == "wait":
        return {"threads": CONCURRENCY}
    by_kind: dict[str, dict[str, Any]] = {"pool": {"dispatch": "pool"}, "batch": {"batch": 100}}
    return by_kind.get(KIND, {})


async def handle_all(payloads: list[str]) -> None:
    if HANDLER != "noop":
        for payload in payloads:
            await handler_async(payload)


def run() -> None:
    handler: Any = {"def": handler_sync, "batch": handle_all}.get(KIND, handler_async)
    Consumer(
        QUEUE,
        handler,
        endpoint_url=ENDPOINT,
        concurrency=CONCURRENCY,
        visibility_timeout=VISIBILITY,
        **options(),
    ).run()


obey(run)
