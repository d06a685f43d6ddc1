"""Keys: what of a message is its idempotency key, and the hash under which it is stored.

The hash is SHA-256 over canonical JSON: it is the same for every order of a dict's keys and of a set, for `1` and
`1.0`, and on every version of Python.
"""

from __future__ import annotations

import enum
import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

import msgspec

from leasekeeper.errors import ConfigurationError
from leasekeeper.functions import is_plain_function

if TYPE_CHECKING:
    from leasekeeper.message import Message


class _MessageId(enum.Enum):
    MESSAGE_ID = "MESSAGE_ID"


MESSAGE_ID: Final = _MessageId.MESSAGE_ID
"""The message id as the key. It guards against redeliveries only: a duplicate that a producer sends has another id, and
so has a message after a redrive."""

Key = Callable[["Message[Any]"], Any] | str | _MessageId
"""A function of the message, a path with dots into the body, or `MESSAGE_ID`."""


def key_function(key: Key) -> Callable[[Message[Any]], Any]:
    """A function that returns a message's key; None for a message without one."""
    if key is MESSAGE_ID:
        return lambda message: message.id
    if isinstance(key, str):
        names = key.split(".")
        return lambda message: _at(message.body, names)
    return key


def why_missing(key: Key) -> str:
    """Why a message has no key, for an error."""
    if isinstance(key, str):
        return f"key={key!r} is not in the body, or is null or empty there"
    return f"the function key={getattr(key, '__qualname__', type(key).__qualname__)} has returned None or an empty text"


def check_key(what: str, key: Any) -> None:
    """Refuse what is no key.

    Raises:
        ConfigurationError: it is none.
    """
    if key is not MESSAGE_ID and not is_plain_function(key, 1) and not (isinstance(key, str) and key):
        raise ConfigurationError(
            f"{what}(key={key!r}): must be a plain function of a message, a path into the body, or MESSAGE_ID"
        )


def check_keep(what: str, keep: Any) -> None:
    """Refuse a time for which keys cannot be kept.

    Raises:
        ConfigurationError: it is none.
    """
    if not isinstance(keep, timedelta) or not timedelta(seconds=1) <= keep <= timedelta(days=3660):
        raise ConfigurationError(f"{what}(keep={keep!r}): must be a timedelta from one second to ten years")


def _at(value: Any, names: Sequence[str]) -> Any:
    for name in names:
        if isinstance(value, Mapping):
            value = value.get(name)
        elif isinstance(value, list) and name.isdecimal():
            value = value[int(name)] if int(name) < len(value) else None
        else:
            value = getattr(value, name, None)
    return value


def digest(value: Any) -> str:
    """The SHA-256 of a value as canonical JSON, in hexadecimal digits.

    Raises:
        TypeError: the value cannot be written as JSON.
        ValueError: there is a number in it that JSON does not have: NaN or infinite.
    """
    plain = _whole(msgspec.to_builtins(value, str_keys=True, enc_hook=encoded, order="deterministic"))
    text = json.dumps(plain, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()


def encoded(value: Any) -> Any:
    """What JSON encodes of a pydantic model.

    Raises:
        TypeError: it is none.
    """
    dump = getattr(value, "model_dump", None)
    if dump is None:
        raise TypeError(f"a {type(value).__qualname__} cannot be written as JSON")
    return dump(mode="json", by_alias=True)


def _whole(value: Any) -> Any:
    """The same with whole numbers for floats without a fraction: producers write both."""
    if isinstance(value, dict):
        return {name: _whole(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [_whole(each) for each in value]
    return int(value) if isinstance(value, float) and value.is_integer() and abs(value) < 2**53 else value
