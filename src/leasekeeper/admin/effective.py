"""The effective options of a consumer: each value, where it comes from, and what it means.

Used by the surface and by `leasekeeper options`. It shows no credentials: of objects that only code can give, it says
no more than their kind.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from leasekeeper.options import Options
from leasekeeper.sqs.urls import redacted
from leasekeeper.texts import bounded, safe_repr

if TYPE_CHECKING:
    from leasekeeper.admin.state import OptionState
    from leasekeeper.consumer import Consumer

_SECRET = frozenset({"credentials", "client", "logger"})
"""Options of which only the kind is shown."""


def effective_options(consumer: Consumer) -> list[OptionState]:
    """The options of a consumer in the order of the reference."""
    options = consumer.options
    found: list[OptionState] = []
    for option in dataclasses.fields(Options):
        value, place = getattr(options, option.name), consumer.places.get(option.name, "")
        usual = option.name not in consumer.named and _same(value, option.default)
        source = _source(place) if place else "default" if usual else "code"
        found.append(
            {
                "name": option.name,
                "value": _shown(option.name, value),
                "source": source,
                "place": place,
                "default": _shown(option.name, option.default),
                "text": option.metadata["doc"],
                "unit": option.metadata["unit"],
            }
        )
    return found


def _same(value: Any, default: Any) -> bool:
    return value is default or (type(value) is type(default) and bool(value == default))


def _source(place: str) -> str:
    if place.startswith("--"):
        return "flag"
    return "environment" if place.isupper() else "file"


def _shown(name: str, value: Any) -> str:
    if value is None:
        return ""
    if name in _SECRET:
        return f"({type(value).__name__})"
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, (int, float)):
        return f"{value:g}" if isinstance(value, float) else str(value)
    if isinstance(value, str):
        return redacted(bounded(value))
    if isinstance(value, (tuple, list)):
        return ", ".join(_shown("", each) for each in value)
    if named := getattr(value, "__qualname__", ""):
        return str(named)
    kind = type(value)
    # The text of an object of others may hold what they connect with.
    return redacted(safe_repr(value, 200)) if kind.__module__.startswith("leasekeeper.") else f"({kind.__name__})"
