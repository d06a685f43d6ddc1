"""What each SQS error means: the decision table, row by row."""

from __future__ import annotations

import json

import msgspec
import pytest

from leasekeeper.errors import Verdict
from leasekeeper.sqs.errors import FailedEntry, error_of, verdict_of

SQS = "com.amazonaws.sqs#"
CORAL = "com.amazon.coral.service#"
OLD = "AWS.SimpleQueueService."
EXPIRED = "Value AQEB for parameter ReceiptHandle is invalid. Reason: The receipt handle has expired."
GONE = (
    "Value AQEB for parameter ReceiptHandle is invalid. Reason: Message does not exist or is not available for "
    "visibility timeout change."
)
CAPPED = (
    "Value 43200 for parameter VisibilityTimeout is invalid. Reason: Total VisibilityTimeout for the message is beyond "
    "the limit [43200 seconds]"
)

TABLE = [
    (Verdict.THROTTLED, "RequestThrottled", f"{SQS}RequestThrottled", "", 403),
    (Verdict.THROTTLED, "ThrottlingException", f"{CORAL}ThrottlingException", "Rate exceeded", 400),
    (Verdict.THROTTLED, "Throttling", "Throttling", "", 400),
    (Verdict.THROTTLED, "SlowDown", "SlowDown", "", 503),
    (Verdict.THROTTLED, "TooManyRequestsException", f"{CORAL}TooManyRequestsException", "", 400),
    (Verdict.THROTTLED, "KMS.ThrottlingException", f"{SQS}KmsThrottled", "", 400),
    (Verdict.UNAVAILABLE, "InternalError", f"{CORAL}InternalFailure", "", 500),
    (Verdict.UNAVAILABLE, "ServiceUnavailable", f"{CORAL}ServiceUnavailableException", "", 503),
    (Verdict.OVER_LIMIT, "OverLimit", f"{SQS}OverLimit", "", 403),
    (Verdict.MISSING, f"{OLD}NonExistentQueue", f"{SQS}QueueDoesNotExist", "The specified queue does not exist.", 400),
    (Verdict.MISSING, "InvalidAddress", f"{SQS}InvalidAddress", "", 404),
    (Verdict.MISSING, "ResourceNotFoundException", f"{SQS}ResourceNotFoundException", "", 404),
    (Verdict.DENIED, "AccessDenied", f"{CORAL}AccessDeniedException", "not authorized to perform", 403),
    (Verdict.DENIED, "KMS.AccessDeniedException", f"{SQS}KmsAccessDenied", "", 400),
    (Verdict.DENIED, "KMS.NotFoundException", f"{SQS}KmsNotFound", "", 400),
    (Verdict.DENIED, "KMS.DisabledException", f"{SQS}KmsDisabled", "", 400),
    (Verdict.DENIED, "KMS.InvalidStateException", f"{SQS}KmsInvalidState", "", 400),
    (Verdict.DENIED, "KMS.OptInRequired", f"{SQS}KmsOptInRequired", "", 403),
    (Verdict.DENIED, "InvalidSecurity", f"{SQS}InvalidSecurity", "", 403),
    (Verdict.DENIED, "SignatureDoesNotMatch", f"{CORAL}InvalidSignatureException", "Signature expired", 403),
    (Verdict.DENIED, "IncompleteSignature", f"{CORAL}IncompleteSignatureException", "", 400),
    (Verdict.CREDENTIALS, "ExpiredToken", f"{CORAL}ExpiredTokenException", "", 403),
    (Verdict.CREDENTIALS, "InvalidClientTokenId", f"{CORAL}UnrecognizedClientException", "", 403),
    (Verdict.LEASE_LOST, "InvalidParameterValue", f"{CORAL}InvalidParameterValueException", EXPIRED, 400),
    (Verdict.LEASE_LOST, "InvalidParameterValue", f"{CORAL}InvalidParameterValueException", GONE, 400),
    (Verdict.LEASE_LOST, "ReceiptHandleIsInvalid", f"{SQS}ReceiptHandleIsInvalid", "", 404),
    (Verdict.LEASE_LOST, f"{OLD}MessageNotInflight", f"{SQS}MessageNotInflight", "", 400),
    (Verdict.LEASE_CAPPED, "InvalidParameterValue", f"{CORAL}InvalidParameterValueException", CAPPED, 400),
    (Verdict.REFUSED, "InvalidParameterValue", f"{CORAL}InvalidParameterValueException", "Value 11 is invalid.", 400),
    (Verdict.REFUSED, "MissingParameter", f"{CORAL}MissingRequiredParameterException", "", 400),
    (Verdict.REFUSED, f"{OLD}UnsupportedOperation", f"{SQS}UnsupportedOperation", "", 400),
    (Verdict.REFUSED, f"{OLD}TooManyEntriesInBatchRequest", f"{SQS}TooManyEntriesInBatchRequest", "", 400),
    (Verdict.REFUSED, f"{OLD}EmptyBatchRequest", f"{SQS}EmptyBatchRequest", "", 400),
    (Verdict.REFUSED, f"{OLD}BatchEntryIdsNotDistinct", f"{SQS}BatchEntryIdsNotDistinct", "", 400),
    (Verdict.REFUSED, f"{OLD}PurgeQueueInProgress", f"{SQS}PurgeQueueInProgress", "", 403),
    (Verdict.REFUSED, "InvalidMessageContents", f"{SQS}InvalidMessageContents", "", 400),
]


