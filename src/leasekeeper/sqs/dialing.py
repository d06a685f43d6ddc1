"""Connections: a name is resolved once, off the loop, and each of its addresses is tried in turn.

Owned by a transport, one for its endpoint or its proxy. It promises that an address that does not answer costs
`STAGGER` seconds while there are others, and that a silent resolver holds up neither the loop nor the exit.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import socket
from typing import TYPE_CHECKING, Any

from leasekeeper.sqs.blocking import started

if TYPE_CHECKING:
    from collections.abc import Callable

STAGGER = 0.25
"""Seconds after which the next address is tried as well (RFC 8305, connection attempt delay)."""
Address = tuple[socket.AddressFamily, Any]
"""An address family and a socket address, with an IP address in it and no name."""


class NameNotResolved(OSError):
    """The host's name has no address, or the resolver failed."""


class Dialer:
    """Connects to one host and port.

    Args:
        host: a name or an IP address.
        port: of TCP.
    """

    def __init__(self, host: str, port: int) -> None:
        self._host = host
        self._port = port
        self._resolving: asyncio.Future[Callable[[], list[Address]]] | None = None

    @property
    def resolving(self) -> bool:
        """Whether the resolver is still to answer."""
        return self._resolving is not None and not self._resolving.done()

    async def connect(self) -> socket.socket:
        """A connected socket that does not block.

        Raises:
            NameNotResolved: the name has no address.
            OSError: no address accepted the connection.
        """
        return await first_connected(await self.addresses())

    async def addresses(self) -> list[Address]:
        """The addresses of the host, in the resolver's order. Calls at the same time share one look-up."""
        if _is_literal(self._host):
            return _resolve(self._host, self._port)
        if self._resolving is None or self._resolving.done():
            try:
                self._resolving = started(lambda: _resolve(self._host, self._port))
            except RuntimeError as error:  # at the interpreter's end
                raise NameNotResolved(f"{self._host}: {error}") from error
        # A caller that gives up must not cancel the look-up of the others.
        return (await asyncio.shield(self._resolving))()


def _is_literal(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _resolve(host: str, port: int) -> list[Address]:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:  # UnicodeError: the name has an empty or too long label
        raise NameNotResolved(f"{host}: {error}") from error
    return list(dict.fromkeys((family, address) for family, _, _, _, address in found))


async def first_connected(addresses: list[Address]) -> socket.socket:
    """A socket connected to the first address that accepts; the next is tried as well after `STAGGER` seconds.

    Raises:
        OSError: none accepted.
    """
    if len(addresses) == 1:
        return await _connected(addresses[0])
    untried = list(addresses)
    attempts: set[asyncio.Task[socket.socket]] = set()
    problems: list[str] = []
    try:
        while untried or attempts:
            if untried:
                attempts.add(asyncio.create_task(_connected(untried.pop(0)), name="leasekeeper dial"))
            done, _ = await asyncio.wait(
                attempts, timeout=STAGGER if untried else None, return_when=asyncio.FIRST_COMPLETED
            )
            for attempt in done:
                attempts.discard(attempt)
                if (error := attempt.exception()) is None:
                    attempts |= done - {attempt}  # a second winner of the same moment is closed below
                    return attempt.result()
                problems.append(str(error))
        raise OSError("; ".join(dict.fromkeys(problems)))
    finally:
        for attempt in attempts:
            attempt.add_done_callback(_close)
            attempt.cancel()


def _close(attempt: asyncio.Task[socket.socket]) -> None:
    """Close the socket of an attempt that came second; one that failed has closed its own."""
    if not attempt.cancelled() and attempt.exception() is None:
        attempt.result().close()


async def _connected(address: Address) -> socket.socket:
    family, place = address
    made = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)  # asyncio sets TCP_NODELAY on such only
    try:
        made.setblocking(False)
        await asyncio.get_running_loop().sock_connect(made, place)
    except BaseException:  # cancellation most of all
        with contextlib.suppress(OSError):
            made.close()
        raise
    return made
