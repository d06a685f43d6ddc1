"""A transport over aiohttp, for those who have it anyway or need its proxies; the extra `aiohttp` installs it.

Owned by the wire, one for polls and one for everything else. It promises what `http.Transport` promises.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from typing import TYPE_CHECKING, Any

from leasekeeper.api import Response
from leasekeeper.errors import ConfigurationError, SqsError
from leasekeeper.sqs.http import IDLE_EXPIRY, KEEPALIVE, failure
from leasekeeper.sqs.tls import client_context

try:
    import aiohttp
    from yarl import URL
except ImportError as missing:
    raise ConfigurationError(
        "http='aiohttp' needs the library aiohttp: pip install aiohttp, or leave `http` at 'native'"
    ) from missing

if TYPE_CHECKING:
    from collections.abc import Mapping

    from leasekeeper.api import TransportSettings


class AiohttpTransport:
    """A connection pool to one endpoint.

    Args:
        connecting: how the endpoint is reached.

    Raises:
        ConfigurationError: the CA bundle cannot be used.
    """

    __slots__ = ("_connecting", "_session", "_url")

    def __init__(self, connecting: TransportSettings) -> None:
        self._connecting = connecting
        self._url = URL(connecting.url)
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                limit=0, keepalive_timeout=IDLE_EXPIRY, ssl=_tls(connecting), socket_factory=_socket
            ),
            headers=connecting.headers,
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            skip_auto_headers=("Accept-Encoding",),
            trust_env=False,
        )

    async def post(self, body: bytes, headers: Mapping[str, str], timeout: float) -> Response:  # noqa: ASYNC109 - see `Transport`
        """As `Transport.post`."""
        limit = aiohttp.ClientTimeout(total=timeout, connect=self._connecting.connect_timeout)
        try:
            async with self._session.post(
                self._url,
                data=body,
                headers=headers,
                timeout=limit,
                proxy=self._connecting.proxy,
                allow_redirects=False,
            ) as answer:
                return Response(answer.status, answer.headers.get, await answer.read())
        except (aiohttp.ClientError, TimeoutError, OSError, RuntimeError) as error:
            if isinstance(error, RuntimeError) and not self._session.closed:
                raise
            raise _translated(error, self._connecting.url) from error

    async def close(self) -> None:
        """As `Transport.close`."""
        await self._session.close()


def _tls(connecting: TransportSettings) -> ssl.SSLContext | bool:
    if connecting.ca_bundle is None and connecting.url.startswith("http:"):
        return True  # a context takes a tenth of a second to make, and this one would be for nothing
    return client_context(connecting)


def _socket(address: Any) -> socket.socket:
    family, kind, protocol, _, _ = address
    made = socket.socket(family, kind, protocol)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in (("TCP_KEEPIDLE", KEEPALIVE), ("TCP_KEEPINTVL", KEEPALIVE / 3), ("TCP_KEEPCNT", 3)):
        if (number := getattr(socket, option, None)) is not None:  # not every system has each
            made.setsockopt(socket.IPPROTO_TCP, number, int(value))
    return made


def _translated(error: Exception, url: str) -> SqsError:
    match error:
        case aiohttp.ConnectionTimeoutError():
            code = "ConnectTimeout"
        case TimeoutError() | asyncio.TimeoutError():
            code = "ReadTimeout"
        case aiohttp.ClientPayloadError():
            code = "Truncated"
        case aiohttp.ClientConnectorError() | aiohttp.ClientConnectorDNSError() | ssl.SSLError():
            code = "ConnectError"
        case aiohttp.ServerDisconnectedError() | aiohttp.ClientOSError() | ConnectionError():
            code = "ConnectionReset"
        case aiohttp.ClientResponseError():
            code = "Garbage"
        case RuntimeError():
            code = "Closed"
        case _:
            code = "ConnectError"
    return failure(code, url, repr(error))
