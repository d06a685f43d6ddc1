"""The two-method seam between the wire and an HTTP library.

Two stand behind it: `http_native` (the default) and `http_aiohttp`. Both promise: one POST a call, no
redirects, no cookies, HTTP/1.1, idle connections given up before SQS gives them up, and every failure an `SqsError`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple, Protocol

from leasekeeper.errors import SqsError, Verdict

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

IDLE_EXPIRY = 12.0
"""Seconds an idle connection is kept; SQS is said to close its end after 20."""
KEEPALIVE = 30.0
"""Seconds of silence before TCP probes a connection, so that a dead peer does not cost a whole time-out."""


class Response(NamedTuple):
    """An HTTP answer, read to its end."""

    status: int
    header: Callable[[str], str | None]
    """Looks a header up, whatever its case."""
    body: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Connecting:
    """How a transport reaches its one endpoint.

    Attributes:
        url: what is posted to.
        headers: sent with every call.
        connect_timeout: seconds to establish a connection, TLS included.
        proxy: URL of an HTTP proxy, user and password in it where it asks for them; None connects directly.
        ca_bundle: path of a PEM file with the certificates to trust; None trusts the system's.
        verify: whether the server's certificate is checked.
    """

    url: str
    headers: Mapping[str, str] = field(default_factory=dict)
    connect_timeout: float = 5.0
    proxy: str | None = None
    ca_bundle: str | None = None
    verify: bool = True


class Transport(Protocol):
    """Posts to one endpoint, on one event loop; calls may overlap."""

    async def post(self, body: bytes, headers: Mapping[str, str], timeout: float) -> Response:  # noqa: ASYNC109
        """Post `body` and read the answer, in at most `timeout` seconds all told (the library's own clock).

        Raises:
            SqsError: UNAVAILABLE, with one of the codes of `failure`.
        """
        ...

    async def close(self) -> None:
        """Give back the connections; calls in flight fail. May be called twice."""
        ...


def failure(code: str, url: str, detail: object) -> SqsError:
    """The error of a connection.

    Args:
        code: `ConnectError`, `ConnectTimeout`, `ReadTimeout`, `ConnectionReset` (no byte of an answer had come),
            `Truncated` (the answer broke off), `Garbage` (what came is not HTTP) or `Closed`.
        url: what was posted to.
        detail: what the library said.
    """
    return SqsError(Verdict.UNAVAILABLE, code, f"{url} {_ADVICE[code]} ({detail})")


_ADVICE = {
    "ConnectError": "cannot be reached: check the endpoint URL, DNS, the network route and any proxy or TLS settings",
    "ConnectTimeout": "did not accept a connection in time: check security groups, VPC endpoints and any proxy",
    "ReadTimeout": "did not answer in time: if this goes on, check the network path and the service's health",
    "ConnectionReset": "closed the connection before it answered: passing, unless it happens at every call",
    "Truncated": "broke off in the middle of its answer: passing, unless it happens at every call",
    "Garbage": "did not answer in HTTP: check that the endpoint URL, its scheme and port are those of SQS",
    "Closed": "was not called: this client is closed",
}
