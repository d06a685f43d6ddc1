"""Succession: the next message of a group starts where the one before has returned, without a way through the engine.

Stands between a lane and the engine's mailbox, for FIFO queues. The engine hands over the messages of a group together
(`Group.lead`). The first one goes to the lane, and each of the others follows when the one before has simply returned.
After anything else nothing follows: then the engine takes back what is left, and decides. Nothing is promised to a
message here: one that the engine takes back, or whose lease has ended, does not start.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from leasekeeper.lanes.api import Answer
from leasekeeper.outcomes import DONE, NOT_STARTED

if TYPE_CHECKING:
    from collections import deque
    from collections.abc import Callable, Sequence

    from leasekeeper.core.delivery import Delivery
    from leasekeeper.core.group import GroupedDelivery
    from leasekeeper.lanes.api import Answers


class Succession:
    """Takes answers to the engine, and starts what follows them.

    Args:
        answers: the engine's mailbox.
        follow: has the lane start messages. Called in the thread in which those before them have ended.
        clock: seconds, monotonic.
    """

    __slots__ = ("_clock", "_follow", "_post", "post_one")

    def __init__(
        self,
        answers: Answers[Delivery],
        follow: Callable[[Sequence[GroupedDelivery]], object],
        clock: Callable[[], float],
    ) -> None:
        self._post = answers.post
        self._follow = follow
        self._clock = clock
        self.post_one = answers.post_one  # what a handler says while it runs: nothing follows

    def post(self, items: Sequence[Answer[Any]]) -> bool:
        """Post answers. False: the engine has ended, and nothing follows."""
        # Race: these are looked up before the post. After it, the engine may hand over more of the same group, and the
        # first of that goes to the lane by itself.
        following = [
            rows
            for answer in items
            if answer.outcome is DONE and (unit := answer.unit).settlement is None and (rows := unit.group.following)
        ]
        posted = self._post(items)
        if following and posted:
            self._start(following)
        return posted

    def _start(self, following: Sequence[deque[GroupedDelivery]]) -> None:
        now = self._clock()
        starting: list[GroupedDelivery] = []
        for rows in following:
            try:
                row = rows.popleft()
            except IndexError:  # the engine has taken it back
                continue
            if row.lease.deadline > now:
                starting.append(row)
            else:
                self._post((Answer(row, NOT_STARTED),))
        if starting:
            self._follow(starting)