@pytest.mark.parametrize(("verdict", "code", "shape", "message", "status"), TABLE)
def test_query_code_and_shape_mean_the_same(verdict: Verdict, code: str, shape: str, message: str, status: int) -> None:
    assert verdict_of(code, message, status) is verdict
    assert verdict_of(shape, message, status) is verdict


@pytest.mark.parametrize(
    ("status", "verdict"),
    [
        (0, Verdict.UNAVAILABLE),
        (200, Verdict.UNAVAILABLE),
        (301, Verdict.REFUSED),
        (400, Verdict.REFUSED),
        (401, Verdict.DENIED),
        (403, Verdict.DENIED),
        (404, Verdict.REFUSED),
        (407, Verdict.DENIED),
        (408, Verdict.UNAVAILABLE),
        (429, Verdict.THROTTLED),
        (500, Verdict.UNAVAILABLE),
        (502, Verdict.UNAVAILABLE),
        (503, Verdict.UNAVAILABLE),
        (504, Verdict.UNAVAILABLE),
    ],
)
def test_for_an_unknown_code_the_status_decides(status: int, verdict: Verdict) -> None:
    assert verdict_of("NeverHeardOf", "", status) is verdict


@pytest.mark.parametrize("status", [204, 301, 302, 307, 400, 401, 403, 404, 405, 407, 408, 413, 500, 502, 503])
@pytest.mark.parametrize(
    "body", [b"", b"<html>Forbidden</html>", b'{"message": "Forbidden"}', b"[]", b'{"__type": null}']
)
def test_only_sqs_itself_in_its_own_form_says_that_a_call_will_never_succeed(status: int, body: bytes) -> None:
    """L12: a delete that a proxy answers with 403 or 404 was not refused by SQS, and is tried again."""
    error = error_of("DeleteMessageBatch", status, body)
    assert (error.verdict, error.code) == (Verdict.UNAVAILABLE, f"HTTP{status}")


def test_too_many_requests_is_throttling_from_any_server() -> None:
    assert error_of("DeleteMessageBatch", 429, b"<html>slow down</html>").verdict is Verdict.THROTTLED


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("", 0.0),
        ("0", 0.0),
        ("7", 7.0),
        ("3600", 60.0),
        ("9" * 5000, 60.0),
        ("-5", 0.0),
        ("1.5", 0.0),
        ("soon", 0.0),
        ("\u0663", 0.0),
        ("Fri, 01 Jan 2100 00:00:00 GMT", 60.0),
        ("Fri, 01 Jan 1999 00:00:00 GMT", 0.0),
        ("Fri, 01 Jan 2100 00:00:00 +99999999999999", 0.0),
    ],
)
def test_retry_after_is_read_and_bounded(header: str, seconds: float) -> None:
    assert error_of("ReceiveMessage", 503, b"", retry_after=header).retry_after == seconds


