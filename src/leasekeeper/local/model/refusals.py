"""The errors of SQS: one `Refusal` for each, with the status, type, code and sentence of AWS.

Owned by the model. The server turns a refusal into HTTP, the in-process client into `SqsError`. It promises the form
recorded from AWS: `__type` and the code of `x-amzn-query-error` differ, and a refusal has both.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

SERVICE = "com.amazonaws.sqs#"
PLATFORM = "com.amazon.coral.service#"
LEGACY = "AWS.SimpleQueueService."
_TEMPORARY = "The request has failed because of a temporary failure of the server."


class Refusal(Exception):
    """An error that SQS answers with.

    Attributes:
        status: the HTTP status.
        kind: the `__type` of the JSON body, with its namespace.
        code: the older code, of the `x-amzn-query-error` header; SDKs show this one.
        message: the sentence.
        sender: True when the caller caused the error (`Sender`), False when the service did (`Receiver`).
    """

    def __init__(self, status: int, kind: str, code: str, message: str, *, sender: bool = True) -> None:
        super().__init__(status, kind, code, message)
        self.status = status
        self.kind = kind
        self.code = code
        self.message = message
        self.sender = sender

    def __str__(self) -> str:
        return f"{self.code} (HTTP {self.status}): {self.message}"


def _modelled(kind: str, code: str | None = None, status: int = 400) -> Callable[[str], Refusal]:
    def refuse(message: str) -> Refusal:
        return Refusal(status, SERVICE + kind, code or kind, message)

    return refuse


def _platform(kind: str, code: str, status: int = 400) -> Callable[[str], Refusal]:
    def refuse(message: str) -> Refusal:
        return Refusal(status, PLATFORM + kind, code, message)

    return refuse


bad_parameter = _platform("InvalidParameterValueException", "InvalidParameterValue")
missing_parameter = _platform("MissingRequiredParameterException", "MissingParameter")
malformed = _platform("SerializationException", "MalformedInput")
unknown_operation = _platform("UnknownOperationException", "InvalidAction")
access_denied = _platform("AccessDeniedException", "AccessDenied", 403)

_no_such_queue = _modelled("QueueDoesNotExist", LEGACY + "NonExistentQueue")
queue_exists = _modelled("QueueNameExists", "QueueAlreadyExists")
queue_deleted_recently = _modelled("QueueDeletedRecently", LEGACY + "QueueDeletedRecently")
bad_attribute_name = _modelled("InvalidAttributeName")
bad_attribute_value = _modelled("InvalidAttributeValue")
bad_contents = _modelled("InvalidMessageContents")
bad_receipt = _modelled("ReceiptHandleIsInvalid", status=404)
not_in_flight = _modelled("MessageNotInflight", LEGACY + "MessageNotInflight")
purging = _modelled("PurgeQueueInProgress", LEGACY + "PurgeQueueInProgress", 403)
over_limit = _modelled("OverLimit", status=403)
throttled = _modelled("RequestThrottled", status=403)
unsupported = _modelled("UnsupportedOperation", LEGACY + "UnsupportedOperation")
no_such_resource = _modelled("ResourceNotFoundException", "ResourceNotFoundException", 404)
batch_empty = _modelled("EmptyBatchRequest", LEGACY + "EmptyBatchRequest")
batch_too_many = _modelled("TooManyEntriesInBatchRequest", LEGACY + "TooManyEntriesInBatchRequest")
batch_too_long = _modelled("BatchRequestTooLong", LEGACY + "BatchRequestTooLong")
batch_ids_repeat = _modelled("BatchEntryIdsNotDistinct", LEGACY + "BatchEntryIdsNotDistinct")
batch_id_invalid = _modelled("InvalidBatchEntryId", LEGACY + "InvalidBatchEntryId")


def no_such_queue() -> Refusal:
    """The queue does not exist, or the request names none."""
    return _no_such_queue("The specified queue does not exist.")


def missing(parameter: str) -> Refusal:
    """A parameter is missing."""
    return missing_parameter(f"The request must contain the parameter {parameter}.")


def out_of_range(value: object, parameter: str, low: int, high: int) -> Refusal:
    """A number is out of bounds. AWS has two sentences for that."""
    bounds = f"between {low} and {high}" if parameter == "MaxNumberOfMessages" else f">= {low} and <= {high}"
    return bad_parameter(f"Value {value} for parameter {parameter} is invalid. Reason: Must be {bounds}, if provided.")


def receipt_expired(receipt: str) -> Refusal:
    """A receipt has expired: on a FIFO queue after the visibility timeout, on any queue after 12 hours."""
    return bad_parameter(
        f"Value {receipt} for parameter ReceiptHandle is invalid. Reason: The receipt handle has expired."
    )


def receipt_unknown(receipt: str) -> Refusal:
    """The text is not a receipt."""
    return bad_receipt(f'The input receipt handle "{receipt}" is not a valid receipt handle.')


def attempt_not_repeatable(attempt_id: str) -> Refusal:
    """The receive of this attempt id was throttled, or its messages have changed since."""
    return bad_parameter(
        f"Value {attempt_id} for parameter ReceiveRequestAttemptId is invalid. "
        "Reason: The receiveRequestAttemptId is not valid anymore since the receive call is not retryable."
    )


def unavailable(status: int = 503, message: str = _TEMPORARY) -> Refusal:
    """The service has a temporary failure, and the caller may call again."""
    return Refusal(
        status,
        PLATFORM + ("ServiceUnavailableException" if status == 503 else "InternalFailure"),
        "ServiceUnavailable" if status == 503 else "InternalFailure",
        message,
        sender=False,
    )
