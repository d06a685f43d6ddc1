"""The fill: how many messages an answer holds while the queue has more of them.

The throttler owns one, and so can tell a queue that is nearly empty from one that answers in small portions.
It promises that its mistakes end: what it has learnt is tried again, and forgotten when the queue is found empty.
"""

from __future__ import annotations

import math

TRIAL = 12
"""How many answers are weighed together: with fewer, chance decides; with more, a burst waits for the decision."""

LONGEST_REST = 64
"""The most answers between two trials: a trial each 64 answers costs a sixth of a call more a message, at worst."""

TELLING = 0.7
"""By how much, as a logarithm, the pace must have changed before it tells anything: to the half, or to the double."""

DOUBT = 5.0
"""Seconds after which plenty is doubted for the first time, by slowing down; then after twice as long, and so on."""

LONGEST_DOUBT = 60.0
"""The longest time, in seconds, for which plenty is believed without being doubted."""

WHOLE = 0.8
"""The share of the usual answer from which on an answer is as good as a full one: half of them are below the usual."""


class Fill:
    """What counts as a full answer: at most a batch, and of a real queue often less, whatever it holds.

    A short answer may mean that the queue is nearly empty, or that it is spread over many servers of which few had a
    say. The two differ in what a change of pace does. If rarer calls bring more each, the queue brings what arrives,
    and rarer calls will do. If they bring the same each, there is more to be had, and an answer of that size is as
    good as a full one. So now and then calls are made without pauses, for `TRIAL` answers, and what they bring is
    compared with what the paused ones brought. And what passes for plenty is doubted every few seconds: answers count
    as short again, pollers slow down, and again the two are compared.

    Args:
        batch: how many messages a call asks for.

    Attributes:
        whole: how many messages make an answer as good as a full one: the batch, until less is known to do.
        trying: whether a trial is on, so that pollers should not pause.
    """

    __slots__ = ("_answers", "_batch", "_believed", "_doubt", "_got", "_known", "_rest", "_since", "trying", "whole")

    def __init__(self, batch: int) -> None:
        self._batch = batch
        self.forget(trying=True)

    def forget(self, *, trying: bool) -> None:
        """Learn anew, e.g. because the queue was found empty, so that what comes next says nothing about plenty.

        Args:
            trying: begin with a trial: nothing has come for long, and when something comes it may be much.
        """
        self.whole = float(self._batch)
        self.trying = trying
        self._known: tuple[float, float] | None = None  # answers a second, messages an answer
        self._rest = TRIAL
        self._doubt = DOUBT
        self._believed = math.inf  # until when
        self._answers = self._got = 0
        self._since = math.inf

    def answered(self, now: float, got: int) -> None:
        """Count an answer that held messages, to a call that asked for a batch.

        Args:
            now: seconds, monotonic.
            got: how many messages, 1 or more.
        """
        if self._since > now:
            self._since = now
            return
        self._answers += 1
        self._got += got
        if self._answers < (TRIAL if self.trying else self._rest):
            return
        self._weigh(now, self._answers / max(now - self._since, 1e-9), self._got / self._answers)
        self._answers = self._got = 0
        self._since = now
        if not self.trying:
            self._rest = min(2 * self._rest, LONGEST_REST)
        self.trying = not self.trying

    def _weigh(self, now: float, pace: float, fill: float) -> None:
        """Take up answers a second and messages an answer, and judge by what they were at another pace."""
        if now >= self._believed:
            self.whole = float(self._batch)
            self._believed = math.inf
            self._doubt = min(2 * self._doubt, LONGEST_DOUBT)
            self._rest = TRIAL
        elif self._known is not None:
            faster, fuller = math.log(pace / self._known[0]), math.log(fill / self._known[1])
            if abs(faster) < TELLING:
                return
            # Of what arrives anyway, twice the calls bring half each: fuller == -faster. Of plenty: fuller == 0.
            # Single messages are what a trickle brings at any pace; taken for plenty, they would call all pollers.
            if fuller / faster > -0.5 and fill >= 2:
                self.whole = WHOLE * fill
                self._believed = min(self._believed, now + self._doubt)
            else:
                self.whole = float(self._batch)
                self._believed = math.inf
                self._doubt = DOUBT
        self._known = pace, fill

    def __repr__(self) -> str:
        return f"<Fill: {self.whole:.2g} of {self._batch} is a whole answer{', trying' if self.trying else ''}>"
