"""The stream of the state: server-sent events, the whole first, then what changed, once a second.

Made by a surface, and by the local server, for each reader. It promises to end at once when what it waits for is
closed, with the event `bye`, so that no open stream delays the end of a server.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import msgspec

from leasekeeper.admin.patches import patch_between

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

RETRY = 1000
"""Milliseconds after which a browser connects again."""


class Looks(Protocol):
    """Says when to look again.

    Attributes:
        closed: whether there is no next look.
    """

    closed: bool

    async def next_look(self) -> bool:
        """Wait for the next look; False when there is none."""


async def stream(looks: Looks, state: Callable[[], Any], *, lasts: float) -> AsyncIterator[bytes]:
    """The events of one stream: `state`, then `patch` each second; at the end what changed last, and `bye`.

    Args:
        looks: what it waits for.
        state: makes the state.
        lasts: seconds after which it ends without `bye`, for the browser to connect again.
    """
    before = state()
    yield b"retry: %d\n" % RETRY + event("state", before)
    seen = 0
    while seen < lasts and await looks.next_look():
        seen += 1
        now = state()
        yield event("patch", patch_between(before, now))
        before = now
    if looks.closed:
        yield event("patch", patch_between(before, state())) + event("bye", {})


def event(name: str, data: Any) -> bytes:
    """A server-sent event; JSON has no line breaks, so its data is one line."""
    return b"event: %s\ndata: %s\n\n" % (name.encode(), msgspec.json.encode(data))
