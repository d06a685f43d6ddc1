"""A transport over aiohttp, for programs that use it already or need its proxies; the extra `aiohttp` installs it.

Owned by the wire, one for receives and one for everything else. It promises what `leasekeeper.api.Transport` promises.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from typing import TYPE_CHECKING, Any

from leasekeeper.api import Response
from leasekeeper.errors import ConfigurationError, SqsError
from leasekeeper.extras import needs
from leasekeeper.sqs.dialing import Dialer, NameNotResolved
from leasekeeper.sqs.http import IDLE_EXPIRY, KEEPALIVE, LONGEST_ANSWER, allowance, failure, silence_of
from leasekeeper.sqs.response import MAX_BODY
from leasekeeper.sqs.tls import client_context

try:
    import aiohttp
    from aiohttp.abc import AbstractResolver, ResolveResult
    from yarl import URL
except ImportError as missing:
    said = needs("http='aiohttp'", "aiohttp", "aiohttp")
    raise ConfigurationError(f"{said}, or leave `http` at 'native'") from missing

if TYPE_CHECKING:
    from collections.abc import Mapping

    from leasekeeper.api import TransportSettings


class AiohttpTransport:
    """A connection pool to one endpoint.

    Args:
        settings: how to reach the endpoint.

    Raises:
        ConfigurationError: the CA bundle cannot be used.
    """

    __slots__ = ("_resolver", "_session", "_settings", "_url")

    def __init__(self, settings: TransportSettings) -> None:
        self._settings = settings
        self._url = URL(settings.url)
        self._resolver = _Resolver()
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                limit=0,
                keepalive_timeout=IDLE_EXPIRY,
                ssl=_tls(settings),
                socket_factory=_socket,
                resolver=self._resolver,
            ),
            headers=settings.headers,
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            skip_auto_headers=("Accept-Encoding",),
            trust_env=False,
        )

    async def post(self, body: bytes, headers: Mapping[str, str], timeout: float) -> Response:  # noqa: ASYNC109 - see `Transport`
        """As `Transport.post`."""
        start = asyncio.get_running_loop().time() + allowance(timeout, body)
        try:
            async with (
                asyncio.timeout_at(start) as limit,
                self._session.post(
                    self._url,
                    data=body,
                    headers=headers,
                    timeout=aiohttp.ClientTimeout(total=None, connect=self._settings.connect_timeout),
                    proxy=self._settings.proxy,
                    allow_redirects=False,
                ) as answer,
            ):
                return Response(answer.status, answer.headers.get, await self._body(answer, limit, start, timeout))
        except (aiohttp.ClientError, TimeoutError, OSError, RuntimeError, ValueError) as error:
            if isinstance(error, RuntimeError) and not self._session.closed:
                raise
            if isinstance(error, aiohttp.ConnectionTimeoutError) and self._resolver.resolving:
                limit_text = f"no answer from the resolver in {self._settings.connect_timeout:g} s"
                raise failure("NameNotResolved", self._settings.url, limit_text) from error
            raise _translated(error, self._settings.url) from error

    async def _body(
        self,
        answer: aiohttp.ClientResponse,
        limit: asyncio.Timeout,
        start: float,
        timeout: float,  # noqa: ASYNC109
    ) -> bytearray:
        """The body, as long as its bytes keep arriving; the limit moves with them."""
        now, latest, silence = asyncio.get_running_loop().time, start + LONGEST_ANSWER, silence_of(timeout)
        body = bytearray()
        if (answer.content_length or 0) > MAX_BODY:
            raise _too_long(answer)
        async for part in answer.content.iter_any():
            limit.reschedule(max(start, min(now() + silence, latest)))
            body += part
            if len(body) > MAX_BODY:
                raise _too_long(answer)
        return body

    async def close(self) -> None:
        """As `Transport.close`."""
        await self._session.close()


class _Resolver(AbstractResolver):
    """Resolves names in threads of ours: aiohttp's own resolver uses the loop's executor, which holds up the exit."""

    def __init__(self) -> None:
        self._dialers: dict[tuple[str, int], Dialer] = {}

    @property
    def resolving(self) -> bool:
        """Whether a look-up is still to end."""
        return any(each.resolving for each in self._dialers.values())

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        return [
            ResolveResult(hostname=host, host=place[0], port=place[1], family=of, proto=0, flags=socket.AI_NUMERICHOST)
            for of, place in await self._dialers.setdefault((host, port), Dialer(host, port)).addresses()
            if family in {socket.AF_UNSPEC, of}
        ]

    async def close(self) -> None:
        """Nothing is held."""


def _too_long(answer: aiohttp.ClientResponse) -> aiohttp.ClientResponseError:
    return aiohttp.ClientResponseError(answer.request_info, (), message=f"a body of more than {MAX_BODY:,} bytes")


def _tls(settings: TransportSettings) -> ssl.SSLContext | bool:
    if settings.url.startswith("http:") and (settings.ca_bundle is None or settings.proxy is None):
        return True  # a context takes a tenth of a second to make, and this one would not be used
    return client_context(settings)


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
        case aiohttp.ClientConnectorDNSError() | NameNotResolved():
            code = "NameNotResolved"
        case aiohttp.ClientConnectorError() | ssl.SSLError():
            code = "ConnectError"
        case aiohttp.ServerDisconnectedError() | aiohttp.ClientOSError() | ConnectionError():
            code = "ConnectionReset"
        case aiohttp.ClientResponseError() | ValueError():
            code = "Garbage"
        case RuntimeError():
            code = "Closed"
        case _:
            code = "ConnectError"
    # Not its `repr`: that shows the proxy's password.
    return failure(code, url, f"{type(error).__name__}: {error}")
