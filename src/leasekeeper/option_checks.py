"""Checks of single options: types, bounds, choices, and suggestions for names that do not exist.

Used by `Options` and by the command line. Each refusal names the option, the value and what is allowed.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from leasekeeper.errors import ConfigurationError
from leasekeeper.option_objects import check_object

if TYPE_CHECKING:
    import dataclasses
    from collections.abc import Sequence

_INTEGERS = ("int", "int | None")
_NUMBERS = ("float", "float | None", *_INTEGERS)

_OTHER_NAMES = {
    "concurrency": "worker_count num_workers max_workers worker_concurrency max_concurrency parallelism",
    "prefetch": "prefetch_count prefetch_multiplier worker_prefetch_multiplier prefetch_limit",
    "rate": "rate_limit max_rate rps per_second requests_per_second",
    "handler_timeout": "timeout time_limit soft_time_limit task_time_limit max_runtime",
    "middleware": "middlewares",
    "batch": "batch_size max_batch_size MaximumBatchingSize",
    "batch_wait": "batch_timeout batch_window batching_window maximum_batching_window",
    "receive_batch": "max_messages max_number_of_messages MaxNumberOfMessages",
    "wait_time": "wait_time_seconds WaitTimeSeconds poll_interval polling_interval wait",
    "visibility_timeout": "visibility VisibilityTimeout lease lease_time",
    "heartbeat_interval": "heartbeat heartbeat_seconds",
    "retry": "retries retry_policy retry_strategy error_handler autoretry_for",
    "max_attempts": "max_retries attempts retry_limit max_tries",
    "retry_base": "retry_delay default_retry_delay backoff retry_backoff min_backoff",
    "retry_maximum": "retry_backoff_max max_backoff max_retry_delay",
    "dead_letter_queue": "dlq dlq_url dead_letter dead_letter_queue_url",
    "drain_timeout": "grace_period shutdown_timeout stop_timeout graceful_timeout",
    "region": "region_name aws_region AWS_REGION",
    "profile": "profile_name aws_profile",
    "endpoint_url": "endpoint url",
    "credentials": "session boto3_session aws_access_key_id aws_secret_access_key aws_session_token",
    "client": "sqs sqs_client boto3_client",
    "message_attributes": "attributes attribute_names message_attribute_names MessageAttributeNames",
}
"""Names that Celery, boto3 and other consumers give to what an option here does."""

_RECEIVE_LIMIT = "max_receive_count maxReceiveCount"


def hint(name: str, known: Sequence[str]) -> str:
    """The end of a sentence about an unknown option: the name that was probably meant, or where all of them are."""
    if name in _RECEIVE_LIMIT.split():
        return ": SQS counts the receives; set maxReceiveCount in the queue's redrive policy, or `max_attempts` here"
    for option, others in _OTHER_NAMES.items():
        if name in others.split():
            return f"; did you mean {option!r}?"
    return near(name, known) or "; `help(leasekeeper.Options)` lists the options"


def near(name: object, known: Sequence[str]) -> str:
    """The end of a sentence about an unknown name: the known one that it resembles; empty if it resembles none."""
    import difflib

    found = difflib.get_close_matches(str(name), known, n=1, cutoff=0.75)
    return f"; did you mean {found[0]!r}?" if found else ""


def _choice(choices: Sequence[str], kind: str) -> str:
    """`one of 'a', 'b', None`; of two `'a' or None`."""
    shown = [*map(repr, choices), *(["None"] if "None" in kind else [])]
    return " or ".join(shown) if len(shown) < 3 else f"one of {', '.join(shown)}"


_NAMES = {"message_attributes": "('All',)", "preload": "('shop.models',)"}
"""Options that are sequences of names, each with an example."""


def check_value(option: dataclasses.Field[Any], value: Any) -> None:
    """Refuse a value of the wrong kind, or out of bounds, with a `ConfigurationError`."""
    kind, choices = str(option.type), option.metadata["choices"]
    if value is None and "None" in kind:
        return
    if kind in _NUMBERS:
        _check_number(option, value, whole=kind in _INTEGERS)
    elif kind == "bool" and not isinstance(value, bool):
        raise ConfigurationError(f"{option.name}={value!r}: must be True or False")
    elif choices and value not in choices:
        raise ConfigurationError(f"{option.name}={value!r}: must be {_choice(choices, kind)}{near(value, choices)}")
    elif kind == "str | None" and not isinstance(value, str):
        raise ConfigurationError(f"{option.name}={value!r}: must be text")
    elif option.name in _NAMES and (
        isinstance(value, str) or not isinstance(value, Iterable) or not all(isinstance(name, str) for name in value)
    ):
        raise ConfigurationError(f"{option.name}={value!r}: must be a sequence of names, e.g. {_NAMES[option.name]}")
    else:
        check_object(option.name, value)


def _check_number(option: dataclasses.Field[Any], value: Any, *, whole: bool) -> None:
    low, high = option.metadata["low"], option.metadata["high"]
    unit = " seconds" if option.metadata["unit"] == "s" else ""
    allowed = (int,) if whole else (int, float)
    if not isinstance(value, allowed) or isinstance(value, bool) or not low <= value <= high:  # a NaN is not either
        word = "a whole number" if whole else "a number"
        raise ConfigurationError(f"{option.name}={value!r}: must be {word} from {low:g} to {high:.15g}{unit}")
