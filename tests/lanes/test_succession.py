"""What starts where a handler has ended: the next message of a group, if the engine has handed it over."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest

from leasekeeper.core.delivery import LeasePolicy
from leasekeeper.core.group_ledger import GroupLedger
from leasekeeper.core.groups import Groups
from leasekeeper.lanes.api import Answer
from leasekeeper.lanes.succession import Succession
from leasekeeper.message import Received
from leasekeeper.outcomes import DONE, NOT_STARTED, WITHHELD, Failed, Settlement

if TYPE_CHECKING:
    from collections.abc import Sequence

    from leasekeeper.core.delivery import Delivery
    from leasekeeper.core.group import GroupedDelivery
    from leasekeeper.outcomes import Outcome

LEASE = 30.0


class Scene:
    """Messages of one group, of which the first is in the lane, and what a lane and the engine hear."""

    def __init__(self, count: int = 3) -> None:
        self.now = 0.0
        self.open = True
        self.followed: list[str] = []
        self.answers: list[tuple[str, Outcome]] = []
        self.groups = Groups(confirmed=False, max_receives=None, give_back=lambda _: None)
        self.groups.leads = True
        self.ledger = GroupLedger(LeasePolicy(visibility=LEASE, extend_after=15.0), self.groups)
        self.succession = Succession(self, self._follow, lambda: self.now)
        self.rows = self.receive(*map(str, range(count)))
        [self.first] = self.groups.starts(0.0)

    def receive(self, *sequence: str) -> list[Delivery]:
        sent = [
            Received(message_id=each, receipt=each, system={"MessageGroupId": "g", "SequenceNumber": each})
            for each in sequence
        ]
        return self.ledger.receive(sent, requested_at=0.0, now=0.0)[0]

    def _follow(self, rows: Sequence[GroupedDelivery]) -> None:
        self.followed += [row.received.message_id for row in rows]

    def post(self, items: Sequence[Answer[Delivery]]) -> bool:
        self.answers += [(answer.unit.received.message_id, answer.outcome) for answer in items]
        return self.open

    def post_one(self, item: Answer[Delivery]) -> bool:
        return self.post((item,))

    def returned(self, row: Delivery) -> None:
        """Its handler returned, and the engine has settled it."""
        assert self.succession.post([Answer(row, DONE)])
        self.ledger.done([row])
        self.groups.all_ended([row])


def test_each_message_of_a_group_follows_the_one_before_when_that_has_returned() -> None:
    scene = Scene()
    assert scene.followed == []
    for row in scene.rows:
        scene.returned(row)
    assert scene.followed == ["1", "2"]
    assert scene.groups.busy == 0
    assert scene.answers == [("0", DONE), ("1", DONE), ("2", DONE)]


@pytest.mark.parametrize("outcome", [Failed(ValueError()), WITHHELD, NOT_STARTED])
def test_nothing_follows_a_message_that_has_not_returned(outcome: Outcome) -> None:
    """L25: the engine decides what it means."""
    scene = Scene()
    scene.succession.post([Answer(scene.rows[0], outcome)])
    assert scene.followed == []


def test_nothing_follows_a_message_that_its_handler_has_settled() -> None:
    """L25: it may have asked for a retry, and then returned."""
    scene = Scene()
    scene.rows[0].settlement = Settlement(asked=DONE)
    scene.succession.post([Answer(scene.rows[0], DONE)])
    assert scene.followed == []


def test_nothing_follows_when_the_engine_has_ended() -> None:
    """L24."""
    scene = Scene()
    scene.open = False
    assert not scene.succession.post([Answer(scene.rows[0], DONE)])
    assert scene.followed == []


def test_what_was_taken_back_does_not_follow_and_can_be_started_again() -> None:
    scene = Scene()
    scene.first.group.take_back()
    scene.returned(scene.rows[0])
    assert scene.followed == []
    assert scene.groups.starts(0.0) == [scene.rows[1]]
    scene.returned(scene.rows[1])
    assert scene.followed == ["2"]


def test_a_message_whose_lease_has_ended_does_not_follow() -> None:
    """L25: the engine may be late to notice. It is answered, so that it is not forgotten."""
    scene = Scene()
    scene.now = LEASE
    scene.succession.post([Answer(scene.rows[0], DONE)])
    assert scene.followed == []
    assert scene.answers == [("0", DONE), ("1", NOT_STARTED)]


def test_an_earlier_message_that_arrives_late_runs_before_what_has_not_been_taken() -> None:
    """L25: it was given back and is received again, while later ones wait."""
    scene = Scene(1)
    scene.receive("5", "6")
    scene.returned(scene.rows[0])
    [fifth] = scene.groups.starts(0.0)
    scene.receive("4")
    scene.returned(fifth)
    assert scene.followed == []
    assert [row.received.message_id for row in scene.groups.starts(0.0)] == ["4"]


def test_each_message_is_either_taken_or_taken_back() -> None:
    """Race: the engine takes back what threads take at the same time. Nothing is lost, and what was taken is first."""
    for _ in range(200):
        scene = Scene(10)
        group, go = scene.first.group, threading.Barrier(2)

        def take(scene: Scene = scene, go: threading.Barrier = go) -> None:
            go.wait()
            for row in scene.rows:
                scene.succession.post([Answer(row, DONE)])

        thread = threading.Thread(target=take)
        thread.start()
        go.wait()
        group.take_back()
        thread.join()
        taken = [row.received.message_id for row in group.run][1:]
        assert scene.followed == taken == [str(n) for n in range(1, 1 + len(taken))]
