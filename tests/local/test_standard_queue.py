from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

DAY = 86_400


def test_a_received_message_is_invisible_until_its_timeout(desk: Any, queue: Any) -> None:
    queue.send("a")
    assert queue.bodies(VisibilityTimeout=5) == ["a"]
    desk.now = 4.999
    assert queue.bodies() == []
    desk.now = 5
    (again,) = queue.receive()
    assert again["Attributes"]["ApproximateReceiveCount"] == "2"


def test_the_timeout_of_the_queue_is_the_default(desk: Any) -> None:
    queue = desk.queue(VisibilityTimeout="7")
    queue.send("a")
    queue.receive()
    desk.now = 6.9
    assert queue.counts() == (0, 1, 0)
    desk.now = 7
    assert queue.counts() == (1, 0, 0)


def test_each_receive_returns_another_receipt(desk: Any, queue: Any) -> None:
    queue.send("a")
    (first,) = queue.receive(VisibilityTimeout=1)
    desk.now = 1
    (second,) = queue.receive()
    assert first["MessageId"] == second["MessageId"]
    assert first["ReceiptHandle"] != second["ReceiptHandle"]


def test_a_message_received_with_timeout_0_stays_visible_and_is_in_a_receive_once(queue: Any) -> None:
    queue.send("a")
    assert queue.bodies(VisibilityTimeout=0) == ["a"]
    assert queue.counts() == (1, 0, 0)
    (again,) = queue.receive()
    assert again["Attributes"]["ApproximateReceiveCount"] == "2"


def test_a_deleted_message_is_gone_and_can_be_deleted_again(desk: Any, queue: Any) -> None:
    queue.send("a")
    (message,) = queue.receive()
    queue.delete(message)
    queue.delete(message)
    desk.now = DAY
    assert queue.bodies() == []
    assert queue.counts() == (0, 0, 0)


def test_the_latest_receipt_deletes_after_its_timeout(desk: Any, queue: Any) -> None:
    queue.send("a")
    (message,) = queue.receive(VisibilityTimeout=1)
    desk.now = 2
    queue.delete(message)
    assert queue.bodies() == []


def test_an_older_receipt_is_accepted_and_deletes_nothing(desk: Any, queue: Any) -> None:
    queue.send("a")
    (first,) = queue.receive(VisibilityTimeout=1)
    desk.now = 1
    (second,) = queue.receive()
    queue.delete(first)
    assert queue.counts() == (0, 1, 0)
    queue.delete(second)
    assert queue.counts() == (0, 0, 0)


def test_after_twelve_hours_a_receipt_has_expired(desk: Any, queue: Any) -> None:
    queue.send("a")
    (message,) = queue.receive(VisibilityTimeout=43_200)
    desk.now = 43_200
    refusal = queue.refused("DeleteMessage", ReceiptHandle=message["ReceiptHandle"])
    assert (refusal.status, refusal.code) == (400, "InvalidParameterValue")
    assert "The receipt handle has expired" in refusal.message


def test_a_new_timeout_starts_with_the_call_that_sets_it(desk: Any, queue: Any) -> None:
    queue.send("a")
    (message,) = queue.receive(VisibilityTimeout=10)
    desk.now = 9
    queue.hide(message, 10)
    desk.now = 18.9
    assert queue.bodies() == []
    desk.now = 19
    assert queue.bodies() == ["a"]


def test_visibility_can_be_shortened(desk: Any, queue: Any) -> None:
    queue.send("a")
    (message,) = queue.receive(VisibilityTimeout=100)
    queue.hide(message, 10)
    desk.now = 10
    assert queue.bodies(VisibilityTimeout=50) == ["a"]
    desk.now = 59
    assert queue.bodies() == []
    desk.now = 60
    assert queue.bodies() == ["a"]


def test_timeout_0_releases_a_message_at_once(queue: Any) -> None:
    queue.send("a")
    (message,) = queue.receive()
    queue.hide(message, 0)
    assert queue.counts() == (1, 0, 0)
    assert queue.bodies() == ["a"]


