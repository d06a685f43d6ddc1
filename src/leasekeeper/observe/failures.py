"""Failures, grouped by exception and place: what fails, how often, since when, and where in the code.

Owned by a recorder. It keeps texts only: no exception, no frame and no message, so no body stays in memory. Groups and
the ids of each are bounded.
"""

from __future__ import annotations

import traceback
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from leasekeeper.observe.masking import masked
from leasekeeper.outcomes import Failed, Reject
from leasekeeper.texts import bounded, safe_str
from leasekeeper.tracebacks import LIBRARIES, OURS

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType

    from leasekeeper.events import Conclusion

GROUPS = 200
"""Groups that are kept: those that failed last."""
IDS = 20
"""Message ids that are kept of each group."""
REFRESH = 1.0
"""Seconds between two texts that are taken of a group: to write a traceback costs more than to count."""
FRAMES = 20
"""Calls of a traceback that are shown, the innermost."""
CHAIN = 5
"""Errors of a chain of causes that are shown."""


@dataclass(slots=True)
class Group:
    """Failures of one exception at one place."""

    type: str
    where: str
    """The innermost line of the user's own code, or of the code that failed: `shop.py:12 in ship`."""
    first: float
    last: float
    count: int = 0
    message: str = ""
    traceback: str = ""
    ids: dict[str, int] = field(default_factory=dict)
    """The messages that failed last, each once with its newest attempt; the last one at the end."""
    written: float = 0.0
    """When its texts were taken."""


class Failures:
    """Groups of failures, those that failed last at the end."""

    def __init__(self) -> None:
        self._groups: dict[tuple[str, str], Group] = {}

    def add(self, conclusion: Conclusion, at: float) -> None:
        """Count how a message ended, if its handler raised or rejected it; `at` is in seconds since 1970."""
        outcome = conclusion.outcome
        if isinstance(outcome, Failed):
            error: BaseException | None = outcome.error
            name, where = _name(outcome.error), place_of(outcome.error.__traceback__) or conclusion.handler
        elif isinstance(outcome, Reject):
            error, name, where = outcome, "Reject", place_of(outcome.__traceback__) or conclusion.handler
        else:
            return
        group = self._groups.pop((name, where), None)
        if group is None:
            group = Group(name, where, first=at, last=at)
            if len(self._groups) >= GROUPS:
                del self._groups[next(iter(self._groups))]
        self._groups[name, where] = group
        group.count += 1
        group.last = at
        message_id = conclusion.message.message_id
        group.ids.pop(message_id, None)  # it failed before: it is now the newest
        group.ids[message_id] = conclusion.attempt
        if len(group.ids) > IDS:
            del group.ids[next(iter(group.ids))]
        if error is not None and at - group.written >= REFRESH:
            group.written = at
            body = conclusion.message.body
            group.message = masked(_text(error), body)
            group.traceback = written(error, body)

    def newest_first(self) -> list[Group]:
        """The groups, that which failed last first; may be asked from any thread."""
        return list(self._groups.values())[::-1]

    def __repr__(self) -> str:
        return f"<Failures {len(self._groups)} groups>"


def _name(error: BaseException) -> str:
    kind = type(error)
    return (
        kind.__qualname__ if kind.__module__ in {"builtins", "__main__"} else f"{kind.__module__}.{kind.__qualname__}"
    )


def _text(error: BaseException) -> str:
    return bounded(error.reason) if isinstance(error, Reject) else safe_str(error)


def place_of(trace: TracebackType | None) -> str:
    """The innermost line of the user's code; of libraries if there is none; empty without a traceback."""
    found = of_library = ""
    while trace is not None:
        code = trace.tb_frame.f_code
        path = code.co_filename
        if not path.startswith(OURS):
            place = f"{Path(path).name}:{trace.tb_lineno} in {code.co_qualname}"
            if path.startswith((*LIBRARIES, "<")):
                of_library = place
            else:
                found = place
        trace = trace.tb_next
    return found or of_library


def written(error: BaseException, body: str) -> str:
    """The traceback as Python prints it, without our own frames, and with the texts of errors masked."""
    parts: list[str] = []
    for each, link in _chain(error):
        calls = [frame for frame in traceback.extract_tb(each.__traceback__) if not frame.filename.startswith(OURS)][
            -FRAMES:
        ]
        head = "Traceback (most recent call last):\n" if calls else ""
        text = masked(_text(each), body)
        parts.append(f"{head}{''.join(traceback.format_list(calls))}{_name(each)}{': ' if text else ''}{text}\n{link}")
    return "".join(reversed(parts)).rstrip("\n")


def _chain(error: BaseException) -> Iterator[tuple[BaseException, str]]:
    """The error and what led to it, each with the sentence that Python prints after it."""
    seen: set[int] = set()
    link, each = "", error
    while id(each) not in seen and len(seen) < CHAIN:
        seen.add(id(each))
        yield each, link
        if each.__cause__ is not None:
            each, link = each.__cause__, "\nThe above exception was the direct cause of the following exception:\n\n"
        elif each.__context__ is not None and not each.__suppress_context__:
            each = each.__context__
            link = "\nDuring handling of the above exception, another exception occurred:\n\n"
