"""Readers for the members of a request. Each returns a value of the right type, or refuses the request as AWS does.

Owned by the operations. They promise that a value of a wrong type goes no further than this file.
"""

from __future__ import annotations

import re
from typing import Any

from leasekeeper.local.model import refusals

Request = dict[str, Any]
Answer = dict[str, Any]

MOST_ENTRIES = 10
_ENTRY_ID = re.compile(r"[A-Za-z0-9_-]{1,80}")


def _wrong_type(name: str, value: object, wanted: str) -> refusals.Refusal:
    return refusals.malformed(f"{type(value).__name__} value for {name} can not be converted to {wanted}")


def text(request: Request, name: str) -> str:
    """The text under `name`, which is required."""
    value = request.get(name)
    if value is None:
        raise refusals.missing(name)
    if type(value) is not str:
        raise _wrong_type(name, value, "String")
    return value


def optional_text(request: Request, name: str) -> str | None:
    """The text under `name`, or None."""
    return None if request.get(name) is None else text(request, name)


def integer(request: Request, name: str, low: int, high: int) -> int | None:
    """The whole number under `name`, from `low` to `high`, or None."""
    value = request.get(name)
    if value is None:
        return None
    if type(value) is not int:
        raise _wrong_type(name, value, "Integer")
    if not low <= value <= high:
        raise refusals.out_of_range(value, name, low, high)
    return value


def names(request: Request, name: str) -> tuple[str, ...]:
    """The list of texts under `name`; empty by default."""
    value = request.get(name)
    if value is None:
        return ()
    if type(value) is not list or any(type(item) is not str for item in value):
        raise _wrong_type(name, value, "List of String")
    return tuple(value)


def mapping(request: Request, name: str) -> dict[str, Any]:
    """The object under `name`; empty by default."""
    value = request.get(name)
    if value is None:
        return {}
    if type(value) is not dict:
        raise _wrong_type(name, value, "Map")
    return value


def texts(request: Request, name: str) -> dict[str, str]:
    """The object under `name` with texts as values; empty by default."""
    value = mapping(request, name)
    for key, item in value.items():
        if type(item) is not str:
            raise _wrong_type(f"{name}.{key}", item, "String")
    return value


def entries(request: Request, operation: str) -> list[Request]:
    """The one to ten entries of a batch operation, with distinct, well-formed ids."""
    value = request.get("Entries")
    if value is None:
        raise refusals.missing("Entries")
    if type(value) is not list or any(type(entry) is not dict for entry in value):
        raise _wrong_type("Entries", value, "List of Map")
    if not value:
        raise refusals.batch_empty(f"There should be at least one {operation}RequestEntry in the request.")
    if len(value) > MOST_ENTRIES:
        raise refusals.batch_too_many(
            f"Maximum number of entries per request are {MOST_ENTRIES}. You have sent {len(value)}."
        )
    seen = set()
    for entry in value:
        entry_id = text(entry, "Id")
        if not _ENTRY_ID.fullmatch(entry_id):
            raise refusals.batch_id_invalid(
                "A batch entry id can only contain alphanumeric characters, hyphens and underscores. "
                "It can be at most 80 letters long."
            )
        if entry_id in seen:
            raise refusals.batch_ids_repeat(f"Id {entry_id} repeated.")
        seen.add(entry_id)
    return value
