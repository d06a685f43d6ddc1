"""What an error means: codes, shapes and sentences of SQS turned into a `Verdict`.

Owned by the client and shared with the local client. It promises one verdict for one error, whether its query code or
its JSON shape names it, and whether it came for a call or an entry; and that only SQS itself, in its own form, can say
that a call will never succeed: what a proxy answers in between is temporary.
"""

from __future__ import annotations

import time
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING

import msgspec

from leasekeeper.api import EntryFailure
from leasekeeper.errors import SqsError, Verdict
from leasekeeper.sqs import tolerant
from leasekeeper.texts import bounded, printable

if TYPE_CHECKING:
    from collections.abc import Mapping

EXCERPT = 200
"""Characters of an answer that is not of SQS that its error quotes."""

# Keyed by the code without namespace, `AWS.SimpleQueueService.` and a final `Exception`: the query code and the JSON
# shape of one error then mostly read alike, and local servers that mix the two spellings are understood as well.
_BY_CODE: Mapping[str, Verdict] = {
    "RequestThrottled": Verdict.THROTTLED,
    "RequestThrottling": Verdict.THROTTLED,
    "Throttling": Verdict.THROTTLED,
    "Throttled": Verdict.THROTTLED,
    "SlowDown": Verdict.THROTTLED,
    "RequestLimitExceeded": Verdict.THROTTLED,
    "BandwidthLimitExceeded": Verdict.THROTTLED,
    "ProvisionedThroughputExceeded": Verdict.THROTTLED,  # of DynamoDB
    "TransactionInProgress": Verdict.THROTTLED,
    "KMS.Throttling": Verdict.THROTTLED,
    "KmsThrottled": Verdict.THROTTLED,
    "InternalError": Verdict.UNAVAILABLE,
    "InternalFailure": Verdict.UNAVAILABLE,
    "InternalServerError": Verdict.UNAVAILABLE,
    "InternalServiceError": Verdict.UNAVAILABLE,
    "ServiceUnavailable": Verdict.UNAVAILABLE,
    "RequestTimeout": Verdict.UNAVAILABLE,
    "OverLimit": Verdict.OVER_LIMIT,
    "NonExistentQueue": Verdict.MISSING,
    "QueueDoesNotExist": Verdict.MISSING,
    "InvalidAddress": Verdict.MISSING,
    "ResourceNotFound": Verdict.MISSING,
    "AuthorizationError": Verdict.DENIED,
    "Forbidden": Verdict.DENIED,
    "IncompleteSignature": Verdict.DENIED,
    "InvalidSecurity": Verdict.DENIED,
    "InvalidSignature": Verdict.DENIED,
    "MissingAuthenticationToken": Verdict.DENIED,
    "NotAuthorized": Verdict.DENIED,
    "OptInRequired": Verdict.DENIED,
    "RequestExpired": Verdict.DENIED,
    "RequestTimeTooSkewed": Verdict.DENIED,
    "SignatureDoesNotMatch": Verdict.DENIED,
    "UnauthorizedOperation": Verdict.DENIED,
    "PurgeQueueInProgress": Verdict.REFUSED,
    "QueueDeletedRecently": Verdict.REFUSED,
    "AuthFailure": Verdict.CREDENTIALS,
    "InvalidAccessKeyId": Verdict.CREDENTIALS,
    "InvalidClientTokenId": Verdict.CREDENTIALS,
    "InvalidToken": Verdict.CREDENTIALS,
    "TokenRefreshRequired": Verdict.CREDENTIALS,
    "MessageNotInflight": Verdict.LEASE_LOST,
    "ReceiptHandleIsInvalid": Verdict.LEASE_LOST,
    "InvalidIdFormat": Verdict.LEASE_LOST,  # DeleteMessage's other word for a receipt it cannot read
}
_NOT_SQS = "not an error of SQS: check that the endpoint is SQS, and any proxy in between"
LONGEST_RETRY_AFTER = 60.0
"""The most seconds that a `Retry-After` counts for."""
_MESSAGE = 2_000
"""Characters of an error's sentence that are kept: it may quote a receipt of a thousand."""
_CODE = 200
# Families without a recorded spelling on the JSON endpoints.
_BY_PREFIX: tuple[tuple[str, Verdict], ...] = (
    ("AccessDenied", Verdict.DENIED),
    ("ExpiredToken", Verdict.CREDENTIALS),
    ("UnrecognizedClient", Verdict.CREDENTIALS),
    ("TooManyRequests", Verdict.THROTTLED),
    ("KMS.", Verdict.DENIED),
    ("Kms", Verdict.DENIED),
)
# SQS says InvalidParameterValue for a bug of the caller and for a lost lease; only its sentence says which.
_BY_SENTENCE: tuple[tuple[str, Verdict], ...] = (
    ("total visibilitytimeout for the message is beyond the limit", Verdict.LEASE_CAPPED),
    ("receipt handle has expired", Verdict.LEASE_LOST),
    ("does not exist or is not available for visibility timeout change", Verdict.LEASE_LOST),
    ("is not a valid receipt handle", Verdict.LEASE_LOST),
    ("is not valid for this queue", Verdict.LEASE_LOST),
)


