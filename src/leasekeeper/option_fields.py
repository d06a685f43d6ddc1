"""How the fields of `Options` are declared: each with its section, text, unit and bounds.

Used by `options.py` alone; the command line, the option pages and `option_checks` read the metadata.
"""

from __future__ import annotations

from dataclasses import field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable


def section(name: str) -> Callable[..., Any]:
    """How the fields of a section are declared. Options that are not `configurable` can be set in code only."""

    def option(
        default: Any,
        doc: str,
        *,
        unit: str = "",
        low: float | None = None,
        high: float | None = None,
        choices: tuple[str, ...] = (),
        configurable: bool = True,
    ) -> Any:
        metadata = {
            "section": name,
            "doc": doc,
            "unit": unit,
            "low": low,
            "high": high,
            "choices": choices,
            "configurable": configurable,
        }
        return field(default=default, metadata=metadata)

    return option
