"""JSON merge patches (RFC 7396): what changed between two states, and the state that a patch makes.

Used by the stream and by what reads it: the page, `leasekeeper top` and a fleet. Lists are replaced as a whole.
"""

from __future__ import annotations

from typing import Any


def patch_between(before: dict[str, Any], after: dict[str, Any]) -> dict[str, Any]:
    """The patch that makes `after` of `before`; empty when they are equal.

    A member whose new value is None is removed, as the standard has it: readers take a missing member for None.
    """
    patch: dict[str, Any] = {}
    for name, value in after.items():
        if name not in before:
            if value is not None:
                patch[name] = value
            continue
        old = before[name]
        if old is value or old == value:
            continue
        if isinstance(old, dict) and isinstance(value, dict):
            if changes := patch_between(old, value):
                patch[name] = changes
        else:
            patch[name] = value
    for name in before:
        if name not in after:
            patch[name] = None
    return patch


def patched(before: Any, patch: Any) -> Any:
    """What a patch makes of a value; the value itself is not changed."""
    if not isinstance(patch, dict):
        return patch
    after = dict(before) if isinstance(before, dict) else {}
    for name, value in patch.items():
        if value is None:
            after.pop(name, None)
        else:
            after[name] = patched(after.get(name), value)
    return after