class _ErrorBody(msgspec.Struct, gc=False):
    """The body of an error; AWS writes `message`, some shapes and servers `Message`."""

    type: str = msgspec.field(name="__type", default="")
    message: str | None = None
    Message: str | None = None


class FailedEntry(msgspec.Struct, gc=False, rename="pascal"):
    """One element of a batch answer's `Failed`."""

    id: str
    code: str = ""
    message: str | None = None
    sender_fault: bool = True

    def failure(self) -> EntryFailure:
        """The failure in our types: for an unknown code SQS says whether it is the sender's fault or the server's."""
        message = bounded(self.message or "", _MESSAGE)
        verdict = verdict_of(self.code, message, 400 if self.sender_fault and self.code else 500)
        return EntryFailure(verdict, bounded(self.code, _CODE), message, self.sender_fault)


_error_body = msgspec.json.Decoder(_ErrorBody)


def verdict_of(code: str, message: str, status: int) -> Verdict:
    """What an error that SQS names means for the caller.

    Args:
        code: the query code (`AWS.SimpleQueueService.NonExistentQueue`) or the JSON shape
            (`com.amazonaws.sqs#QueueDoesNotExist`).
        message: the sentence that came with it; it decides between the several meanings of `InvalidParameterValue`.
        status: the HTTP status. It decides when the code is not known.
    """
    return _known(code, message) or _by_status(status)


def error_of(
    operation: str,
    status: int,
    body: bytes | bytearray,
    *,
    query_error: str = "",
    request_id: str = "",
    retry_after: str = "",
) -> SqsError:
    """The error that an HTTP answer other than 200 stands for.

    Args:
        operation: the API call.
        status: the HTTP status.
        body: the answer's body: JSON, empty, or the page of a proxy.
        query_error: the header `x-amzn-query-error`, `<query code>;<Sender or Receiver>`.
        request_id: the header `x-amzn-RequestId`.
        retry_after: the header `Retry-After`.
    """
    code = query_error.partition(";")[0]
    shape, message = _read(body)
    name = shape.rpartition("#")[2]
    if code or name:
        verdict = _known(code, message) or _known(name, message) or _by_status(status)
    else:  # a page of a proxy, a redirect, an empty answer: SQS itself has said nothing about the call
        verdict = Verdict.THROTTLED if status == 429 else Verdict.UNAVAILABLE
        message = f"{message or 'an answer without a body'} ({_NOT_SQS})"
    return SqsError(
        verdict,
        bounded(code or name, _CODE) or f"HTTP{status}",
        message,
        operation=operation,
        status=status,
        request_id=bounded(request_id, _CODE),
        retry_after=_seconds(retry_after),
    )


def _seconds(retry_after: str) -> float:
    """The seconds that a `Retry-After` asks for, 0 to 60; 0 for what is no number and no date (RFC 9110, 10.2.3)."""
    if retry_after.isdecimal() and retry_after.isascii():
        return min(float(retry_after[:5]), LONGEST_RETRY_AFTER)
    try:
        left = parsedate_to_datetime(retry_after).timestamp() - time.time()
    except (ValueError, OverflowError, OSError):
        return 0.0
    return min(max(left, 0.0), LONGEST_RETRY_AFTER)


def _known(code: str, message: str) -> Verdict | None:
    name = code.rpartition("#")[2].removeprefix("AWS.SimpleQueueService.").removesuffix("Exception")
    if not name:
        return None
    if name in {"InvalidParameterValue", "InvalidParameter", "ReceiptHandleIsInvalid"}:
        said = message.lower()
        for sentence, verdict in _BY_SENTENCE:
            if sentence in said:
                return verdict
    if (verdict_by_code := _BY_CODE.get(name)) is not None:
        return verdict_by_code
    for prefix, verdict in _BY_PREFIX:
        if name.startswith(prefix):
            return verdict
    return None


def _by_status(status: int) -> Verdict:
    if status == 429:
        return Verdict.THROTTLED
    if status in {401, 403, 407}:
        return Verdict.DENIED
    # 408 and a 2xx that could not be read are as temporary as a 5xx; 3xx and other 4xx do not change by asking again.
    return Verdict.REFUSED if 300 <= status < 500 and status != 408 else Verdict.UNAVAILABLE


def _read(body: bytes | bytearray) -> tuple[str, str]:
    """The shape and the sentence in an error's body; an excerpt of the body where it is not ours to read."""
    try:
        error = _error_body.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        try:
            error, _ = tolerant.read(_ErrorBody, body)
        except (ValueError, RecursionError):
            return "", printable(body[:EXCERPT].decode(errors="replace"))
    return error.type, bounded(error.message or error.Message or "", _MESSAGE)
