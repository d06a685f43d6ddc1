"""Messages that ended in the same way: those of a batch are told in one line.

Used by logs. Pure.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from leasekeeper.events import Conclusion


def ended_alike(conclusions: Sequence[Conclusion]) -> list[list[Conclusion]]:
    """Those in a row that ended by one outcome of one batch together, with the same consequence."""
    found: list[list[Conclusion]] = []
    for each in conclusions:
        last = found[-1][0] if found else None
        if last is not None and last.outcome is each.outcome and _consequence(last) == _consequence(each):
            found[-1].append(each)
        else:
            found.append([each])
    return found


def _consequence(conclusion: Conclusion) -> tuple[object, ...]:
    return conclusion.counted, conclusion.last, conclusion.copied, conclusion.settled, conclusion.again
