"""Signature Version 4 for the one kind of request we make: POST of the SQS JSON protocol to one endpoint.

Owned by the wire. It promises the bytes that botocore's signer would make, at a tenth of the cost: whatever does not
change from call to call is prepared once, per second or per day.
"""

from __future__ import annotations

import hmac
import time
from email.utils import parsedate_to_datetime
from hashlib import sha256
from typing import TYPE_CHECKING
from urllib.parse import quote, urlsplit

if TYPE_CHECKING:
    from collections.abc import Callable
    from hashlib import _Hash

    from penstock.sqs.credentials import Credentials

CONTENT_TYPE = "application/x-amz-json-1.0"
TOLERANCE = 240.0
"""Seconds that our clock may differ from the server's."""
_PORTS = {"http": 80, "https": 443}


class Signer:
    """Signs the calls of one endpoint in one region.

    Args:
        endpoint: the URL that is posted to.
        region: the region the signature is made for.
        clock: epoch seconds; SQS refuses signatures whose time is minutes off its own.
    """

    def __init__(self, endpoint: str, region: str, *, clock: Callable[[], float] = time.time) -> None:
        self.region = region
        self._clock = clock
        self._skew = 0.0  # seconds that the server's clock is ahead of ours
        self._head = f"POST\n{_canonical_path(endpoint)}\n\ncontent-type:{CONTENT_TYPE}\nhost:{host_of(endpoint)}\n"
        self._second = -1
        self._date = ""
        self._scope = ""
        self._inner, self._outer = _padded(b"")
        self._key_of = ("", "")

    def sign(self, credentials: Credentials, operation: str, body: bytes) -> dict[str, str]:
        """The headers that change from call to call, for a POST of `body`; the rest are `fixed_headers`."""
        if (second := int(self._clock() + self._skew)) != self._second:
            self._turn_to(second)
        day = self._date[:8]
        if (credentials.secret_key, day) != self._key_of:
            self._inner, self._outer = _padded(signing_key(credentials.secret_key, day, self.region))
            self._key_of = (credentials.secret_key, day)
        target = f"AmazonSQS.{operation}"
        if (token := credentials.token) is None:
            of_token, named = "", "content-type;host;x-amz-date;x-amz-target;x-amzn-query-mode"
        else:
            of_token = f"x-amz-security-token:{token}\n"
            named = "content-type;host;x-amz-date;x-amz-security-token;x-amz-target;x-amzn-query-mode"
        canonical = (
            f"{self._head}x-amz-date:{self._date}\n{of_token}x-amz-target:{target}\nx-amzn-query-mode:true\n\n"
            f"{named}\n{sha256(body).hexdigest()}"
        )
        to_sign = f"AWS4-HMAC-SHA256\n{self._date}\n{self._scope}\n{sha256(canonical.encode()).hexdigest()}"
        # HMAC by its definition, the padded key hashed beforehand: a third of the time of `hmac.digest`, which also
        # lets go of the GIL, and then waits for whichever handler has taken it.
        inner, outer = self._inner.copy(), self._outer.copy()
        inner.update(to_sign.encode())
        outer.update(inner.digest())
        signature = outer.hexdigest()
        authorization = (
            f"AWS4-HMAC-SHA256 Credential={credentials.access_key}/{self._scope}, "
            f"SignedHeaders={named}, Signature={signature}"
        )
        headers = {"X-Amz-Target": target, "X-Amz-Date": self._date, "Authorization": authorization}
        if token is not None:
            headers["X-Amz-Security-Token"] = token
        return headers

    def heed(self, date: str | None) -> bool:
        """Take over the server's clock from the Date header of a refusal; whether ours was more than 4 minutes off it.

        SQS refuses signatures of more than about five minutes away, and a machine that slept may be hours away.
        """
        try:
            theirs = parsedate_to_datetime(date or "").timestamp()
        except ValueError:
            return False
        if abs(theirs - self._clock() - self._skew) < TOLERANCE:
            return False
        self._skew = theirs - self._clock()
        return True

    def _turn_to(self, second: int) -> None:
        self._second = second
        self._date = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(second))
        self._scope = f"{self._date[:8]}/{self.region}/sqs/aws4_request"


def signing_key(secret_key: str, day: str, region: str) -> bytes:
    """The key derived from a secret for one day (`YYYYMMDD`) and region (AWS Signature Version 4)."""
    key = b"AWS4" + secret_key.encode()
    for part in (day, region, "sqs", "aws4_request"):
        key = hmac.digest(key, part.encode(), "sha256")
    return key


def _padded(key: bytes) -> tuple[_Hash, _Hash]:
    """What an HMAC with this key (at most 64 bytes) begins with: RFC 2104's inner and outer hash, the pads taken in."""
    block = key.ljust(64, b"\0")
    return sha256(bytes(each ^ 0x36 for each in block)), sha256(bytes(each ^ 0x5C for each in block))


def host_of(endpoint: str) -> str:
    """The value of the Host header for a URL: without the port where that is the scheme's own."""
    parts = urlsplit(endpoint)
    host = parts.hostname or ""
    if ":" in host:
        host = f"[{host}]"
    return host if parts.port in {None, _PORTS.get(parts.scheme)} else f"{host}:{parts.port}"


def _canonical_path(endpoint: str) -> str:
    return quote(urlsplit(endpoint).path or "/", safe="/~")
