"""Tags: which messages a handler takes by the type of its body alone, where a queue has several handlers.

A tag is a constant that the type requires of a body: the tag of a `msgspec.Struct`, or fields annotated with a
`Literal` of one value, as pydantic's discriminated unions have them.
"""

from __future__ import annotations

import dataclasses
import functools
import operator
import types
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints, is_typeddict

import msgspec

from leasekeeper.routing import Condition, field


def condition_of_type(body_type: Any) -> Condition | None:
    """Whether a body has the tags of that type, or of one type of a union; None for a type without tags."""
    body_type = _bare(body_type)
    if get_origin(body_type) in {Union, types.UnionType}:
        each = [condition_of_type(member) for member in get_args(body_type)]
        known = [condition for condition in each if condition is not None]
        return functools.reduce(operator.or_, known) if len(known) == len(each) else None
    conditions = [field(name) == value for name, value in _tags(body_type).items()]
    return functools.reduce(operator.and_, conditions) if conditions else None


def _bare(annotation: Any) -> Any:
    """The type in an `Annotated` or behind a `type` alias."""
    while get_origin(annotation) is Annotated or hasattr(annotation, "__value__"):
        annotation = get_args(annotation)[0] if get_origin(annotation) is Annotated else annotation.__value__
    return annotation


def _tags(body_type: Any) -> dict[str, Any]:
    """The fields in JSON that must have one value, and the value."""
    if not isinstance(body_type, type):
        return {}
    if issubclass(body_type, msgspec.Struct):
        config = body_type.__struct_config__
        if config.tag is not None:
            return {str(config.tag_field): config.tag}
    hints = _hints(body_type)
    names = _names_in_json(body_type)
    return {
        names[name]: get_args(hint)[0]
        for name, hint in hints.items()
        if name in names and get_origin(hint) is Literal and len(get_args(hint)) == 1
    }


def _hints(body_type: type) -> dict[str, Any]:
    try:
        return get_type_hints(body_type)
    except Exception:  # names that exist for type checkers alone; what decodes the body says more
        return {}


def _names_in_json(body_type: type) -> dict[str, str]:
    """What the fields are called in JSON, by their names."""
    if issubclass(body_type, msgspec.Struct):
        return dict(zip(body_type.__struct_fields__, body_type.__struct_encode_fields__, strict=True))
    model: dict[str, Any] | None = getattr(body_type, "model_fields", None)
    if model is not None:  # pydantic's
        aliases = {name: found.validation_alias or found.alias or name for name, found in model.items()}
        return {name: alias for name, alias in aliases.items() if isinstance(alias, str)}
    if dataclasses.is_dataclass(body_type) or is_typeddict(body_type) or hasattr(body_type, "__attrs_attrs__"):
        return {name: name for name in getattr(body_type, "__annotations__", {})}
    return {}
