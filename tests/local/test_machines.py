"""The model compared with a naive one, a list of rows, in calls that Hypothesis chooses."""

from __future__ import annotations

import json
from dataclasses import dataclass
from random import Random
from typing import Any, NamedTuple

import hypothesis.strategies as st
import pytest
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from leasekeeper.local.model import Account, Refusal

MOST_RECEIVES = 3
TIMEOUTS = st.sampled_from([0, 1, 3, 10])
PICKS = st.integers(0, 12)  # among the latest receipts, most of which are still valid


@dataclass
class Row:
    """A message of the naive model."""

    body: str
    group: str
    visible_at: float
    receives: int = 0

    @property
    def spent(self) -> bool:
        return self.receives >= MOST_RECEIVES


class Held(NamedTuple):
    body: str
    receipt: str
    receive: int


class World:
    """The queue under test with its dead-letter queue, and the rows that must be in them."""

    def __init__(self, suffix: str = "") -> None:
        self.account = Account(Random(0))
        self.now = 0.0
        self.sent = 0
        self.rows: list[Row] = []
        self.dead_bodies: set[str] = set()
        self.held: list[Held] = []
        attributes = {"FifoQueue": "true"} if suffix else {}
        self.dead = self.call("CreateQueue", QueueName=f"dead{suffix}", Attributes=attributes)["QueueUrl"]
        target = self.account.arn(f"dead{suffix}")
        attributes["RedrivePolicy"] = json.dumps({"deadLetterTargetArn": target, "maxReceiveCount": MOST_RECEIVES})
        self.url = self.call("CreateQueue", QueueName=f"queue{suffix}", Attributes=attributes)["QueueUrl"]

    def call(self, operation: str, **request: Any) -> dict[str, Any]:
        return self.account.call(operation, request, self.now)

    def ask(self, operation: str, **request: Any) -> dict[str, Any]:
        return self.call(operation, QueueUrl=self.url, **request)

    def visible(self, row: Row) -> bool:
        return row.visible_at <= self.now

    def row(self, body: str) -> Row | None:
        return next((row for row in self.rows if row.body == body), None)

    def receive(self, most: int, timeout: int) -> list[Row]:
        """Receive, compare each message with its row, and update the row."""
        answer = self.ask(
            "ReceiveMessage", MaxNumberOfMessages=most, VisibilityTimeout=timeout, MessageSystemAttributeNames=["All"]
        )
        taken = []
        for message in answer.get("Messages", []):
            row = self.row(message["Body"])
            assert row is not None, "a message came that is not there"
            assert row not in taken, "a message came twice in one receive"
            assert self.visible(row), "an invisible message came"
            assert not row.spent, "a message came that had been received too often"
            row.receives += 1
            assert message["Attributes"]["ApproximateReceiveCount"] == str(row.receives)
            self.held.append(Held(row.body, message["ReceiptHandle"], row.receives))
            taken.append(row)
        for row in taken:
            row.visible_at = self.now + timeout
        return taken

    def newly_dead(self) -> list[Row]:
        """Remove and return the rows that went to the dead-letter queue since the last call of this."""
        dead = self.account.by_arn(self.account.arn(self.dead.rpartition("/")[2]))
        assert dead is not None
        bodies = {message.content.body for message in dead.contents()}
        rows = [row for row in self.rows if row.body in bodies]
        self.rows = [row for row in self.rows if row.body not in bodies]
        assert len(bodies) == len(self.dead_bodies) + len(rows)
        self.dead_bodies = bodies
        return rows

    def check_counts(self) -> None:
        visible = sum(map(self.visible, self.rows))
        in_flight = sum(row.receives > 0 and not self.visible(row) for row in self.rows)
        shown = self.ask("GetQueueAttributes", AttributeNames=["All"])["Attributes"]
        assert int(shown["ApproximateNumberOfMessages"]) == visible
        assert int(shown["ApproximateNumberOfMessagesNotVisible"]) == in_flight
        assert int(shown["ApproximateNumberOfMessagesDelayed"]) == len(self.rows) - visible - in_flight

    def outcome(self, operation: str, held: Held, **request: Any) -> str:
        """The code with which a call with a receipt was refused; empty if it was not."""
        try:
            self.ask(operation, ReceiptHandle=held.receipt, **request)
        except Refusal as refusal:
            return refusal.code.rpartition(".")[2]
        return ""


class StandardMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.world = World()

    @rule(delay=st.sampled_from([0, 0, 2]), group=st.sampled_from(["", "a", "b"]))
    def send(self, delay: int, group: str) -> None:
        world = self.world
        world.sent += 1
        grouped = {"MessageGroupId": group} if group else {}
        world.ask("SendMessage", MessageBody=str(world.sent), DelaySeconds=delay, **grouped)
        world.rows.append(Row(str(world.sent), group, world.now + delay))

    @rule(most=st.integers(1, 10), timeout=TIMEOUTS)
    def receive(self, most: int, timeout: int) -> None:
        world = self.world
        spent = [row for row in world.rows if world.visible(row) and row.spent]
        fit = [row for row in world.rows if world.visible(row) and not row.spent]
        taken = world.receive(most, timeout)
        assert len(taken) == min(most, len(fit))
        dead = world.newly_dead()
        assert all(row in spent for row in dead)
        if len(taken) < most:
            assert len(dead) == len(spent), "a receive that found too few has looked at every message"

    @precondition(lambda self: self.world.held)
    @rule(pick=PICKS)
    def delete(self, pick: int) -> None:
        world = self.world
        held = world.held[-1 - pick % len(world.held)]
        row = world.row(held.body)
        assert world.outcome("DeleteMessage", held) == ""
        if row is not None and row.receives == held.receive:
            world.rows.remove(row)

    @precondition(lambda self: self.world.held)
    @rule(pick=PICKS, timeout=TIMEOUTS)
    def change_visibility(self, pick: int, timeout: int) -> None:
        world = self.world
        held = world.held[-1 - pick % len(world.held)]
        row = world.row(held.body)
        outcome = world.outcome("ChangeMessageVisibility", held, VisibilityTimeout=timeout)
        assert outcome == ("" if row else "InvalidParameterValue")
        if row is not None:
            row.visible_at = world.now + timeout

    @rule(seconds=st.sampled_from([0.5, 1, 2, 5]))
    def time_passes(self, seconds: float) -> None:
        self.world.now += seconds

    @invariant()
    def counts_are_right(self) -> None:
        self.world.check_counts()


class FifoMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.world = World(".fifo")
        self.remembered: dict[str, tuple[float, dict[str, Any]]] = {}

    @rule(group=st.sampled_from("ab"), count=st.integers(1, 4))
    def send(self, group: str, count: int) -> None:
        for _ in range(count):
            self.deduplicated(group, f"unique-{self.world.sent}")

    @rule(group=st.sampled_from("ab"), dedup_id=st.sampled_from("xy"))
    def deduplicated(self, group: str, dedup_id: str) -> None:
        world = self.world
        world.sent += 1
        answer = world.ask(
            "SendMessage", MessageBody=str(world.sent), MessageGroupId=group, MessageDeduplicationId=dedup_id
        )
        sent_at, earlier = self.remembered.get(dedup_id, (-1e9, {}))
        if world.now - sent_at < 300:
            assert answer["MessageId"] == earlier["MessageId"]
            assert answer["SequenceNumber"] == earlier["SequenceNumber"]
        else:
            self.remembered[dedup_id] = (world.now, answer)
            world.rows.append(Row(str(world.sent), group, world.now))

    def receivable(self) -> dict[str, list[Row]]:
        """The rows of each group that come before its first invisible one."""
        prefixes: dict[str, list[Row]] = {}
        locked = set()
        for row in self.world.rows:
            if not self.world.visible(row):
                locked.add(row.group)
            elif row.group not in locked:
                prefixes.setdefault(row.group, []).append(row)
        return prefixes

    @rule(most=st.integers(1, 10), timeout=TIMEOUTS)
    def receive(self, most: int, timeout: int) -> None:
        world = self.world
        prefixes = self.receivable()
        fit = {group: [row for row in rows if not row.spent] for group, rows in prefixes.items()}
        taken = world.receive(most, timeout)
        assert len(taken) == min(most, sum(map(len, fit.values())))
        groups = list(dict.fromkeys(row.group for row in taken))
        for group in groups:
            own = [row for row in taken if row.group == group]
            whole = group != groups[-1] or len(taken) < most
            assert own == (fit[group] if whole else fit[group][: len(own)]), "a group came out of its order"
        dead = world.newly_dead()
        spent = [row for rows in prefixes.values() for row in rows if row not in fit[row.group]]
        assert all(row in spent for row in dead)
        if len(taken) < most:
            assert len(dead) == len(spent)

    @precondition(lambda self: self.world.held)
    @rule(pick=PICKS)
    def delete(self, pick: int) -> None:
        world = self.world
        held = world.held[-1 - pick % len(world.held)]
        row = world.row(held.body)
        outcome = world.outcome("DeleteMessage", held)
        if row is None:
            assert outcome == ""
        elif row.receives != held.receive or world.visible(row):
            assert outcome == "InvalidParameterValue"
        else:
            assert outcome == ""
            world.rows.remove(row)

    @precondition(lambda self: self.world.held)
    @rule(pick=PICKS, timeout=TIMEOUTS)
    def change_visibility(self, pick: int, timeout: int) -> None:
        world = self.world
        held = world.held[-1 - pick % len(world.held)]
        row = world.row(held.body)
        outcome = world.outcome("ChangeMessageVisibility", held, VisibilityTimeout=timeout)
        if row is None or row.receives != held.receive:
            assert outcome == "InvalidParameterValue"
        elif world.visible(row):
            assert outcome == "MessageNotInflight"
        else:
            assert outcome == ""
            row.visible_at = world.now + timeout

    @rule(seconds=st.sampled_from([0.5, 1, 2, 5, 150, 300]))
    def time_passes(self, seconds: float) -> None:
        self.world.now += seconds

    @invariant()
    def counts_are_right(self) -> None:
        self.world.check_counts()


SETTINGS = settings(max_examples=60, stateful_step_count=40, deadline=None, derandomize=True)


@pytest.mark.slow
@pytest.mark.parametrize("machine", [StandardMachine, FifoMachine])
def test_the_model_agrees_with_the_naive_one(machine: type[RuleBasedStateMachine]) -> None:
    run_state_machine_as_test(machine, settings=SETTINGS)
