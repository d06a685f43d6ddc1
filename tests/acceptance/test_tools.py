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

    sending = bench.installed("send", "orders", '{"number": 1}', "-a", "tenant=acme", "-a", "rank:Number=3")
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
    assert re.search(r"1 message received and 1 given back, hidden for at most \d\.\d s, in 3 calls\.", peeking.err)
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


@pytest.mark.parametrize("command", [("send", "ordrs", "body"), ("redrive", "orders-dead", "--to", "ordrs", "--copy")])
def test_a_queue_with_a_name_like_one_that_exists_is_suggested(bench: Bench, command: tuple[str, ...]) -> None:
    bench.queue("orders")
    bench.queue("orders-dead")
    assert bench.call(*command).err.endswith("; did you mean orders?\n")


@pytest.mark.parametrize(("given", "there"), [("q", "q.fifo"), ("q.fifo", "q")])
def test_the_queue_of_the_other_kind_is_suggested(bench: Bench, given: str, there: str) -> None:
    bench.queue("q-dead")
    bench.queue(there, **({"FifoQueue": "true"} if there.endswith(".fifo") else {}))
    assert bench.call("peek", given).err.endswith(f"; did you mean {there}?\n")


@pytest.mark.parametrize("command", ["send", "peek", "redrive"])
def test_a_url_of_a_queue_that_does_not_exist_is_said_with_the_server_that_was_asked(
    bench: Bench, command: str
) -> None:
    """`AWS_ENDPOINT_URL_SQS` wins over the host of a URL of AWS, so the URL does not say which server answered."""
    bench.queue("orders")
    url = "https://sqs.us-east-1.amazonaws.com/000000000000/ordrs"
    asked = bench.call(command, url, *(["body"] if command == "send" else []))
    assert asked.code == 3
    assert asked.err.count(f"does not exist (asked {bench.sqs.endpoint_url}/ in us-east-1); create it") == 1
    assert asked.err.endswith("; did you mean orders?\n")


def test_the_doctor_suggests_a_queue_unless_they_cannot_be_listed(bench: Bench) -> None:
    bench.queue("orders")
    assert "; did you mean orders?\n" in bench.call("doctor", "ordrs").out
    bench.sqs.faults.set("ListQueues", deny=1.0)
    assert "did you mean" not in bench.call("doctor", "ordrs").out


def test_what_the_terminal_cannot_show_is_escaped(bench: Bench) -> None:
    """An emoji on a latin-1 terminal; a Python that cannot encode it would end with a traceback."""
    bench.boto.send_message(QueueUrl=bench.queue("orders"), MessageBody="\N{ROCKET} \u00e9")

    peeking = bench.leasekeeper("peek", "orders", PYTHONIOENCODING="latin-1:strict", PYTHONUTF8="0")

    assert peeking.end() == 0
    assert "\\U0001f680 \u00e9\n" in peeking.out_bytes.decode("latin-1")


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

    assert command.end() == 3
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


def test_doctor_of_a_module_checks_the_options_of_each_consumer(shop: Bench) -> None:
    """Options of the environment count as in `leasekeeper run`."""
    dead = shop.queue("orders-dead.fifo", FifoQueue="true", MessageRetentionPeriod="1209600")
    shop.queue("orders.fifo", FifoQueue="true", RedrivePolicy=policy(shop, dead, 10))
    shop.queue("bills")
    shop.module(
        "shop",
        """
        from leasekeeper import Leasekeeper
        app = Leasekeeper()

        @app.consumer("orders.fifo", on_exhausted="halt", visibility_timeout=60, handler_timeout=100)
        async def ship(body): ...

        @app.consumer("bills", dead_letter_queue="rejects")
        async def bill(body): ...

        @app.consumer("refunds", dead_letter_queue="nowhere")
        async def refund(body): ...
        """,
    )
    shop.queue("rejects")
    shop.queue("refunds")

    command = shop.leasekeeper("doctor", "shop:app", LEASEKEEPER_WAIT_TIME="15")

    assert command.end() == 1
    lines = command.out.splitlines()
    assert lines[0] == "consumer of orders.fifo"
    assert lines[lines.index("consumer of bills") - 1] == ""
    fails = [line.split("  ", 2)[1].strip() for line in lines if line.startswith("fail")]
    assert fails == ["halt", "permissions"]
    assert "sqs:ChangeMessageVisibility, sqs:SendMessage on rejects;" in command.out
    assert "  dead_letter_queue='nowhere': GetQueueUrl: AWS.SimpleQueueService.NonExistentQueue" in command.out
    assert "visibility_timeout=60 with wait_time=15: receives wait 15 s" in command.out
    assert "60 s by visibility_timeout, extended while a handler runs; the queue's 30 s are for" in command.out


def test_doctor_of_a_module_that_does_not_exist_says_so(bench: Bench) -> None:
    command = bench.leasekeeper("doctor", "nowhere:app")
    assert command.end() == 2
    assert command.err.startswith("leasekeeper: 'nowhere:app': there is no module 'nowhere' in ")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_in_the_middle_of_a_look_leaves_nothing_hidden(bench: Bench, number: signal.Signals) -> None:
    """SQS has hidden what is on its way in an answer, so that answer is waited for."""
    url = bench.queue("orders")
    bench.fill(url, 60)
    bench.sqs.faults.set("ReceiveMessage", latency=0.5)
    command = bench.leasekeeper("peek", "orders", "--count", "60", "--messages")
    bench.until(lambda: bench.sqs.calls["ReceiveMessage"] > 1, "it receives")

    command.signal(number)

    assert command.end() == 130
    assert bench.counts(url) == (60, 0)
    assert command.err.endswith("leasekeeper: interrupted: there may be more\n")
