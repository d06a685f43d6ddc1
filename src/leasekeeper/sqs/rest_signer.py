"""Signature Version 4 for requests of any method, path and query; the body is signed too.

Owned by the clients of S3 and of EventBridge Scheduler. It promises the bytes that botocore's signer of S3 would make.
"""

from __future__ import annotations

import hmac
import time
from email.utils import parsedate_to_datetime
from hashlib import sha256
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import quote

from leasekeeper.sqs.signer import TOLERANCE, signing_key

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from leasekeeper.api import Credentials

SAFE = "-_.~"
"""Characters that are not quoted, beside letters and digits."""


def path_of(key: str) -> str:
    """A key as the path of a URL."""
    return "/" + quote(key, safe=f"/{SAFE}")


class Request(NamedTuple):
    """A request to a service of AWS that is not SQS."""

    method: str
    path: str
    """Quoted."""
    query: str = ""
    """Quoted, its members sorted; each has a `=`."""
    headers: Mapping[str, str] = {}
    """By names in lower case."""
    body: bytes = b""


class RestSigner:
    """Signs requests for one region.

    Args:
        region: the region.
        service: of whose requests; of others than S3, the paths have no characters that are quoted.
        session_token: whether to send the session token of temporary credentials.
        clock: epoch seconds.
    """

    def __init__(
        self,
        region: str,
        *,
        service: str = "s3",
        session_token: bool = True,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._region = region
        self._service = service
        self._session_token = session_token
        self._clock = clock
        self._skew = 0.0
        self._key_of = ("", "")
        self._key = b""

    def sign(self, credentials: Credentials, host: str, request: Request) -> dict[str, str]:
        """The headers of a request to that host (as in the Host header)."""
        moment = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(self._clock() + self._skew))
        digest = sha256(request.body).hexdigest()
        sent = {**request.headers, "x-amz-content-sha256": digest, "x-amz-date": moment}
        if credentials.token is not None and self._session_token:
            sent["x-amz-security-token"] = credentials.token
        signed = dict(sorted({**sent, "host": host}.items()))
        names = ";".join(signed)
        lines = "".join(f"{name}:{' '.join(value.split())}\n" for name, value in signed.items())
        canonical = f"{request.method}\n{request.path}\n{request.query}\n{lines}\n{names}\n{digest}"
        day = moment[:8]
        scope = f"{day}/{self._region}/{self._service}/aws4_request"
        if (credentials.secret_key, day) != self._key_of:
            self._key = signing_key(credentials.secret_key, day, self._region, self._service)
            self._key_of = (credentials.secret_key, day)
        text = f"AWS4-HMAC-SHA256\n{moment}\n{scope}\n{sha256(canonical.encode()).hexdigest()}"
        signature = hmac.digest(self._key, text.encode(), "sha256").hex()
        sent["Authorization"] = (
            f"AWS4-HMAC-SHA256 Credential={credentials.access_key}/{scope}, SignedHeaders={names}, "
            f"Signature={signature}"
        )
        return sent

    def adjust_clock(self, date: str | None) -> bool:
        """Sign by the server's clock from now on, if ours is far off; whether it was."""
        try:
            theirs = parsedate_to_datetime(date or "").timestamp()
        except (ValueError, OverflowError):
            return False
        if abs(theirs - self._clock() - self._skew) < TOLERANCE:
            return False
        self._skew = theirs - self._clock()
        return True
