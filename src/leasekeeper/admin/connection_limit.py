"""What happens when many connections are open: the oldest that asks for nothing makes room for a new one.

Made by the admin server. It promises that connections without a request keep no probe from its answer: an orchestrator
would end a healthy process.
"""

from __future__ import annotations

from functools import partial
from itertools import count
from typing import TYPE_CHECKING, Any

from uvicorn.protocols.http.auto import AutoHTTPProtocol

if TYPE_CHECKING:
    import asyncio


def protocol_for(most: int) -> Any:
    """What makes the protocol of each connection, for at most `most` connections."""
    return partial(_Protocol, most=most)


_numbers = count()


class _Protocol(AutoHTTPProtocol):  # type: ignore[misc, valid-type] # uvicorn chooses it by what is installed
    def __init__(self, *arguments: Any, most: int, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._most = most
        self._number = next(_numbers)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A client connected."""
        idle = [each for each in self.connections if each.asks_for_nothing]
        if len(self.connections) >= self._most and idle:
            min(idle, key=lambda each: each._number).transport.abort()  # noqa: SLF001 - of this class
        super().connection_made(transport)

    @property
    def asks_for_nothing(self) -> bool:
        """Whether no request of it is being answered; one whose head has not come in full counts as none."""
        return self.cycle is None or self.cycle.response_complete
