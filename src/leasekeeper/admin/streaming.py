"""The stream of the state: server-sent events, the whole first, then what changed, once a second.

Made by a surface for each reader. It promises to end at once when the watch is closed, with the event `bye`, so that no
open stream delays the end of a server.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from leasekeeper.admin.patches import patch_between

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from leasekeeper.admin.watching import Watch

RETRY = 1000
"""Milliseconds after which a browser connects again."""


async def stream(watch: Watch, state: Callable[[], Any], *, lasts: float) -> AsyncIterator[bytes]:
    """The events of one stream: `state`, then `patch` each second, and `bye` at the end.

    Args:
        watch: what it waits for.
        state: makes the state.
        lasts: seconds after which it ends without `bye`, for the browser to connect again.
    """
    before = state()
    yield b"retry: %d\n" % RETRY + event("state", before)
    looks = 0
    while looks < lasts and await watch.next_look():
        looks += 1
        now = state()
        yield event("patch", patch_between(before, now))
        before = now
    if watch.closed:
        yield event("bye", {})


def event(name: str, data: Any) -> bytes:
    """A server-sent event; JSON has no line breaks, so its data is one line."""
    return b"event: %s\ndata: %s\n\n" % (name.encode(), msgspec.json.encode(data))