def test_a_released_message_is_released_only_once(desk: Any, queue: Any) -> None:
    """Nothing happens at the end of its old timeout."""
    queue.send("a")
    (message,) = queue.receive(VisibilityTimeout=10)
    queue.hide(message, 0)
    desk.account.readable.clear()
    desk.now = 10
    assert queue.counts() == (1, 0, 0)
    assert not desk.account.readable
    queue.receive(VisibilityTimeout=100)
    desk.now = 109
    assert queue.counts() == (0, 1, 0)


def test_an_old_receipt_changes_the_visibility(desk: Any, queue: Any) -> None:
    """As recorded from AWS: the first receipt releases the message that the second one holds."""
    queue.send("a")
    (first,) = queue.receive(VisibilityTimeout=1)
    desk.now = 1
    queue.receive(VisibilityTimeout=60)
    queue.hide(first, 0)
    assert queue.counts() == (1, 0, 0)


def test_changing_the_visibility_of_a_visible_message_hides_it(desk: Any, queue: Any) -> None:
    """As recorded from AWS. Its documents say MessageNotInflight."""
    queue.send("a")
    (message,) = queue.receive(VisibilityTimeout=1)
    desk.now = 1
    queue.hide(message, 10)
    assert queue.counts() == (0, 1, 0)
    desk.now = 11
    assert queue.bodies() == ["a"]


def test_the_visibility_of_a_deleted_message_cannot_change(queue: Any) -> None:
    queue.send("a")
    (message,) = queue.receive()
    queue.delete(message)
    refusal = queue.refused("ChangeMessageVisibility", ReceiptHandle=message["ReceiptHandle"], VisibilityTimeout=1)
    assert refusal.code == "InvalidParameterValue"
    assert "Message does not exist or is not available for visibility timeout change." in refusal.message


@pytest.mark.parametrize(("elapsed", "timeout"), [(0, 43_200), (100, 43_100), (40_000, 3_201)])
def test_visibility_ends_at_most_twelve_hours_after_the_receive(
    desk: Any, queue: Any, elapsed: float, timeout: int
) -> None:
    """L10: SQS refuses a longer timeout; it does not shorten it."""
    queue.send("a")
    (message,) = queue.receive(VisibilityTimeout=43_200)
    desk.now = elapsed
    refusal = queue.refused(
        "ChangeMessageVisibility", ReceiptHandle=message["ReceiptHandle"], VisibilityTimeout=timeout
    )
    assert refusal.code == "InvalidParameterValue"
    assert "beyond the limit [43200 seconds]" in refusal.message
    queue.hide(message, timeout - 5)


def test_the_twelve_hours_start_again_with_each_receive(desk: Any, queue: Any) -> None:
    queue.send("a")
    (message,) = queue.receive(VisibilityTimeout=40_000)
    desk.now = 40_000
    (message,) = queue.receive(VisibilityTimeout=30)
    queue.hide(message, 43_000)
    assert queue.counts() == (0, 1, 0)


def test_the_delay_of_a_message_replaces_that_of_the_queue(desk: Any) -> None:
    queue = desk.queue(DelaySeconds="10")
    queue.send("queue")
    queue.send("own", DelaySeconds=5)
    queue.send("none", DelaySeconds=0)
    assert queue.counts() == (1, 0, 2)
    assert queue.bodies() == ["none"]
    desk.now = 5
    assert queue.bodies() == ["own"]
    desk.now = 10
    assert queue.bodies() == ["queue"]


def test_messages_expire_with_the_retention_period_in_flight_or_not(desk: Any) -> None:
    queue = desk.queue(MessageRetentionPeriod="60")
    queue.send("in flight")
    (message,) = queue.receive(VisibilityTimeout=1_000)
    desk.now = 1
    queue.send("visible")
    desk.now = 60.5
    assert queue.counts() == (1, 0, 0)
    queue.delete(message)
    desk.now = 61
    assert queue.bodies() == []
    desk.now = 63
    assert queue.counts() == (0, 0, 0)


def test_a_shorter_retention_applies_to_messages_in_the_queue(desk: Any, queue: Any) -> None:
    queue.send("a")
    desk.now = 100
    queue.ask("SetQueueAttributes", Attributes={"MessageRetentionPeriod": "60"})
    assert queue.counts() == (0, 0, 0)


