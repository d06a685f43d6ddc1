"""Asking another admin surface: one HTTP request over TCP or a Unix socket, in bounded time.

Used by fleets and by the surface of a supervisor. It needs no library: a surface answers with one body, and closes the
connection.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from contextlib import suppress
from ipaddress import ip_address
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import urlsplit

from leasekeeper.admin.address import LOOPBACK
from leasekeeper.errors import ConfigurationError, LeasekeeperError, Unusable
from leasekeeper.sqs.urls import redacted

if TYPE_CHECKING:
    from collections.abc import Mapping

UNIX = "unix:"
WITHIN = 2.0
"""Seconds for a whole request."""
LARGEST = 64 * 2**20
"""Bytes of an answer that are read at most."""


class Answer(NamedTuple):
    """What a surface answered."""

    status: int
    body: bytes


class Unreachable(Unusable):
    """A surface did not answer, or not as one."""


class Exposed(LeasekeeperError):
    """A secret would go over the network where others could read it."""


class Place(NamedTuple):
    """Where a surface listens.

    Attributes:
        text: as it was given.
        path: of a Unix socket; empty for TCP.
        host: of TCP.
        port: of TCP.
        prefix: what stands before every path, where it is mounted; without a slash at the end.
        secure: whether it is https.
    """

    text: str
    path: str = ""
    host: str = "localhost"
    port: int = 0
    prefix: str = ""
    secure: bool = False

    @classmethod
    def parse(cls, text: str) -> Place:
        """Read `http://10.0.0.7:9900`, `10.0.0.7:9900`, a port of this machine or `unix:/run/consumers/1.sock`.

        Raises:
            ConfigurationError: it is none of these.
        """
        if text.startswith(UNIX):
            path = text.removeprefix(UNIX)
            path = path.removeprefix("//")
            if not path.startswith("/"):
                raise ConfigurationError(f"{text!r}: give the whole path of the socket, e.g. unix:/run/orders.sock")
            return cls(text, path=path)
        shown = redacted(f"//{text}")[2:]
        wrong = (
            f"{shown!r} is not the address of an admin surface: give http://HOST:PORT, HOST:PORT, PORT or unix:/PATH"
        )
        try:
            alone = text.removeprefix(":")  # `9900` and `:9900` are ports, as in `--admin`
            address = f"{LOOPBACK}:{alone}" if alone.isascii() and alone.isdigit() else text
            url = urlsplit(address if "://" in address else f"http://{address}")
            host, port = url.hostname, url.port
        except ValueError:
            raise ConfigurationError(wrong) from None
        if url.scheme not in {"http", "https"} or not host or any(map(str.isspace, host)):
            raise ConfigurationError(wrong)
        if "@" in url.netloc:  # the address is shown to all who read the surface
            raise ConfigurationError(f"{shown!r} holds a user or a password, and a surface asks for none: leave it out")
        secure = url.scheme == "https"
        return cls(text, host=host, port=port or (443 if secure else 9900), prefix=url.path.rstrip("/"), secure=secure)

    @property
    def private(self) -> bool:
        """Whether the network cannot read what is sent there: it goes over https, or stays on this machine."""
        if self.path or self.secure or self.host == "localhost":
            return True
        with suppress(ValueError):
            return ip_address(self.host).is_loopback
        return False

    @property
    def authority(self) -> str:
        """What stands in the header `Host`."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}" if self.port else host


async def ask(
    place: Place,
    path: str,
    *,
    method: str = "GET",
    body: bytes = b"",
    headers: Mapping[str, str] | None = None,
    within: float | None = None,
) -> Answer:
    """The answer of a surface; `within` is in seconds, and `WITHIN` if it is None.

    Raises:
        Unreachable: there was no answer in time, or none of HTTP.
    """
    within = WITHIN if within is None else within
    try:
        async with asyncio.timeout(within):
            return await _ask(place, path, method, body, headers or {})
    except TimeoutError:
        raise Unreachable(f"no answer within {within:g} s") from None
    except (OSError, ValueError, EOFError) as error:  # also what TLS and a broken answer raise
        raise Unreachable(_why(error)) from error


def _why(error: Exception) -> str:
    if isinstance(error, ConnectionRefusedError):
        return "the connection was refused: nothing listens there; is the process running, with --admin?"
    if isinstance(error, FileNotFoundError):
        return "its socket does not exist"
    if isinstance(error, socket.gaierror):
        return f"its host name cannot be resolved ({error.strerror}): check its spelling, and DNS"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror.lower() if error.strerror.istitle() else error.strerror
    return str(error) or type(error).__name__


async def _ask(place: Place, path: str, method: str, body: bytes, headers: Mapping[str, str]) -> Answer:
    if place.path:
        reader, writer = await asyncio.open_unix_connection(place.path)
    else:
        tls = ssl.create_default_context() if place.secure else None
        reader, writer = await asyncio.open_connection(place.host, place.port, ssl=tls)
    try:
        lines = {"Host": place.authority, "Connection": "close", "Content-Length": str(len(body)), **headers}
        # HTTP/1.0, so that no answer comes in chunks.
        head = f"{method} {place.prefix}{path} HTTP/1.0\r\n" + "".join(f"{k}: {v}\r\n" for k, v in lines.items())
        writer.write(head.encode("latin-1") + b"\r\n" + body)
        await writer.drain()
        status = await reader.readline()
        version, _, code = status.partition(b" ")
        if not version.startswith(b"HTTP/") or not code[:3].isdigit():
            raise ValueError("what answers there does not speak HTTP")
        while (line := await reader.readline()) not in (b"\r\n", b"\n"):
            if not line:
                raise EOFError("the answer was cut off")
        content = bytearray()
        while piece := await reader.read(2**18):
            content += piece
            if len(content) > LARGEST:
                raise ValueError(f"its answer has more than {LARGEST:,} bytes")
        return Answer(int(code[:3]), bytes(content))
    finally:
        writer.close()
