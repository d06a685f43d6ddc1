"""The sentence that says what a consumer did, from its counts.

Used by reports of consumers, and by the supervisor, which adds up those of its processes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

_IF_ANY = (
    "failed",
    "retried",
    "rejected",
    "exhausted",
    "unmatched",
    "released",
    "known_duplicates",
    "lost",
    "unsettled",
)
_WORDS = {"lost": ("lease lost", "leases lost"), "known_duplicates": ("known duplicate", "known duplicates")}


def sentence(queue: str, counts: Mapping[str, int], seconds: float) -> str:
    """What was done, in one line; counts that are 0 are left out, but for the first three."""
    acked = counts["acked"]
    deletes = "1 delete confirmed" if acked == 1 else f"{acked} deletes confirmed"
    parts = [f"{counts['received']} received", f"{counts['handled']} handled", deletes]
    for name in _IF_ANY:
        if count := counts.get(name, 0):
            one, many = _WORDS.get(name, (name, name))
            parts.append(f"{count} {one if count == 1 else many}")
    return f"queue {queue}: {', '.join(parts)} in {seconds:.1f} s"
