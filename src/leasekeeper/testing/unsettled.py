"""The sentence of a trial whose messages are not settled: which ones, when they come again, and why they failed.

Owned by a `Trial`, which has it note how handlers end.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from leasekeeper.local.model.stored import Place
from leasekeeper.outcomes import Failed, Reject, Retry
from leasekeeper.texts import bounded, safe_str

if TYPE_CHECKING:
    from collections.abc import Sequence

    from leasekeeper.events import HandlersEnded
    from leasekeeper.local.model.stored import Stored
    from leasekeeper.outcomes import Outcome

SHOWN = 3
"""Messages of a queue that are described; the others are counted."""


class LastEnds:
    """How each message ended last that was not done."""

    def __init__(self) -> None:
        self._outcomes: dict[str, Outcome] = {}

    def note(self, event: HandlersEnded) -> None:
        """Take the news of a consumer."""
        self._outcomes |= {each.message.message_id: each.outcome for each in event.others}

    def describe(self, queue: str, messages: Sequence[Stored], *, within: float, now: float) -> str:
        """The sentence for what is left of one queue.

        Args:
            queue: its name.
            messages: what is left, the oldest first.
            within: seconds that the test has waited.
            now: the time on the clock of the messages.
        """
        what = "1 message of {} is" if len(messages) == 1 else f"{len(messages):,} messages of {{}} are"
        shown = [self._describe_one(each, now) for each in messages[:SHOWN]]
        if len(messages) > SHOWN:
            shown.append(f"and {len(messages) - SHOWN:,} more")
        return f"{what.format(queue)} not settled after {within:g} s: {', '.join(shown)}"

    def _describe_one(self, message: Stored, now: float) -> str:
        times = "1 time" if message.receives == 1 else f"{message.receives:,} times"
        facts = f"received {times}, {_place(message, now)}"
        outcome = self._outcomes.get(message.id)
        return f"{bounded(message.content.body, 100)!r} ({facts}{'' if outcome is None else f'; {_end(outcome)}'})"


def _place(message: Stored, now: float) -> str:
    if message.place is Place.VISIBLE:
        return "visible"
    again = "again " if message.receives else ""
    return f"visible {again}in {max(message.due - now, 0):.3g} s"


def _end(outcome: Outcome) -> str:
    if isinstance(outcome, Failed):
        return f"last failure {type(outcome.error).__name__}: {safe_str(outcome.error, 200)}"
    if isinstance(outcome, Reject):
        return f"rejected last: {safe_str(outcome.reason, 200)}"
    return "the last run asked for a retry" if isinstance(outcome, Retry) else f"the last run: {outcome!r}"
