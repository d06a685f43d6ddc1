"""A transport over pyreqwest, which is hyper and rustls (Rust) on a thread of its own.

Owned by the wire, one for polls and one for everything else. It promises what `http.Transport` promises.
"""

from __future__ import annotations

import atexit
import functools
import time
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from pyreqwest.client import ClientBuilder
from pyreqwest.exceptions import (
    BodyDecodeError,
    BuilderError,
    ClientClosedError,
    ConnectTimeoutError,
    DecodeError,
    NetworkError,
    PyreqwestError,
    ReadError,
    RequestError,
    RequestTimeoutError,
)
from pyreqwest.proxy import ProxyBuilder

from leasekeeper.api import Response
from leasekeeper.errors import ConfigurationError, SqsError
from leasekeeper.sqs.http import IDLE_EXPIRY, KEEPALIVE, failure

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pyreqwest.client import Client

    from leasekeeper.api import TransportSettings

PARTING = 0.1
"""Seconds the interpreter's end waits for the library's thread; see `_let_go`."""

_timedelta = functools.lru_cache(maxsize=64)(lambda seconds: timedelta(seconds=seconds))


class PyreqwestTransport:
    """A connection pool to one endpoint.

    Args:
        connecting: how the endpoint is reached.

    Raises:
        ConfigurationError: the CA bundle or the proxy cannot be used.
    """

    __slots__ = ("_client", "_url")

    def __init__(self, connecting: TransportSettings) -> None:
        self._url = connecting.url
        self._client = _client(connecting)

    async def post(self, body: bytes, headers: Mapping[str, str], timeout: float) -> Response:  # noqa: ASYNC109 - see `Transport`
        """As `Transport.post`."""
        try:
            request = self._client.post(self._url).headers(headers).body_bytes(body).timeout(_timedelta(timeout))
            answer = await request.build().send()
            return Response(answer.status, answer.get_header, (await answer.bytes()).to_bytes())
        except PyreqwestError as error:
            raise _translated(error, self._url) from error

    async def close(self) -> None:
        """As `Transport.close`."""
        await self._client.close()


@atexit.register
def _let_go() -> None:
    # The library's thread hands an answer over while it holds the GIL, and gives the GIL back after that. A program
    # that ends upon the answer may finalize the interpreter in between, and Python then aborts the process: 5 to 8 of
    # 100 clean exits, before this. Nothing says when the thread has let go, so we sleep, which leaves it the GIL.
    time.sleep(PARTING)


def _client(connecting: TransportSettings) -> Client:
    try:
        builder = (
            ClientBuilder()
            .http1_only()
            .follow_redirects(enable=False)
            .referer(enable=False)
            .no_proxy()
            .gzip(enable=False)
            .brotli(enable=False)
            .zstd(enable=False)
            .deflate(enable=False)
            .connect_timeout(timedelta(seconds=connecting.connect_timeout))
            .pool_idle_timeout(timedelta(seconds=IDLE_EXPIRY))
            .tcp_keepalive(timedelta(seconds=KEEPALIVE))
            .tcp_keepalive_interval(timedelta(seconds=KEEPALIVE / 3))
            .tcp_keepalive_retries(3)
            .danger_accept_invalid_certs(not connecting.verify)
            .default_headers(connecting.headers)
        )
        if connecting.ca_bundle is not None:
            builder = builder.add_root_certificate_pem(_certificates(connecting.ca_bundle))
        if connecting.proxy is not None:
            builder = builder.proxy(ProxyBuilder.all(connecting.proxy))
        return builder.build()
    except RuntimeError as error:  # the library's threads do not survive a fork, and it says so
        raise ConfigurationError(
            "http='pyreqwest' was used before this process was forked from its parent, and cannot be used in it: start "
            "processes by 'spawn' or 'forkserver', connect only after the fork, or choose http='aiohttp'"
        ) from error
    except (BuilderError, ValueError) as error:
        raise ConfigurationError(
            f"no connection can be set up with proxy={connecting.proxy!r}, ca_bundle={connecting.ca_bundle!r}: {error}"
        ) from error


def _certificates(path: str) -> bytes:
    try:
        content = Path(path).read_bytes()
    except OSError as error:
        raise ConfigurationError(f"ca_bundle={path!r} cannot be read: {error}") from error
    if b"-----BEGIN CERTIFICATE-----" not in content:  # the library takes such a file for an empty bundle
        raise ConfigurationError(f"ca_bundle={path!r} holds no certificate in PEM form")
    return content


def _translated(error: PyreqwestError, url: str) -> SqsError:
    causes = [cause["message"] for cause in (error.details["causes"] or ())] if isinstance(error, RequestError) else []
    # The library calls everything before the answer's first byte "connect"; only its cause tells whether it was.
    connecting = any("(Connect)" in cause for cause in causes)
    match error:
        case ClientClosedError():
            code = "Closed"
        case ConnectTimeoutError() if connecting:
            code = "ConnectTimeout"
        case RequestTimeoutError():
            code = "ReadTimeout"
        case BodyDecodeError() | ReadError():
            code = "Truncated"
        case DecodeError():
            code = "Garbage"
        case NetworkError() if not connecting:
            code = "ConnectionReset"
        case _:
            code = "ConnectError"
    return failure(code, url, causes[-1] if causes else error)
