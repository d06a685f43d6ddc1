"""What both transports share: limits of time, and the errors that a call over HTTP can end with.

Two transports exist: `http_native` (the default) and `http_aiohttp`. Both promise: one POST for a call, no
redirects, no cookies, HTTP/1.1, idle connections closed before SQS closes them, and an `SqsError` for every failure.
"""

from __future__ import annotations

from urllib.parse import urlsplit

from leasekeeper.errors import SqsError, Verdict
from leasekeeper.sqs.urls import redacted

IDLE_EXPIRY = 12.0
"""Seconds for which an idle connection is kept; SQS is said to close its end after 20."""
KEEPALIVE = 30.0
"""Seconds of silence before TCP probes a connection, so that a dead peer does not cost a whole time-out."""
SILENCE = 5.0
"""Seconds without a byte after which an answer that has begun is given up."""
LONGEST_ANSWER = 60.0
"""Seconds that an answer may take beyond a call's time-out while its bytes keep arriving."""
SLOWEST_UPLOAD = 100_000
"""Bytes per second of the slowest network that the time-out allows for: 1 MiB gets 10 s more."""
_DETAIL = 400
"""Characters of a detail that are shown."""


def silence_of(timeout: float) -> float:
    """Seconds without a byte after which an answer that has begun is given up, for a call with that time-out."""
    return min(timeout, SILENCE)


def allowance(timeout: float, body: bytes) -> float:
    """Seconds until an answer must begin: the time-out, and the time that the request takes on a slow network."""
    return timeout + len(body) / SLOWEST_UPLOAD


def failure(code: str, url: str, detail: object) -> SqsError:
    """The error of a call that got no answer.

    Args:
        code: `NameNotResolved`, `ConnectError`, `ConnectTimeout`, `ReadTimeout`, `ConnectionReset` (no byte of an
            answer had arrived), `Truncated` (the answer broke off), `Garbage` (what arrived is not HTTP) or `Closed`.
        url: the URL that was posted to.
        detail: what is known about it; shown without secrets, cut to 400 characters.
    """
    shown = redacted(str(detail))[:_DETAIL]
    if any(reason in shown for reason in _PLAIN):
        shown += ": the server does not speak TLS on this port; write http:// in the endpoint URL if that is right"
    elif any(reason in shown for reason in _UNKNOWN):
        shown += (
            ": nothing that this machine trusts has signed the certificate; set AWS_CA_BUNDLE to the PEM file of the "
            "authority that has"
        )
    elif "Connect call failed" in shown and urlsplit(url).hostname in _LOOPBACK:
        shown += "; the server is on this machine: is it running?"
    return SqsError(Verdict.UNAVAILABLE, code, f"{redacted(url)} {_ADVICE[code]} ({shown})")


_PLAIN = ("WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE")  # what OpenSSL says when the other side sends plain text
_UNKNOWN = ("self-signed certificate", "self signed certificate", "unable to get local issuer certificate")
"""What OpenSSL says of certificates, in its versions 3 and 1, whose authority is not among the trusted ones."""
_LOOPBACK = ("localhost", "127.0.0.1", "::1")
_ADVICE = {
    "NameNotResolved": "has a host name that cannot be resolved: check its spelling, the region, and DNS",
    "ConnectError": "cannot be reached: check the endpoint URL, the network route and any proxy or TLS settings",
    "ConnectTimeout": "did not accept a connection in time: check security groups, VPC endpoints and any proxy",
    "ReadTimeout": "did not answer in time: if this goes on, check the network path and the service's health",
    "ConnectionReset": "closed the connection before it answered: temporary, unless it happens at every call",
    "Truncated": "broke off in the middle of its answer: temporary, unless it happens at every call",
    "Garbage": "did not answer in HTTP: check that the endpoint URL, its scheme and port are those of SQS",
    "Closed": "was not called: this client is closed",
}
