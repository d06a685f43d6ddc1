"""Adds up what the processes of a supervisor did.

Owned by the supervisor, told by its children. It promises one line for each queue.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from leasekeeper.tallies import sentence

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator


class Summary:
    """The sum of the reports.

    Args:
        count: processes that should run at the same time.
    """

    def __init__(self, count: int) -> None:
        self._count = count
        self._counts: dict[str, Counter[str]] = {}
        self._given_back: dict[str, Counter[str]] = {}
        self._seconds: dict[str, float] = {}
        self._reports: Counter[str] = Counter()
        self._silent = 0

    def lost(self) -> None:
        """Note a process that received messages and ended without a report, because it was killed."""
        self._silent += 1

    def add(self, reports: Iterable[dict[str, Any]]) -> None:
        """Add the reports of one process."""
        for report in reports:
            queue = str(report.get("queue"))
            counts = self._counts.setdefault(queue, Counter())
            counts.update({name: value for name, value in report.items() if type(value) is int})
            self._given_back.setdefault(queue, Counter()).update(report.get("given_back") or {})
            self._seconds[queue] = max(self._seconds.get(queue, 0.0), float(report.get("seconds", 0.0)))
            self._reports[queue] += 1

    def lines(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """A sentence for each queue, and the numbers in it."""
        for queue, counts in self._counts.items():
            processes = self._reports[queue]
            total = max(self._count, processes + self._silent)
            who = f"all {total} processes: " if processes == total else f"{processes} of {total} processes: "
            words = sentence(queue, counts, self._given_back[queue], self._seconds[queue])
            numbers = {"queue": queue, "processes": processes, "seconds": self._seconds[queue], **counts}
            yield who + words if total > 1 else words, numbers
        if self._silent:
            one = "1 process ended without a report: what it did is not counted"
            many = f"{self._silent} processes ended without a report: what they did is not counted"
            yield one if self._silent == 1 else many, {"unreported": self._silent}
