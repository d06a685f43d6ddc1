"""`local`, `send`, `peek`, `redrive`, `doctor` and `demo`: what each does and says.

Each way to begin and end a process is tested with a process; the other tests run the same program in this one.
"""

from __future__ import annotations

import json
import re
import runpy
import shlex
import signal
from pathlib import Path
from typing import Any

import boto3
import pytest

Bench = Any  # of conftest.py, which tests cannot import
DIST = Path(__file__).parents[2] / ".ci" / "dist.py"


def policy(bench: Bench, dead_url: str, most: int) -> str:
    arn = bench.boto.get_queue_attributes(QueueUrl=dead_url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    return json.dumps({"deadLetterTargetArn": arn, "maxReceiveCount": most})


def test_send_then_peek_shows_the_message_and_leaves_it_there(bench: Bench) -> None:
    url = bench.queue("orders")

    sending = bench.leasekeeper("send", "orders", '{"number": 1}', "-a", "tenant=acme", "-a", "rank:Number=3")
    assert sending.end() == 0
    assert re.match(r"sent [0-9a-f-]{36} to orders", sending.out)
    peeking = bench.leasekeeper("peek", "orders", "--json")
    assert peeking.end() == 0

    seen = json.loads(peeking.out)
    assert seen["body"] == '{"number": 1}'
    assert seen["attributes"] == {
        "tenant": {"type": "String", "value": "acme"},
        "rank": {"type": "Number", "value": "3"},
    }
    assert "1 message received and 1 given back. Each look is a receive" in peeking.err
    assert bench.counts(url) == (1, 0)


def test_send_takes_each_line_of_a_file_as_a_body(bench: Bench) -> None:
    url = bench.queue("orders")
    (bench.directory / "bodies.jsonl").write_text("".join(f'{{"n": {n}}}\n' for n in range(123)))

    sending = bench.call("send", "orders", "-f", "bodies.jsonl")

    assert sending.code == 0
    assert sending.out == "sent 123 messages to orders\n"
    assert sorted(json.loads(each)["n"] for each in bench.bodies(url)) == list(range(123))


def test_peek_shows_json_bodies_indented(bench: Bench) -> None:
    bench.boto.send_message(QueueUrl=bench.queue("orders"), MessageBody='{"number":1,"lines":["a"]}')

    peeking = bench.call("peek", "orders")

    assert peeking.code == 0
    assert '{\n  "number": 1,\n  "lines": [\n    "a"\n  ]\n}' in peeking.out


@pytest.mark.parametrize("command", ["send", "peek", "redrive"])
def test_a_queue_that_does_not_exist_is_said_in_one_line(bench: Bench, command: str) -> None:
    asked = bench.call(command, "nowhere", *(["body"] if command == "send" else []))

    assert asked.code == 3
    assert asked.err.startswith("leasekeeper: queue nowhere: GetQueueUrl: ")
    assert asked.err.count("\n") == 1


def test_what_the_terminal_cannot_show_is_escaped(bench: Bench) -> None:
    """An emoji on a latin-1 terminal; a Python that cannot encode it would end with a traceback."""
    bench.boto.send_message(QueueUrl=bench.queue("orders"), MessageBody="\N{ROCKET} \u00e9")

    peeking = bench.leasekeeper("peek", "orders", PYTHONIOENCODING="latin-1:strict", PYTHONUTF8="0")

    assert peeking.end() == 0
    assert "\\U0001f680 \u00e9\n" in peeking.out_bytes.decode("latin-1")


@pytest.mark.parametrize("attributes", [{}, {"Leasekeeper.Source": "arn:aws:sqs:us-east-1:000000000000:orders"}])
def test_redrive_moves_copies_of_rejected_messages_back(bench: Bench, attributes: dict[str, str]) -> None:
    """SQS does not know where they came from: their source attribute says it, or there is only one queue."""
    dead = bench.queue("orders-dead")
    url = bench.queue("orders", RedrivePolicy=policy(bench, dead, 5))
    if attributes:
        bench.queue("bills", RedrivePolicy=policy(bench, dead, 5))
    said = {name: {"DataType": "String", "StringValue": value} for name, value in attributes.items()}
    for number in range(4):
        bench.boto.send_message(QueueUrl=dead, MessageBody=f"m{number}", MessageAttributes=said)

    command = bench.call("redrive", "orders-dead")

    assert command.code == 0, command.err
    assert command.out == (
        "moving about 4 messages from orders-dead to orders\ncompleted to orders, moved 4 of about 4\n"
    )
    assert bench.counts(url) == (4, 0)


def test_redrive_asks_where_to_before_it_starts_when_nothing_says_it(bench: Bench) -> None:
    dead = bench.queue("orders-dead")
    bench.queue("orders", RedrivePolicy=policy(bench, dead, 5))
    bench.queue("bills", RedrivePolicy=policy(bench, dead, 5))
    bench.fill(dead, 4)

    command = bench.call("redrive", "orders", "--no-wait", "--region", "us-east-1")

    assert command.code == 2
    assert command.out == ""
    assert command.err == (
        "leasekeeper: orders-dead holds messages that SQS did not move there, such as copies of rejected messages. SQS "
        "does not know where they came from. Say where all messages go:\n"
        "  leasekeeper redrive orders-dead --to bills --region us-east-1\n"
        "  leasekeeper redrive orders-dead --to orders --region us-east-1\n"
    )
    assert bench.counts(dead) == (4, 0)


def test_redrive_moves_dead_letters_back_to_where_they_came_from(bench: Bench) -> None:
    dead = bench.queue("orders-dead")
    url = bench.queue("orders", RedrivePolicy=policy(bench, dead, 1), VisibilityTimeout="0")
    bench.fill(url, 5)
    assert len(bench.bodies(url)) == 5  # the second receive moves them
    bench.until(lambda: bench.bodies(url) == [] and bench.counts(dead) == (5, 0), "they are dead letters")

    command = bench.call("redrive", "orders")  # the queue stands for its dead-letter queue

    assert command.code == 0
    assert command.out == "moving about 5 messages from orders-dead to orders\ncompleted, moved 5 of about 5\n"
    assert bench.counts(dead) == (0, 0)
    assert bench.counts(url) == (5, 0)


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


def test_doctor_finds_what_is_dangerous_and_says_how_to_change_it(bench: Bench) -> None:
    """The test runs the suggested commands with boto3; after that the doctor finds nothing more."""
    dead = bench.queue("orders-dead", MessageRetentionPeriod="86400")
    queue = bench.queue("orders", RedrivePolicy=policy(bench, dead, 1))

    command = bench.call("doctor", "orders", "--handler-seconds", "60")
    assert command.code == 1
    fails = [line for line in command.out.splitlines() if line.startswith("fail")]
    assert [line.split("  ")[1].strip() for line in fails] == ["redrive policy", "dead letters"]
    for line in command.out.splitlines():
        if line.startswith("      aws sqs set-queue-attributes "):
            words = shlex.split(line)
            url, change = words[words.index("--queue-url") + 1], words[words.index("--attributes") + 1]
            name, _, value = change.partition("=")
            attributes = json.loads(change) if change.startswith("{") else {name: value}
            bench.boto.set_queue_attributes(QueueUrl=url, Attributes=attributes)

    again = bench.call("doctor", "orders", "--handler-seconds", "60")
    assert again.code == 0
    assert "0 to fix, 0 to consider" in again.out
    assert bench.counts(queue) == (0, 0)
    assert bench.counts(dead) == (0, 0)


def test_local_creates_queues_and_boto3_can_use_them(bench: Bench) -> None:
    command = bench.leasekeeper("local", "--port", "0", "--queue", "orders:dlq=orders-dead,max=3,visibility=7")
    command.until_it_says("leasekeeper send orders hello")
    match = re.search(r"AWS_ENDPOINT_URL_SQS=(\S+)", command.out)
    assert match is not None
    client = boto3.client(
        "sqs",
        endpoint_url=match[1],
        region_name="us-east-1",
        aws_access_key_id="local",
        aws_secret_access_key="local",
    )

    url = client.get_queue_url(QueueName="orders")["QueueUrl"]
    found = client.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
    client.close()
    assert found["VisibilityTimeout"] == "7"
    assert json.loads(found["RedrivePolicy"])["maxReceiveCount"] in {3, "3"}

    command.signal(signal.SIGINT)
    assert command.end() == 0
    assert "stopped after" in command.out


def test_local_says_when_its_port_is_taken(bench: Bench) -> None:
    command = bench.leasekeeper("local", "--port", bench.sqs.endpoint_url.rpartition(":")[2])

    assert command.end() == 1
    assert "the port is in use. Give another --port" in command.err


def test_the_demo_without_a_terminal_runs_to_its_report(bench: Bench) -> None:
    command = bench.leasekeeper("demo", "--messages", "500", "--handler-ms", "5")

    assert command.end() == 0
    assert runpy.run_path(str(DIST))["REPORT"] in command.out  # `make dist` waits for this line
    assert re.search(r"duplicates +0 ", command.out)
    assert re.search(r"lost +0 ", command.out)


def test_ctrl_c_in_the_demo_drains_and_says_what_it_did(bench: Bench) -> None:
    command = bench.leasekeeper("demo", "--seconds", "600")
    bench.until(lambda: re.search(r"deleted [1-9]", command.out), "messages flow")

    command.signal(signal.SIGINT)

    assert command.end() == 0
    assert "Stopped (Ctrl-C)" in command.out
    assert re.search(r"lost +0 ", command.out)
