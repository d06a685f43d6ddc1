"""What both transports share: how long connections are kept, and the errors that a call over HTTP can end with.

Two transports exist: `http_native` (the default) and `http_aiohttp`. Both promise: one POST for a call, no
redirects, no cookies, HTTP/1.1, idle connections closed before SQS closes them, and an `SqsError` for every failure.
"""

from __future__ import annotations

from leasekeeper.errors import SqsError, Verdict

IDLE_EXPIRY = 12.0
"""Seconds for which an idle connection is kept; SQS is said to close its end after 20."""
KEEPALIVE = 30.0
"""Seconds of silence before TCP probes a connection, so that a dead peer does not cost a whole time-out."""


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
