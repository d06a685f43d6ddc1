"""Checks of options that are objects or functions, by their names. Each refusal says what to give.

Used by `option_checks`, when options are made. What an object does is not tried.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from leasekeeper.api import Credentials
from leasekeeper.errors import ConfigurationError, Mistakes
from leasekeeper.functions import is_plain_function
from leasekeeper.retries import retries_of
from leasekeeper.share import Share
from leasekeeper.texts import safe_repr


def _is_made(value: Any, *methods: str) -> bool:
    """Whether it is an object, and not a class, with these methods."""
    if isinstance(value, type):
        return False
    try:
        return all(callable(getattr(value, method)) for method in methods)
    except AttributeError as error:
        return error.obj is None  # it passes on to what is None still
    except Exception:
        return True  # it is made later: a proxy of what a lifespan opens, for example


def _is_middleware(value: Any) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, (str, bytes))


_WANTED: dict[str, tuple[Callable[[Any], bool], str]] = {
    "share": (lambda value: isinstance(value, Share), "a Share, e.g. Share(concurrency=50)"),
    "batch_key": (
        lambda value: is_plain_function(value, 1),
        "a plain function of a message, e.g. lambda m: m.group_id",
    ),
    "idempotency": (lambda value: _is_made(value, "for_handler"), "an Idempotency(store, key=...)"),
    "payloads": (lambda value: _is_made(value, "connect"), "an S3Payloads('bucket') of leasekeeper.payloads"),
    "credentials": (
        lambda value: isinstance(value, Credentials) or (callable(value) and not isinstance(value, type)),
        "leasekeeper.api.Credentials, or a function that returns them",
    ),
    "http": (
        lambda value: value in ("native", "aiohttp") or callable(value),
        "'native', 'aiohttp', or a function that makes a Transport",
    ),
    "client": (
        lambda value: _is_made(value, "change_visibility_batch"),
        "an object with the methods of leasekeeper.api.SqsApi, not boto3's client; leave it out for the built-in one",
    ),
    "logger": (
        lambda value: _is_made(value, "log", "warning"),  # structlog's loggers are none of logging's
        "a logger, e.g. logging.getLogger('shop')",
    ),
}


def check_object(name: str, value: Any) -> None:
    """Refuse what cannot be the value of this option, with a `ConfigurationError`."""
    if name == "retry":
        retries_of(value)
    elif name == "middleware":
        if not _is_middleware(value):
            example = getattr(value, "__name__", "timed")
            raise ConfigurationError(f"middleware={value!r}: must be a sequence of functions, e.g. [{example}]")
        with Mistakes() as mistakes:
            mistakes.add(
                f"middleware {safe_repr(each, 80)} is not callable: give a function, `async def` or `def`"
                for each in value
                if not (callable(each) or _is_made(each, "for_handler"))
            )
    elif name in _WANTED:
        fits, wanted = _WANTED[name]
        if not fits(value):
            # What should have been credentials may hold a secret.
            given = f"{name} of type {type(value).__name__}" if name == "credentials" else f"{name}={value!r}"
            raise ConfigurationError(f"{given}: must be {wanted}")
