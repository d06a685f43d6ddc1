"""What a simulation with a FIFO queue records, and what must hold of it: pure checks, told of each event as it happens.

Used by `fifo_simulation.py`. Each check says in words what broke.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Container


ANYONE = -1
"""In the place of a consumer's number: it is not known which one it was."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a message stands: its group and its number in the group, from 0, in the order of sending."""

    group: str
    number: int


@dataclass(eq=False, slots=True)
class Run:
    """A run of a handler.

    Attributes:
        consumer: the number of the consumer.
        body: the message.
        received: when the delivery that it runs was received.
        call: the number of the call; the messages of a batch have the same.
    """

    consumer: int
    body: str
    received: float
    call: int


@dataclass(slots=True)
class Record:
    """What happened so far.

    Attributes:
        places: each message's place, by body.
        dead: tells the bodies in the dead-letter queue.
        batches: whether handlers take batches.
        copies_first: whether the copy of a rejected message must be there before what stands behind it is deleted: no
            consumer is stopped or killed meanwhile.
        violations: what broke, in words.
        runs: how many runs of each message have started.
        failures: how many runs of each message failed.
        succeeded: how many runs of each message succeeded.
        rejected: messages that a handler rejected.
        undecodable: messages that no handler gets.
        deleted: messages that the server has deleted.
        lapses: leases that ended while a consumer held the message: time, consumer, body.
        trace: each event as time, kind, consumer and body. Equal seeds give equal traces.
    """

    dead: Callable[[], set[str]]
    batches: bool = False
    copies_first: bool = False
    places: dict[str, Place] = field(default_factory=dict)
    violations: list[str] = field(default_factory=list)
    runs: Counter[str] = field(default_factory=Counter)
    failures: Counter[str] = field(default_factory=Counter)
    succeeded: Counter[str] = field(default_factory=Counter)
    rejected: set[str] = field(default_factory=set)
    undecodable: set[str] = field(default_factory=set)
    deleted: set[str] = field(default_factory=set)
    lapses: list[tuple[float, int, str]] = field(default_factory=list)
    trace: list[tuple[float, str, int, str]] = field(default_factory=list)
    _dead: set[str] = field(default_factory=set)
    _done_in: set[tuple[int, str]] = field(default_factory=set)
    _at_work: dict[str, list[Run]] = field(default_factory=lambda: defaultdict(list))
    _first: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    _next: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    _bodies: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))

    def sent(self, body: str, group: str) -> None:
        """A message was sent."""
        bodies = self._bodies[group]
        self.places[body] = Place(group, len(bodies))
        bodies.append(body)

    def note(self, now: float, what: str, consumer: int, body: str = "") -> None:
        """Add to the trace."""
        self.trace.append((round(now, 6), what, consumer, body))

    def lapsed(self, now: float, consumer: int, body: str) -> None:
        """A lease ended at the server while the consumer held the message."""
        self.lapses.append((now, consumer, body))
        self.note(now, "lapse", consumer, body)

    def started(self, now: float, run: Run) -> None:
        """A handler started: no other may be at work in the group."""
        self.note(now, "start", run.consumer, run.body)
        self.runs[run.body] += 1
        at_work = self._at_work[self.places[run.body].group]
        for other in at_work:
            if other.call == run.call:
                continue
            if other.consumer == run.consumer:
                self._broke(now, f"{run.body} started in consumer {run.consumer} while {other.body} ran there")
            elif not (self._excused(other) or self._excused(run)):
                self._broke(
                    now,
                    f"{run.body} started in consumer {run.consumer} while {other.body} of its group ran in "
                    f"{other.consumer}, and no lease had ended",
                )
        at_work.append(run)

    def confirmed(self, now: float, run: Run) -> None:
        """A handler started where each delete is waited for: all earlier messages must have left the queue."""
        place = self.places[run.body]
        left = self._left(place)
        if self.batches:  # what was undecodable in the same batch is copied when that has ended
            left = [body for body in left if body not in self.undecodable]
        if left and not self._excused(run):
            self._broke(now, f"{run.body} started before {left[0]} of its group had left the queue")

    def ended(self, now: float, run: Run, how: str) -> None:
        """A handler ended."""
        self.note(now, how, run.consumer, run.body)
        self._at_work[self.places[run.body].group].remove(run)

    def failed(self, run: Run) -> None:
        """That run failed."""
        self.failures[run.body] += 1

    def success(self, now: float, run: Run) -> None:
        """That run succeeded: at its first success, each earlier message of the group must be done.

        In a batch, what stands behind a rejected message is done before the copy of that is confirmed.
        """
        self.succeeded[run.body] += 1
        if (run.consumer, run.body) in self._done_in:
            self._broke(now, f"{run.body} succeeded twice in consumer {run.consumer}, which remembers what it finished")
        self._done_in.add((run.consumer, run.body))
        if self.succeeded[run.body] > 1:
            return
        place = self.places[run.body]
        earlier = self._unfinished(place)
        if self.batches:
            earlier = [body for body in earlier if body not in self.rejected]
        if earlier and not self._excused(run):
            self._broke(
                now,
                f"{run.body} succeeded in consumer {run.consumer} before {', '.join(earlier)}, and no lease of it or "
                "of an earlier message had ended",
            )

    def removed(self, now: float, body: str, call: set[str], given_up: Callable[[str], bool]) -> None:
        """The server deleted a message, by a call with these: all earlier ones of its group must have gone before.

        A message in the same call does not count: the server may fail any entry. Nor does one whose lease had ended:
        what ran behind it is deleted when it has finished; nor, in a batch, one that was rejected, unless
        `copies_first` is set.

        Args:
            now: when.
            body: the message.
            call: all messages of the call.
            given_up: whether no consumer holds a message any more: it gives its lease up a second early.
        """
        self.deleted.add(body)
        place = self.places[body]
        left = [other for other in self._left(place) if other not in call]
        if self.batches and not self.copies_first:
            left = [other for other in left if other not in self.rejected]
        if left and not self._lapsed_before(left[0]) and not given_up(left[0]):
            self._broke(now, f"{body} was deleted before {left[0]} of its group")

    def killed(self, consumer: int) -> None:
        """A consumer was killed: its handlers are gone."""
        for at_work in self._at_work.values():
            at_work[:] = [run for run in at_work if run.consumer != consumer]

    def busy(self, consumer: int) -> int:
        """How many handlers are at work in a consumer."""
        return len({run.call for at_work in self._at_work.values() for run in at_work if run.consumer == consumer})

    def broke(self, now: float, words: str) -> None:
        """Something broke."""
        self._broke(now, words)

    def _left(self, place: Place) -> list[str]:
        """The messages before this place that are in the queue."""
        return self._before(place, self._first, self.deleted)

    def _unfinished(self, place: Place) -> list[str]:
        """The messages before this place that have neither succeeded nor are dead letters."""
        return self._before(place, self._next, self.succeeded)

    def _before(self, place: Place, first: dict[str, int], done: Container[str]) -> list[str]:
        """The messages before this place that are neither done nor dead letters; `first` skips those at the start."""
        bodies, group = self._bodies[place.group], place.group
        while first[group] < place.number and (bodies[first[group]] in done or bodies[first[group]] in self._dead):
            first[group] += 1
        before = [body for body in bodies[first[group] : place.number] if body not in done]
        if before:
            self._dead |= self.dead()
        return [body for body in before if body not in self._dead]

    def _excused(self, run: Run) -> bool:
        """Whether a lease of this message, or of an earlier one, ended in this hold of its consumer."""
        place = self.places[run.body]
        for at, consumer, body in reversed(self.lapses):
            if at < run.received:
                return False
            other = self.places[body]
            if consumer in {run.consumer, ANYONE} and other.group == place.group and other.number <= place.number:
                return True
        return False

    def _lapsed_before(self, body: str) -> bool:
        """Whether a lease of this message, or of an earlier one of its group, has ever ended."""
        place = self.places[body]
        others = (self.places[other] for _, _, other in self.lapses)
        return any(other.group == place.group and other.number <= place.number for other in others)

    def _broke(self, now: float, words: str) -> None:
        self.violations.append(f"at {now:.3f} s {words}")