def test_a_full_queue_refuses_short_polls_and_is_empty_for_long_polls(new_desk: Callable[..., Any]) -> None:
    desk = new_desk(in_flight_limit=3)
    queue = desk.queue()
    for body in "abcde":
        queue.send(body)
    held = queue.receive()
    assert len(held) == 3
    refusal = queue.refused("ReceiveMessage")
    assert (refusal.status, refusal.code) == (403, "OverLimit")
    assert queue.receive(WaitTimeSeconds=1) == []
    queue.delete(held[0])
    assert len(queue.receive()) == 1


def test_a_full_fifo_queue_is_empty_for_every_poll(new_desk: Callable[..., Any]) -> None:
    desk = new_desk(in_flight_limit=2)
    queue = desk.queue("q.fifo", ContentBasedDeduplication="true")
    for body in "abc":
        queue.send(body, group=body)
    assert len(queue.receive()) == 2
    assert queue.receive() == []


def test_purge_empties_the_queue_once_a_minute(desk: Any, queue: Any) -> None:
    queue.send("in flight")
    (message,) = queue.receive(VisibilityTimeout=5)
    queue.send("delayed", DelaySeconds=5)
    queue.send("visible")
    queue.ask("PurgeQueue")
    assert queue.counts() == (0, 0, 0)
    desk.now = 59
    queue.delete(message)
    refusal = queue.refused("PurgeQueue")
    assert (refusal.status, refusal.code) == (403, "AWS.SimpleQueueService.PurgeQueueInProgress")
    assert queue.counts() == (0, 0, 0)
    desk.now = 60
    assert queue.ask("PurgeQueue") == {}


def test_a_purged_queue_accepts_messages(queue: Any) -> None:
    queue.send("before")
    queue.ask("PurgeQueue")
    queue.send("after")
    assert queue.bodies() == ["after"]


def test_receiving_and_releasing_many_times_leaves_no_entries(desk: Any, queue: Any) -> None:
    """Invalid entries do not pile up in the timers or in the order."""
    for body in "abc":
        queue.send(body)
    for _ in range(3_000):
        desk.now += 1
        for message in queue.receive(VisibilityTimeout=900):
            queue.hide(message, 0)
    model = desk.account.queues["q"]
    assert queue.counts() == (3, 0, 0)
    assert len(model._timers) <= 6
    for message in queue.receive():
        queue.delete(message)
    assert len(model) == 0


def test_deleted_messages_leave_the_timers(queue: Any, desk: Any) -> None:
    for _ in range(1_000):
        for body in "abcde":
            queue.send(body)
        for message in queue.receive(VisibilityTimeout=43_200):
            queue.delete(message)
    assert len(desk.account.queues["q"]._timers) < 1_100


# ---- fair queues


def test_a_group_id_is_returned_and_locks_no_message(queue: Any) -> None:
    """L27: a standard queue runs one group at full concurrency."""
    for body in "abc":
        queue.send(body, group="tenant")
    messages = queue.receive()
    assert len(messages) == 3
    assert {message["Attributes"]["MessageGroupId"] for message in messages} == {"tenant"}


def test_quiet_tenants_come_before_a_noisy_one(queue: Any) -> None:
    for at in range(200):
        queue.send(f"noisy {at}", group="noisy")
    for _ in range(3):
        queue.receive()
    for at in range(5):
        queue.send(f"quiet {at}", group=f"tenant-{at % 2}")
    queue.send("no tenant")
    bodies = queue.bodies()
    assert sorted(bodies[:6]) == ["no tenant", "quiet 0", "quiet 1", "quiet 2", "quiet 3", "quiet 4"]
    assert all(body.startswith("noisy") for body in bodies[6:])


def test_a_noisy_tenant_is_served_when_it_is_alone(queue: Any) -> None:
    for at in range(50):
        queue.send(str(at), group="noisy")
    received = sum(len(queue.receive()) for _ in range(6))
    assert received == 50


def test_a_tenant_below_thirty_in_flight_is_not_noisy(queue: Any) -> None:
    for at in range(100):
        queue.send(f"busy {at}", group="busy")
    for _ in range(2):
        queue.receive()
    for at in range(20):
        queue.send(f"other {at}", group="other")
    bodies = queue.bodies()
    assert sum(body.startswith("busy") for body in bodies) == 5
