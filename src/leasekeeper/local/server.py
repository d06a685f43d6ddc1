"""SQS over HTTP: the AWS JSON 1.0 protocol in front of a broker, with a small S3 for payloads beside it.

Owned by the program that opens it, on one event loop. It promises to answer every request as AWS does, or with an error
of AWS, whatever it is sent; and to listen on loopback only, unless the program allows other addresses.
"""

from __future__ import annotations

import asyncio
import ipaddress
from typing import TYPE_CHECKING, Any

from leasekeeper.errors import ConfigurationError
from leasekeeper.local.connection import MOST_CONNECTIONS, REQUEST_TIMEOUT, Connection, Front
from leasekeeper.local.hosts import AllowedHosts

if TYPE_CHECKING:
    import socket

    from leasekeeper.local.broker import Broker
    from leasekeeper.local.s3 import S3


_OTHER_FILES = 64
"""Files that the process needs besides its connections."""


def check_host(host: str, *, anywhere: bool) -> None:
    """Refuse a host that other machines can reach, unless `anywhere`.

    Raises:
        ConfigurationError: other machines can reach it.
    """
    try:
        loopback = host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        loopback = False
    if not loopback and not anywhere:
        raise ConfigurationError(
            f"host={host!r} can be reached from other machines, and this server accepts calls from all of them: "
            "use 127.0.0.1, or allow it (anywhere=True, --anywhere)"
        )


def _affordable(connections: int) -> int:
    """`connections`, or fewer if the process may not open so many files."""
    try:
        from resource import RLIM_INFINITY, RLIMIT_NOFILE, getrlimit
    except ImportError:  # not on Windows
        return connections
    files, _ = getrlimit(RLIMIT_NOFILE)
    return connections if files == RLIM_INFINITY else max(1, min(connections, files - _OTHER_FILES))


class LocalServer:
    """A server in front of a broker.

    Args:
        broker: what answers the requests.
        host: where to listen; loopback, unless `anywhere`.
        port: 0 takes a free one.
        anywhere: listen on an address that other machines can reach, and accept every name in the Host header.
        require_credentials: refuse requests without an Authorization header. Signatures are never checked.
        most_connections: connections at a time, or fewer if the process may not open so many files; one more is
            answered with 503 and closed.
        request_timeout: seconds from the first byte of a request to its last; then the answer is 408.
    """

    def __init__(
        self,
        broker: Broker,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        anywhere: bool = False,
        require_credentials: bool = False,
        most_connections: int = MOST_CONNECTIONS,
        request_timeout: float = REQUEST_TIMEOUT,
    ) -> None:
        check_host(host, anywhere=anywhere)
        self.broker = broker
        self.host = host
        self.port = port
        self._front = Front(
            broker=broker,
            hosts=AllowedHosts(None if anywhere else frozenset({host.lower()})),
            require_credentials=require_credentials,
            most_connections=_affordable(most_connections),
            request_timeout=request_timeout,
        )
        self._server: asyncio.Server | None = None

    @property
    def endpoint_url(self) -> str:
        """The address for clients: `http://host:port`."""
        return f"http://{f'[{self.host}]' if ':' in self.host else self.host}:{self.port}"

    @property
    def s3(self) -> S3:
        """S3 on the same port."""
        return self._front.s3

    async def open(self, listener: socket.socket | None = None) -> None:
        """Listen. After that, `port` is the real one, and queue URLs contain it.

        Args:
            listener: a socket that listens already, on `host` and `port`.
        """
        loop = asyncio.get_running_loop()
        place: dict[str, Any] = {"host": self.host, "port": self.port} if listener is None else {"sock": listener}
        self._server = await loop.create_server(lambda: Connection(self._front), **place, backlog=1024)
        self.port = self._server.sockets[0].getsockname()[1]
        self.broker.account.base_url = self.endpoint_url

    async def close(self) -> None:
        """Stop listening and cut every connection. May be called twice."""
        if self._server is not None:
            self._server.close()
            await self._front.streams.close()
            for connection in list(self._front.connections):
                connection.cut()
            await self._server.wait_closed()
            self._server = None
        await self.broker.close()

    def __repr__(self) -> str:
        return f"<LocalServer {self.endpoint_url}, {len(self._front.connections)} connections>"
