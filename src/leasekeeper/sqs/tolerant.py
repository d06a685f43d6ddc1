"""Answers in types other than SQS's: they are read member by member, so that one odd value costs only itself.

Owned by the wire, which comes here only when the strict decoder has refused an answer. It promises: null is absent;
numbers count as text and text as numbers; a statistic that cannot be read is absent; an entry of a list that cannot be
read is left out and reported.
"""

from __future__ import annotations

import json
import types
from typing import Any, TypeVar, Union, get_args, get_origin

import msgspec

T = TypeVar("T")

_CONTENT = frozenset(
    ("body", "attributes", "messages", "successful", "failed", "results", "queue_urls", "tags", "string_value")
)
"""Members that cannot be taken as absent when they cannot be read: the answer would say something else without them."""
_SHOWN = 200
"""Characters of a problem that are reported."""


def read(kind: type[T], answer: bytes | bytearray) -> tuple[T, list[str]]:
    """An answer in our types, and what was left out of it.

    Raises:
        ValueError: this is no answer of that kind, or none of its entries can be read.
        RecursionError: it is nested too deeply.
    """
    # Bytes that are not UTF-8 and lone surrogates spoil only the entry that holds them: `_entries` looks for them.
    text = answer.decode("utf-8", "surrogateescape")
    value = json.loads(text, strict=False, parse_int=str, parse_float=str, parse_constant=str)
    problems: list[str] = []
    return _struct(kind, value, problems), problems


def _value(kind: Any, value: object, problems: list[str]) -> Any:
    origin, arguments = get_origin(kind), get_args(kind)
    if origin in {Union, types.UnionType}:
        return _value(arguments[0], value, problems)  # `X | None`; null was dealt with
    if origin is list:
        return _entries(arguments[0], value, problems)
    if origin is dict:
        return _mapping(arguments[1], value, problems)
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        return _struct(kind, value, problems)
    if isinstance(value, bool):
        value = str(value).lower()
    return msgspec.convert(value, kind, strict=False)


def _struct(kind: type[T], value: object, problems: list[str]) -> T:
    if not isinstance(value, dict):
        raise msgspec.ValidationError(f"expected an object, got {_name(value)}")
    members: dict[str, Any] = {}
    for member in msgspec.structs.fields(kind):  # type: ignore[arg-type] # callers give structs only
        if (given := value.get(member.encode_name)) is None:
            if member.required:
                raise msgspec.ValidationError(f"{member.encode_name} is missing")
            continue
        try:
            members[member.name] = _value(member.type, given, problems)
        except (msgspec.ValidationError, UnicodeEncodeError) as error:
            if member.required or member.name in _CONTENT:
                raise msgspec.ValidationError(f"{member.encode_name}: {error}") from error
    return kind(**members)


def _entries(kind: Any, value: object, problems: list[str]) -> list[Any]:
    if not isinstance(value, list):
        raise msgspec.ValidationError(f"expected an array, got {_name(value)}")
    read_well: list[Any] = []
    for position, each in enumerate(value):
        try:
            msgspec.json.encode(each)  # raises where text holds what is not Unicode
            read_well.append(_value(kind, each, problems))
        except (msgspec.ValidationError, UnicodeEncodeError) as error:
            name = each.get("MessageId") or each.get("Id") if isinstance(each, dict) else None
            problems.append(f"entry {position} ({name!a}): {error}"[:_SHOWN])
    if value and not read_well:
        raise msgspec.ValidationError(f"no entry can be read: {problems[-1]}")
    return read_well


def _mapping(kind: Any, value: object, problems: list[str]) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise msgspec.ValidationError(f"expected an object, got {_name(value)}")
    found: dict[str, Any] = {}
    for name, each in value.items():
        if each is None:
            continue
        try:
            found[name] = _value(kind, each, problems)
        except msgspec.ValidationError as error:
            if kind is not str:  # an attribute of the user's is content; a system attribute is a statistic
                raise msgspec.ValidationError(f"{name}: {error}") from error
    return found


def _name(value: object) -> str:
    return "null" if value is None else type(value).__name__
