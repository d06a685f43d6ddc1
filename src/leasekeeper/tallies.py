"""The sentence that says what a consumer did, from its counts.

Used by reports of consumers, and by the supervisor, which adds up those of its processes. It promises that the parts
before the semicolon add up to what was received.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

ENDS = {
    "done": ("done", "done"),
    "skipped": ("skipped", "skipped"),
    "dead_letters": ("dead letter", "dead letters"),
    "known_duplicates": ("known duplicate", "known duplicates"),
    "taken_over": ("received twice", "received twice"),
    "released": ("given back", "given back"),
    "gone": ("lost with its lease", "lost with their leases"),
    "unsettled": ("unsettled", "unsettled"),
}
"""Where each received message ended, exactly once: the field of the report, and the words."""
_RUNS = {
    "failed": ("failure", "failures"),
    "retried": ("retry", "retries"),
    "rejected": ("rejected", "rejected"),
    "exhausted": ("exhausted", "exhausted"),
    "unmatched": ("unmatched", "unmatched"),
}
"""How runs of handlers ended that were not simply done; a message may have several."""
_WHY = {"claimed": "with a key that another run has claimed"}
"""Why messages were given back, where that is not the name of the counter."""


def sentence(queue: str, counts: Mapping[str, int], given_back: Mapping[str, int], seconds: float) -> str:
    """What became of the messages, in one line; what is 0 is left out.

    Args:
        queue: its name.
        counts: the numbers of a report.
        given_back: those that were given back, by why.
        seconds: how long it took.
    """
    ends = _listed(counts, ENDS)
    whys = ((count, _WHY.get(name, name.replace("_", " "))) for name, count in given_back.items() if count)
    if why := ", ".join(f"{count:d} {words}" for count, words in whys):
        ends = ends.replace("given back", f"given back ({why})")
    runs = f"; handlers: {counts['handled']} returned, {found}" if (found := _listed(counts, _RUNS)) else ""
    lost = f"; {_counted(counts['lost'], 'lease', 'leases')} lost" if counts.get("lost") else ""
    return f"queue {queue}: {counts['received']} received{': ' if ends else ''}{ends} in {seconds:.1f} s{runs}{lost}"


def _listed(counts: Mapping[str, int], words: Mapping[str, tuple[str, str]]) -> str:
    return ", ".join(_counted(counts[name], *forms) for name, forms in words.items() if counts.get(name))


def _counted(count: int, one: str, many: str) -> str:
    return f"{count} {one if count == 1 else many}"