@pytest.mark.parametrize("body", [b'{"X":' + b"[" * 100_000, b"[" * 100_000, b'{"__type":' + b"9" * 9_000])
def test_a_body_of_any_depth_is_an_error_of_ours(body: bytes) -> None:
    error = error_of("ReceiveMessage", 503, body)
    assert error.verdict is Verdict.UNAVAILABLE
    assert len(str(error)) < 1_000


def test_an_error_in_odd_types_is_read() -> None:
    error = error_of("ReceiveMessage", 400, b'{"__type": "com.amazonaws.sqs#OverLimit", "message": 5, "Message": {}}')
    assert (error.verdict, error.message) == (Verdict.OVER_LIMIT, "5")


def test_texts_from_outside_are_bounded() -> None:
    body = json.dumps({"__type": "x" * 100_000, "message": "\x1b[31m" + "y" * 1_000_000}).encode()
    error = error_of("ReceiveMessage", 400, body, query_error="z" * 10_000, request_id="r" * 10_000)
    assert len(str(error)) < 3_000
    assert len(error.request_id) < 300
    assert str(error).isprintable()


@pytest.mark.parametrize("key", ["message", "Message"])
def test_an_error_is_read_from_header_and_body(key: str) -> None:
    body = json.dumps({"__type": f"{SQS}QueueDoesNotExist", key: "The specified queue does not exist."}).encode()
    error = error_of("ReceiveMessage", 400, body, query_error=f"{OLD}NonExistentQueue;Sender", request_id="5d1f")
    assert error.verdict is Verdict.MISSING
    assert error.code == "AWS.SimpleQueueService.NonExistentQueue"
    assert (error.message, error.status, error.request_id) == ("The specified queue does not exist.", 400, "5d1f")
    assert str(error) == (
        "ReceiveMessage: AWS.SimpleQueueService.NonExistentQueue (HTTP 400): The specified queue does not exist."
    )


def test_without_the_header_the_shape_names_the_error() -> None:
    error = error_of("SendMessage", 403, b'{"__type":"com.amazonaws.sqs#OverLimit","message":null}')
    assert (error.verdict, error.code, error.message) == (Verdict.OVER_LIMIT, "OverLimit", "")


def test_an_unknown_header_leaves_the_word_to_the_shape() -> None:
    body = b'{"__type":"com.amazonaws.sqs#RequestThrottled"}'
    assert error_of("SendMessage", 400, body, query_error="Novel;Sender").verdict is Verdict.THROTTLED


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"", "an answer without a body"),
        (b"<html>Bad Gateway</html>", "<html>Bad Gateway</html>"),
        (b"[1]", "[1]"),
        (b'"text"', '"text"'),
        (b"\xff\xfe", "\N{REPLACEMENT CHARACTER}\N{REPLACEMENT CHARACTER}"),
    ],
)
def test_a_body_that_is_not_of_sqs_is_quoted_with_advice(body: bytes, said: str) -> None:
    error = error_of("ReceiveMessage", 502, body)
    assert (error.verdict, error.code) == (Verdict.UNAVAILABLE, "HTTP502")
    assert error.message == f"{said} (not an error of SQS: check that the endpoint is SQS, and any proxy in between)"


def test_a_long_garbage_body_is_cut() -> None:
    assert error_of("ReceiveMessage", 502, b"x" * 10_000).message.startswith("x" * 200 + " (not an error of SQS")


def failed(**entry: object) -> FailedEntry:
    return msgspec.convert(entry, FailedEntry)


def test_an_entry_that_failed_through_no_fault_of_ours_may_be_tried_again() -> None:
    """L12: failures of the server are distinguished from those of the sender."""
    failure = failed(Id="0", Code="Novel", SenderFault=False, Message="try later").failure()
    assert (failure.verdict, failure.code, failure.message) == (Verdict.UNAVAILABLE, "Novel", "try later")
    assert failed(Id="0", Code="Novel", SenderFault=True).failure().verdict is Verdict.REFUSED


def test_an_entry_with_a_receipt_that_expired_is_a_lost_lease() -> None:
    """L7: only an invalid receipt or a message not in flight means lost."""
    for code in ("ReceiptHandleIsInvalid", "InvalidParameterValue"):
        failure = failed(Id="0", Code=code, SenderFault=True, Message="The receipt handle has expired").failure()
        assert failure.verdict is Verdict.LEASE_LOST
