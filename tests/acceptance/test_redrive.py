"""`redrive` and `peek` of dead-letter queues: what moves where, what is refused, and how each ends."""

from __future__ import annotations

import json
import re
import signal
from collections import Counter
from typing import Any

import pytest

from leasekeeper.failure import FAILURE, REDRIVEN, Failure

Bench = Any  # of conftest.py, which tests cannot import
ARN = "arn:aws:sqs:us-east-1:000000000000:"
FIFO = {"FifoQueue": "true"}


def policy(bench: Bench, dead_url: str, most: int) -> str:
    arn = bench.boto.get_queue_attributes(QueueUrl=dead_url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    return json.dumps({"deadLetterTargetArn": arn, "maxReceiveCount": most})


def copies(bench: Bench, dead: str, queue: str, count: int, error: str = "TimeoutError", **more: Any) -> list[str]:
    """Send what a consumer of that queue sends for its dead letters; the bodies."""
    bodies = [f"{queue}-{error}-{number}" for number in range(count)]
    for number, body in enumerate(bodies):
        failure = Failure(reason="exhausted", error=error, message=f"no answer in {number} s", queue=ARN + queue)
        attributes = {FAILURE: {"DataType": "String", "StringValue": failure.attribute().value}}
        request = {name: value.format(number) for name, value in more.items()}
        bench.boto.send_message(QueueUrl=dead, MessageBody=body, MessageAttributes=attributes, **request)
    return bodies


def moved_by_sqs(bench: Bench, url: str, dead: str, count: int) -> set[str]:
    """Let SQS move messages of a queue with a visibility timeout of 0 to its dead-letter queue; the bodies."""
    before = bench.counts(dead)[0]
    bodies = bench.fill(url, count)
    bench.until(lambda: bench.bodies(url) == [] and bench.counts(dead)[0] == before + count, "they are dead letters")
    return set(bodies)


@pytest.fixture
def one(bench: Bench) -> Bench:
    """A dead-letter queue of one queue, with dead letters of SQS and of a consumer."""
    bench.dead = bench.queue("orders-dead")
    bench.url = bench.queue("orders", RedrivePolicy=policy(bench, bench.dead, 1), VisibilityTimeout="0")
    bench.all = moved_by_sqs(bench, bench.url, bench.dead, 5) | set(copies(bench, bench.dead, "orders", 4))
    return bench


@pytest.fixture
def two(bench: Bench) -> Bench:
    """A dead-letter queue of two queues, with dead letters of SQS and of consumers."""
    bench.dead = bench.queue("all-dead")
    bench.orders = bench.queue("orders", RedrivePolicy=policy(bench, bench.dead, 1), VisibilityTimeout="0")
    bench.bills = bench.queue("bills", RedrivePolicy=policy(bench, bench.dead, 1))
    moved_by_sqs(bench, bench.orders, bench.dead, 5)
    copies(bench, bench.dead, "orders", 4)
    bench.of_bills = set(copies(bench, bench.dead, "bills", 3))
    return bench


# A task of SQS


def test_dead_letters_of_sqs_and_copies_all_go_back_to_the_one_queue(one: Bench) -> None:
    command = one.call("redrive", "orders")  # the queue stands for its dead-letter queue

    assert command.code == 0, command.err
    assert command.out == (
        "moving about 9 messages from orders-dead to orders\ncompleted to orders, moved 9 of about 9\n"
    )
    assert one.counts(one.dead) == (0, 0)
    assert set(one.bodies(one.url)) <= one.all
    assert one.counts(one.url)[0] + one.counts(one.dead)[0] == 9


def test_with_two_queues_nothing_moves_and_the_choices_are_printed(two: Bench) -> None:
    command = two.call("redrive", "all-dead", "--no-wait", "--region", "us-east-1")

    assert (command.code, command.out) == (2, "")
    assert command.err == (
        "leasekeeper: nothing was moved: all-dead is the dead-letter queue of bills and orders, and SQS stops half-way "
        "at a message that a consumer sent there (CouldNotDetermineMessageSource). Send each message to its own queue, "
        "those of one queue only, or move all to one queue:\n"
        "  leasekeeper redrive all-dead --copy --region us-east-1\n"
        "  leasekeeper redrive all-dead --where queue=bills --region us-east-1\n"
        "  leasekeeper redrive all-dead --where queue=orders --region us-east-1\n"
        "  leasekeeper redrive all-dead --to bills --region us-east-1\n"
    )
    assert two.counts(two.dead) == (12, 0)


def test_a_task_that_stops_at_a_copy_is_explained(two: Bench) -> None:
    command = two.call("redrive", "all-dead", "--task")

    assert command.code == 1
    assert command.out == (
        "moving about 12 messages from all-dead to where they came from\n"
        "failed, moved 5 of about 12: CouldNotDetermineMessageSource\n"
    )
    assert "SQS stopped at a message that it did not move there itself" in command.err
    assert "\n  leasekeeper redrive all-dead --copy\n" in command.err
    assert two.call("redrive", "all-dead", "--copy").code == 0
    assert two.counts(two.dead) == (0, 0)
    assert two.counts(two.bills) == (3, 0)


def test_a_copy_of_a_queue_that_is_not_served_stops_a_move_before_it_starts(one: Bench) -> None:
    """A consumer's `dead_letter_queue` may be the dead-letter queue of another queue."""
    one.queue("refunds")
    copies(one, one.dead, "refunds", 1)

    command = one.call("redrive", "orders-dead")

    assert (command.code, command.out) == (2, "")
    assert "orders-dead is the dead-letter queue of orders only, but also holds messages of refunds" in command.err
    assert "\n  leasekeeper redrive orders-dead --where queue=refunds --to refunds\n" in command.err
    assert one.counts(one.dead) == (10, 0)


def test_a_dry_run_of_a_task_starts_none(one: Bench) -> None:
    command = one.call("redrive", "orders-dead", "--dry-run")
    assert (command.code, command.out) == (0, "would move about 9 messages from orders-dead to orders\n")
    assert one.call("redrive", "orders-dead", "--status").out == "no task has moved messages of orders-dead lately\n"


def test_redrive_tells_of_tasks_and_stops_a_running_one(bench: Bench) -> None:
    dead, url = bench.queue("orders-dead"), bench.queue("elsewhere")
    bench.queue("orders", RedrivePolicy=policy(bench, dead, 1))
    bench.fill(dead, 50)

    starting = bench.call("redrive", "orders-dead", "--to", "elsewhere", "--rate", "1", "--no-wait")
    assert starting.code == 0
    assert "moving about 50 messages from orders-dead to elsewhere" in starting.out
    asking = bench.call("redrive", "orders-dead", "--status")
    assert asking.code == 0
    assert "running to elsewhere, moved" in asking.out
    stopping = bench.call("redrive", "orders-dead", "--cancel")
    assert stopping.code == 0
    assert "the others stay in orders-dead" in stopping.out
    assert sum(bench.counts(url)) + sum(bench.counts(dead)) == 50


# Copies


def test_dead_letters_of_two_consumers_and_of_sqs_are_refused_as_a_whole_and_sent_back_by_cause(bench: Bench) -> None:
    """The whole way: handlers reject, SQS moves others; peek, redrive."""
    dead = bench.queue("all-dead")
    orders = bench.queue("orders", RedrivePolicy=policy(bench, dead, 1), VisibilityTimeout="0")
    bills = bench.queue("bills", RedrivePolicy=policy(bench, dead, 5))
    moved_by_sqs(bench, orders, dead, 3)
    bench.fill(orders, 4)
    bench.fill(bills, 5)
    bench.module(
        "shop",
        """
        from leasekeeper import Leasekeeper, Reject
        app = Leasekeeper()

        @app.consumer("orders", max_attempts=1)
        async def ship(body: str) -> None:
            raise TimeoutError(f"no answer about {body!r}")

        @app.consumer("bills")
        async def bill(body: str) -> None:
            raise Reject(f"no customer {body!r}")
        """,
    )
    running = bench.leasekeeper("run", "shop:app")
    bench.until(lambda: bench.counts(dead) == (12, 0), "all are dead letters")
    running.signal(signal.SIGTERM)
    assert running.end() == 0

    looking = bench.call("peek", "all-dead", "--json")
    causes = [json.loads(line) for line in looking.out.splitlines()]
    assert [
        (cause["count"], cause["reason"], cause["error"], cause["message"], cause["queues"]) for cause in causes
    ] == [
        (5, "rejected", "Reject", "no customer *", {"bills": 5}),
        (4, "exhausted", "TimeoutError", "no answer about *", {"orders": 4}),
        (3, "maxReceiveCount", "", "", {"orders": 3}),
    ]
    refused = bench.call("redrive", "all-dead")
    assert (refused.code, bench.counts(dead)) == (2, (12, 0))
    moving = bench.call("redrive", "all-dead", "--where", "error=TimeoutError", "--where", "reason=maxReceiveCount")
    assert moving.out.startswith("moved 0 messages from all-dead (12 looked at)")  # no message has both
    moving = bench.call("redrive", "all-dead", "--where", "error=TimeoutError")
    assert moving.out == "moved 4 messages from all-dead to orders (12 looked at)\n"
    assert bench.call("redrive", "all-dead", "--copy").out.startswith(
        "moved 8 messages from all-dead: 5 to bills, 3 to orders (8 looked at)"
    )
    assert (bench.counts(orders), bench.counts(bills), bench.counts(dead)) == ((7, 0), (5, 0), (0, 0))


def test_each_message_goes_back_to_its_own_queue(two: Bench) -> None:
    command = two.call("redrive", "all-dead", "--copy")

    assert command.code == 0, command.err
    assert command.out == "moved 12 messages from all-dead: 9 to orders, 3 to bills (12 looked at)\n"
    assert set(two.bodies(two.bills)) == two.of_bills
    assert two.counts(two.orders)[0] == 9
    assert two.counts(two.dead) == (0, 0)


def test_a_filter_a_limit_and_a_dry_run_before_all(two: Bench) -> None:
    """First look, then ten, then all."""
    copies(two, two.dead, "bills", 20, "KeyError")
    chosen = ("redrive", "all-dead", "--where", "error=KeyError")

    looking = two.call(*chosen, "--dry-run")
    group, summary = looking.out.splitlines()
    assert group.startswith("20  KeyError: no answer in * s  (bills, sent ")
    assert summary == "would move 20 messages from all-dead to bills (32 looked at)"
    assert two.counts(two.dead) == (32, 0)
    first = two.call(*chosen, "--limit", "10")
    assert re.fullmatch(r"moved 10 messages from all-dead to bills \(\d+ looked at\)\n", first.out)
    assert two.counts(two.bills) == (10, 0)
    assert two.call(*chosen).out == "moved 10 messages from all-dead to bills (22 looked at)\n"
    assert two.counts(two.dead) == (12, 0)
    received = two.boto.receive_message(QueueUrl=two.bills, MessageAttributeNames=["All"])["Messages"][0]
    assert received["MessageAttributes"] == {REDRIVEN: {"DataType": "Number", "StringValue": "1"}}


def test_what_names_no_queue_stays_and_is_reported(two: Bench) -> None:
    two.fill(two.dead, 2)
    copies(two, two.dead, "secret", 1)

    command = two.call("redrive", "all-dead", "--copy")

    assert command.code == 1
    assert command.out == "moved 12 messages from all-dead: 9 to orders, 3 to bills (15 looked at)\n"
    assert command.err == (
        "leasekeeper: 3 messages stay in all-dead: they name no queue that has it as its dead-letter queue (no queue: "
        "2, secret: 1). Say where they go:\n  leasekeeper redrive all-dead --copy --to QUEUE\n"
    )
    assert two.call("redrive", "all-dead", "--copy", "--to", "bills").code == 0
    assert two.counts(two.dead) == (0, 0)


def test_a_fifo_redrive_right_after_the_failure_brings_all(bench: Bench) -> None:
    """The ids of the copies are those that SQS would swallow for five minutes: the failed messages' own."""
    dead = bench.queue("orders-dead.fifo", **FIFO)
    url = bench.queue("orders.fifo", RedrivePolicy=policy(bench, dead, 3), **FIFO)
    bodies = copies(bench, url, "orders.fifo", 25, MessageGroupId="g", MessageDeduplicationId="m{}")
    held = bench.boto.receive_message(QueueUrl=url, MaxNumberOfMessages=10)["Messages"]
    while held:
        for each in held:
            bench.boto.delete_message(QueueUrl=url, ReceiptHandle=each["ReceiptHandle"])
        held = bench.boto.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages")
    copies(bench, dead, "orders.fifo", 25, MessageGroupId="g", MessageDeduplicationId="m{}")

    command = bench.call("redrive", "orders.fifo", "--copy")

    assert command.code == 0, command.err
    assert command.out == "moved 25 messages from orders-dead.fifo to orders.fifo (25 looked at)\n"
    arrived: list[str] = []
    while more := bench.boto.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages"):
        for each in more:
            arrived.append(each["Body"])
            bench.boto.delete_message(QueueUrl=url, ReceiptHandle=each["ReceiptHandle"])
    assert arrived == bodies


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_a_copy_with_a_sentence_of_what_was_moved(bench: Bench, number: signal.Signals) -> None:
    dead, url = bench.queue("orders-dead"), bench.queue("orders")
    bench.boto.set_queue_attributes(QueueUrl=url, Attributes={"RedrivePolicy": policy(bench, dead, 3)})
    bodies = bench.fill(dead, 200)
    moving = bench.leasekeeper("redrive", "orders-dead", "--copy", "--rate", "20")
    bench.until(lambda: bench.counts(url)[0] >= 10, "some are moved")

    moving.signal(number)

    assert moving.end() == 130
    moved = bench.counts(url)[0]
    assert moving.out.startswith(f"moved {moved} messages from orders-dead to orders (")
    assert "interrupted: the others are still in orders-dead, the same command continues" in moving.err
    assert bench.counts(dead) == (200 - moved, 0)
    again = bench.call("redrive", "orders-dead", "--copy")
    assert again.code == 0
    assert set(bench.bodies(url)) <= bodies
    assert sum(bench.counts(url)) == 200


def test_a_kill_between_the_copy_and_the_delete_loses_nothing(bench: Bench) -> None:
    """After kill -9 while the delete is on its way: those ten are in both queues, all others in one."""
    dead, url = bench.queue("orders-dead"), bench.queue("orders")
    bench.boto.set_queue_attributes(QueueUrl=url, Attributes={"RedrivePolicy": policy(bench, dead, 3)})
    bodies = bench.fill(dead, 50)
    moving = bench.leasekeeper("redrive", "orders-dead", "--copy", "--rate", "20")
    bench.until(lambda: bench.counts(url)[0] >= 10, "some are moved")
    bench.sqs.faults.set("DeleteMessageBatch", hang=1.0)
    deletes = bench.sqs.calls["DeleteMessageBatch"]
    bench.until(lambda: bench.sqs.calls["DeleteMessageBatch"] > deletes, "the next are sent, and their delete hangs")

    moving.signal(signal.SIGKILL)

    assert moving.end() == -signal.SIGKILL
    bench.sqs.faults.set("DeleteMessageBatch")
    there, left = bench.counts(url)[0], sum(bench.counts(dead))
    assert 0 < there + left - 50 <= 10
    again = bench.call("redrive", "orders-dead", "--copy")
    assert "were hidden at the start, held by a consumer or by a redrive that was killed" in again.err
    everything = Counter(bench.bodies(url))
    assert set(everything) <= bodies


def test_flags_that_contradict_each_other_are_refused(bench: Bench) -> None:
    for flags, sentence in (
        (("--status", "--cancel"), "--status and --cancel are both given"),
        (("--status", "--limit", "3"), "--status and --cancel are about tasks of SQS"),
        (("--task", "--where", "error=X"), "--task moves all messages: SQS cannot choose"),
        (("--copy", "--no-wait"), "--no-wait is for tasks of SQS"),
        (("--where", "x=1"), "--where='x=1': must be KEY=VALUE"),
    ):
        command = bench.call("redrive", "orders-dead", *flags)
        assert command.code == 2
        assert command.err.startswith(f"leasekeeper: {sentence}")


def test_a_copy_needs_another_queue_of_the_same_kind(one: Bench) -> None:
    one.queue("orders.fifo", **FIFO)
    for to, sentence in (
        ("orders.fifo", "--to='orders.fifo': orders-dead is a standard queue, so the other must be one too"),
        ("orders-dead", "--to='orders-dead': this is the dead-letter queue itself"),
    ):
        command = one.call("redrive", "orders-dead", "--copy", "--to", to)
        assert (command.code, command.err) == (2, f"leasekeeper: {sentence}\n")


@pytest.mark.parametrize("more", [(), ("--dry-run",), ("--copy",)])
def test_a_queue_to_move_to_that_does_not_exist_is_named(one: Bench, more: tuple[str, ...]) -> None:
    refused = one.call("redrive", "orders", "--to", "nope", *more)
    assert refused.code != 0
    assert refused.err.startswith("leasekeeper: --to='nope': ")
    refused = one.call("redrive", "orders", "--to", one.url.replace("/orders", "/nope"))
    assert refused.err.startswith("leasekeeper: queue nope: ")


def test_a_queue_that_serves_none_is_emptied_by_copies_only(bench: Bench) -> None:
    """A consumer's `dead_letter_queue` need not be in a redrive policy."""
    bench.fill(bench.queue("rejects"), 3)
    url = bench.queue("orders")
    refused = bench.call("redrive", "rejects", "--to", "orders")
    assert (refused.code, refused.err.startswith("leasekeeper: queue rejects is not a dead-letter queue")) == (2, True)
    assert bench.call("redrive", "rejects", "--copy", "--to", "orders").code == 0
    assert bench.counts(url) == (3, 0)


# Peek


def test_peek_groups_a_dead_letter_queue_by_cause_and_gives_back_all(two: Bench) -> None:
    copies(two, two.dead, "bills", 30, "KeyError")

    command = two.call("peek", "all-dead")

    assert command.code == 0
    assert re.sub(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d( to \d\d:\d\d:\d\d)?", "TIME", command.out) == (
        "30  KeyError: no answer in * s  (bills, sent TIME UTC)\n"
        " 7  TimeoutError: no answer in * s  (orders (4), bills (3), sent TIME UTC)\n"
        " 5  moved by SQS (maxReceiveCount)  (orders, sent TIME UTC)\n"
    )
    assert re.search(r"42 messages received and 42 given back, hidden for at most \d+\.\d s, in \d+ calls", command.err)
    assert (
        "\n  leasekeeper redrive all-dead --where error=KeyError --where 'message=no answer in * s' --dry-run\n"
        in command.err
    )
    assert two.counts(two.dead) == (42, 0)


def test_peek_says_what_it_did_not_look_at(two: Bench) -> None:
    command = two.call("peek", "all-dead", "-n", "5", "--json")
    assert sum(json.loads(line)["count"] for line in command.out.splitlines()) == 5
    assert "about 7 more are in all-dead: give --count" in command.err
    assert two.call("peek", "all-dead", "--messages", "-n", "2").out.count("receive") == 2


def test_peek_finds_the_dead_letter_queue_of_a_queue(two: Bench) -> None:
    command = two.call("peek", "orders", "--dead-letters", "-n", "1")
    assert command.out.startswith("1  ")
    assert "more are in all-dead: give --count" in command.err

    without = two.call("peek", "all-dead", "--dead-letters")
    assert (without.code, without.out) == (2, "")
    assert "queue all-dead has no redrive policy that names a dead-letter queue" in without.err


def test_peek_says_that_messages_are_in_flight_or_delayed(bench: Bench) -> None:
    url = bench.queue("orders")
    for delay in (0, 0, 0, 900):
        bench.boto.send_message(QueueUrl=url, MessageBody="b", DelaySeconds=delay)
    assert len(bench.boto.receive_message(QueueUrl=url, MaxNumberOfMessages=2)["Messages"]) == 2

    hidden = ": about 2 messages in flight, received by a consumer; about 1 message delayed\n"
    assert bench.call("peek", "orders").err.endswith(f"leasekeeper: not shown{hidden}")
    bench.boto.receive_message(QueueUrl=url)
    assert bench.call("peek", "orders").err == (
        f"leasekeeper: queue orders has no visible message now{hidden}".replace("2 messages", "3 messages")
    )


def test_peek_of_a_fifo_queue_shows_ten_of_a_group(bench: Bench) -> None:
    dead = bench.queue("orders-dead.fifo", **FIFO)
    bench.queue("orders.fifo", RedrivePolicy=policy(bench, dead, 3), **FIFO)
    copies(bench, dead, "orders.fifo", 30, MessageGroupId="g", MessageDeduplicationId="m{}")

    command = bench.call("peek", "orders-dead.fifo")

    assert command.out.startswith("10  TimeoutError: no answer in * s  (orders.fifo, ")
    assert (
        "about 20 more are in orders-dead.fifo: SQS shows no more of a message group while others of it are held"
        in command.err
    )
    assert bench.counts(dead) == (30, 0)


def test_without_the_right_to_list_sources_redrive_asks_and_peek_shows_messages(one: Bench) -> None:
    one.sqs.faults.set("ListDeadLetterSourceQueues", deny=1.0)

    refused = one.call("redrive", "orders-dead")
    assert (refused.code, refused.out, one.counts(one.dead)) == (2, "", (9, 0))
    assert "the queues that orders-dead serves are not known, because sqs:ListDeadLetterSourceQueues" in refused.err
    assert "\n  leasekeeper redrive orders-dead --to QUEUE\n  leasekeeper redrive orders-dead --task\n" in refused.err
    assert one.call("peek", "orders-dead", "-n", "3").out.count("receive ") == 3
    assert one.call("peek", "orders-dead", "--causes").out.count("\n") == 2
    moving = one.call("redrive", "orders-dead", "--copy")  # SQS names the source of what it moved; copies stay
    assert moving.code == 1
    assert moving.out == "moved 5 messages from orders-dead to orders (9 looked at)\n"
    assert "4 messages stay in orders-dead: they name no queue that has it as its dead-letter queue" in moving.err
    assert one.call("redrive", "orders-dead", "--to", "orders").code == 0
    assert sum(one.counts(one.dead)) == 0
