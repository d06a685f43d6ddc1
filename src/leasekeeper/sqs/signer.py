"""Signature Version 4 for the one kind of request we make: POST of AWS's JSON protocol to one endpoint of a service.

Owned by the wire. It promises the bytes that botocore's signer would make, at a tenth of the cost: what does not
change from call to call is prepared once a second or once a day.
"""

from __future__ import annotations

import hmac
import time
from email.utils import parsedate_to_datetime
from hashlib import sha256
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import quote, urlsplit

from leasekeeper.sqs.services import SQS, Service
from leasekeeper.sqs.urls import host_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from hashlib import _Hash

    from leasekeeper.api import Credentials

CONTENT_TYPE = "application/x-amz-json-1.0"
FIXED_HEADERS = {"Content-Type": CONTENT_TYPE, "x-amzn-query-mode": "true"}
"""Headers of every call; the query mode asks for error codes in the older protocol's spelling too."""
TOLERANCE = 240.0
"""Seconds that our clock may differ from the server's."""


class Signer:
    """Signs the calls of one endpoint in one region.

    Args:
        endpoint: the URL that is posted to.
        region: the region the signature is made for.
        service: what the signature is made for.
        session_token: whether to send the session token of temporary credentials.
        clock: epoch seconds; SQS refuses signatures that are minutes off its clock.
    """

    def __init__(
        self,
        endpoint: str,
        region: str,
        *,
        service: Service = SQS,
        session_token: bool = True,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.region = region
        self._service = service
        self._session_token = session_token
        self._clock = clock
        self._skew = 0.0  # seconds that the server's clock is ahead of ours
        self._head = f"POST\n{_canonical_path(endpoint)}\n\ncontent-type:{CONTENT_TYPE}\nhost:{host_of(endpoint)}\n"
        # What was prepared, and for what: compared at every call, so that nothing stale can be used.
        self._second = -1
        self._credentials: Credentials | None = None
        self._date = ""
        self._scope = ""
        self._key = b""
        self._inner, self._outer = _padded(b"")
        self._key_of = ("", "")
        self._prepared: dict[str, _Prepared] = {}

    def sign(self, credentials: Credentials, operation: str, body: bytes) -> dict[str, str]:
        """The headers that change from call to call, for a POST of `body`; the rest are `FIXED_HEADERS`."""
        second = int(self._clock() + self._skew)
        if second != self._second or credentials is not self._credentials:
            self._turn_to(second, credentials)
        prepared = self._prepared.get(operation) or self._prepare(credentials, operation)
        canonical = prepared.canonical.copy()
        canonical.update(sha256(body).hexdigest().encode())
        # HMAC by its definition, the padded key hashed beforehand: a third of the time of `hmac.digest`, which also
        # releases the GIL, and then waits for the handler that has taken it.
        inner, outer = self._inner.copy(), self._outer.copy()
        inner.update(canonical.hexdigest().encode())
        outer.update(inner.digest())
        return {**prepared.headers, "Authorization": f"{prepared.authorization}{outer.hexdigest()}"}

    def _turn_to(self, second: int, credentials: Credentials) -> None:
        """Prepare what all calls of one second have in common."""
        self._date = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(second))
        day = self._date[:8]
        self._scope = f"{day}/{self.region}/{self._service.signing_name}/aws4_request"
        if (credentials.secret_key, day) != self._key_of:
            self._key = signing_key(credentials.secret_key, day, self.region, self._service.signing_name)
            self._key_of = (credentials.secret_key, day)
        self._inner, self._outer = _padded(self._key)
        self._inner.update(f"AWS4-HMAC-SHA256\n{self._date}\n{self._scope}\n".encode())
        self._second, self._credentials = second, credentials
        self._prepared.clear()

    def _prepare(self, credentials: Credentials, operation: str) -> _Prepared:
        """Prepare what all calls of one operation within this second have in common."""
        target = f"{self._service.target}.{operation}"
        headers = {"X-Amz-Target": target, "X-Amz-Date": self._date}
        if (token := credentials.token) is None or not self._session_token:
            of_token, named = "", "content-type;host;x-amz-date;x-amz-target;x-amzn-query-mode"
        else:
            headers["X-Amz-Security-Token"] = token
            of_token = f"x-amz-security-token:{token}\n"
            named = "content-type;host;x-amz-date;x-amz-security-token;x-amz-target;x-amzn-query-mode"
        canonical = (
            f"{self._head}x-amz-date:{self._date}\n{of_token}x-amz-target:{target}\nx-amzn-query-mode:true\n\n{named}\n"
        )
        authorization = (
            f"AWS4-HMAC-SHA256 Credential={credentials.access_key}/{self._scope}, SignedHeaders={named}, Signature="
        )
        prepared = self._prepared[operation] = _Prepared(sha256(canonical.encode()), headers, authorization)
        return prepared

    def adjust_clock(self, date: str | None) -> bool:
        """Sign by the server's clock, given by the Date header of a refusal, if ours is more than 4 minutes off.

        SQS refuses signatures that are more than about five minutes old, and a machine that slept may be hours off.

        Returns:
            Whether the clock was off.
        """
        try:
            theirs = parsedate_to_datetime(date or "").timestamp()
            time.gmtime(theirs)
        except (ValueError, OverflowError, OSError):  # of a date that is none, or one beyond the year 9999
            return False
        if abs(theirs - self._clock() - self._skew) < TOLERANCE:
            return False
        self._skew = theirs - self._clock()
        return True


class _Prepared(NamedTuple):
    """What all calls of an operation within one second have in common: all but what follows from the body."""

    canonical: _Hash
    """The hash of the canonical request up to the hash of the body, which comes last."""
    headers: dict[str, str]
    authorization: str
    """The header up to the signature, which comes last."""


def signing_key(secret_key: str, day: str, region: str, service: str = SQS.signing_name) -> bytes:
    """The key derived from a secret for one day (`YYYYMMDD`), region and service (AWS Signature Version 4)."""
    key = b"AWS4" + secret_key.encode()
    for part in (day, region, service, "aws4_request"):
        key = hmac.digest(key, part.encode(), "sha256")
    return key


def _padded(key: bytes) -> tuple[_Hash, _Hash]:
    """The inner and outer hash of an HMAC with this key (at most 64 bytes), with the pads taken in (RFC 2104)."""
    block = key.ljust(64, b"\0")
    return sha256(bytes(each ^ 0x36 for each in block)), sha256(bytes(each ^ 0x5C for each in block))


def _canonical_path(endpoint: str) -> str:
    return quote(urlsplit(endpoint).path or "/", safe="/~")
