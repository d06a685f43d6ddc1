"""The doctor: what it calls allowed, how it prints what it found, and that its commands can be copied."""

from __future__ import annotations

import asyncio
import io
import re
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from leasekeeper import Leasekeeper
from leasekeeper.api import EntryFailure
from leasekeeper.cli.connection import Connection
from leasekeeper.cli.doctor import permissions, report, sharing
from leasekeeper.cli.doctor.examination import patient_of
from leasekeeper.cli.doctor.explanations import explanation
from leasekeeper.cli.doctor.facts import Finding, Level
from leasekeeper.cli.doctor.permissions import Answer, TriedAction, judge
from leasekeeper.cli.doctor.report import show
from leasekeeper.errors import SqsError, Verdict
from leasekeeper.local import LocalSqs
from leasekeeper.sqs.client import SqsClient
from leasekeeper.sqs.errors import verdict_of

COMMAND = (
    "aws sqs set-queue-attributes --queue-url https://sqs.eu-west-1.amazonaws.com/123456789012/orders --attributes a=b"
)


def shown(finding: Finding, width: int, *, terminal: bool) -> str:
    console = Console(file=io.StringIO(), width=width, force_terminal=terminal, color_system=None, highlight=False)
    with console.capture() as capture:
        show(finding, console)
    return capture.get()


@pytest.mark.parametrize("terminal", [True, False])
@pytest.mark.parametrize("width", [10, 20, 40, 80, 120])
def test_a_command_is_whole_on_one_line_at_every_width(width: int, *, terminal: bool) -> None:
    lines = shown(Finding(Level.FAIL, "retention", "short", (COMMAND,)), width, terminal=terminal).splitlines()
    assert f"      {COMMAND}" in lines


@pytest.mark.parametrize("width", [40, 80])
def test_a_finding_fits_its_terminal(width: int) -> None:
    finding = Finding(Level.WARN, "redrive policy", "a message that always fails comes back " * 5)
    lines = shown(finding, width, terminal=True).splitlines()
    assert max(map(len, lines)) <= width
    assert " ".join(shown(finding, width, terminal=True).split()) == f"warn redrive policy {finding.message.strip()}"


@pytest.mark.parametrize("terminal", [True, False])
def test_text_of_others_is_neither_markup_nor_control_nor_secret(*, terminal: bool) -> None:
    message = "HTTP 403: [/x] [bold] http://user:secret@[::1]:80 \x1b[2J\u202e"
    text = shown(Finding(Level.FAIL, "queue", message, ("say [/x]\x1b",)), 200, terminal=terminal)
    assert "HTTP 403: [/x] [bold] http://***@[::1]:80 \\x1b[2J\\u202e" in text
    assert "      say [/x]\\x1b" in text
    assert "\x1b" not in text


def test_without_a_terminal_a_finding_is_one_line() -> None:
    finding = Finding(Level.OK, "queue", "word " * 60 + "end")
    assert shown(finding, 80, terminal=False).count("\n") == 1


@pytest.mark.parametrize(
    ("code", "message", "status", "answer"),
    [
        ("ReceiptHandleIsInvalid", "The input receipt handle is invalid.", 404, Answer.ALLOWED),
        ("InvalidMessageContents", "", 400, Answer.ALLOWED),
        ("InvalidParameterValue", "Value 901 for parameter DelaySeconds is invalid.", 400, Answer.ALLOWED),
        ("AccessDenied", "", 403, Answer.DENIED),
        ("KMS.AccessDeniedException", "", 400, Answer.DENIED),
        ("ExpiredToken", "", 403, Answer.UNKNOWN),
        ("InternalError", "", 500, Answer.UNKNOWN),
        ("RequestThrottled", "", 403, Answer.UNKNOWN),
        ("NonExistentQueue", "", 400, Answer.UNKNOWN),
        ("", "<html>", 404, Answer.UNKNOWN),
    ],
)
def test_only_an_answer_that_proves_it_is_called_allowed(code: str, message: str, status: int, answer: Answer) -> None:
    verdict = verdict_of(code, message, status)
    assert judge(SqsError(verdict, code, message, status=status)) is answer
    assert judge(EntryFailure(verdict, code, message, sender_fault=True)) is answer


def try_all(**faults: dict[str, float]) -> tuple[list[TriedAction], list[str]]:
    """Try everything on a local SQS with these faults; the trials, and the bodies in the dead-letter queue."""
    with LocalSqs() as sqs:

        async def run() -> tuple[list[TriedAction], list[str]]:
            settings = Connection(queue="orders", endpoint_url=sqs.endpoint_url, region="us-east-1").settings()
            async with await SqsClient.connect(settings) as client:
                url, dead = await client.create_queue("orders"), await client.create_queue("orders-dead")
                for operation, switches in faults.items():
                    sqs.faults.set(operation, **switches)
                trials = await permissions.try_settling(client, url, queue="orders", arn="arn:o")
                trials.append(await permissions.try_sending(client, dead, queue="orders-dead", arn="arn:d"))
                return trials, [each.body for each in await client.receive(dead, maximum=10, wait=0, visibility=1)]

        return asyncio.run(run())


def test_what_is_allowed_is_found_without_sending_anything() -> None:
    trials, bodies = try_all()
    assert bodies == []
    (finding,) = permissions.findings(trials, used=["sqs:GetQueueUrl"])
    assert finding == Finding(
        Level.OK,
        "permissions",
        "allowed: sqs:GetQueueUrl, sqs:DeleteMessage, sqs:ChangeMessageVisibility, sqs:SendMessage on orders-dead; "
        "sqs:ReceiveMessage was not tried: a receive counts",
    )


@pytest.mark.parametrize(
    ("switches", "level", "words"),
    [
        ({}, Level.OK, "handlers may send to orders-dead"),
        ({"deny": 1.0}, Level.FAIL, "a handler sends to orders-dead, and sqs:SendMessage is denied"),
        ({"unavailable": 1.0}, Level.WARN, "it is not known whether"),
    ],
)
def test_a_queue_that_handlers_send_to_is_tried(switches: dict[str, float], level: Level, words: str) -> None:
    finding = permissions.sending(try_all(SendMessageBatch=switches)[0][-1])
    assert (finding.level, finding.topic) == (level, "sending")
    assert words in finding.message


def test_what_the_consumers_of_an_app_share_is_checked_once() -> None:
    app = Leasekeeper()
    for queue in ("orders", "mails", "bills"):
        app.consumer(queue)(lambda _body: None)
    relay: Any = "a relay"
    patients = sharing([patient_of(each) for each in app.consumers], [relay])
    assert [each.connection.queue for each in patients] == ["orders", "mails", "bills"]
    assert [each.senders for each in patients] == [app.consumers[0].senders, None, None]
    assert [list(each.relays) for each in patients] == [[relay], [], []]


def test_the_same_credentials_and_endpoint_are_shown_once(capsys: pytest.CaptureFixture[str]) -> None:
    app = Leasekeeper()
    with LocalSqs() as sqs:
        for queue in ("orders", "mails"):
            sqs.call("CreateQueue", QueueName=queue)
            app.consumer(queue, endpoint_url=sqs.endpoint_url, region="us-east-1")(lambda _body: None)
        asyncio.run(report.print_report([patient_of(each) for each in app.consumers], explain=False))
    topics = [line[6:20].strip() for line in capsys.readouterr().out.splitlines() if line.startswith("ok ")]
    assert [topics.count(topic) for topic in ("credentials", "endpoint", "queue")] == [1, 1, 2]


def test_a_queue_that_handlers_send_to_and_that_is_missing_is_a_failure() -> None:
    async def look(url: str) -> Finding:
        settings = Connection(queue="orders", endpoint_url=url, region="us-east-1").settings()
        async with await SqsClient.connect(settings) as client:
            return await permissions.check_sending(client, "nowhere", arn="arn:aws:sqs:us-east-1:0:orders")

    with LocalSqs() as sqs:
        finding = asyncio.run(look(sqs.endpoint_url))
    assert finding.level is Level.FAIL
    assert "a handler sends to nowhere: " in finding.message


def test_a_consumer_that_may_not_copy_to_the_dead_letter_queue_is_a_failure() -> None:
    """The default for a rejected message is a copy there."""
    trials, _ = try_all(SendMessageBatch={"deny": 1.0})
    failure, allowed = permissions.findings(trials, used=[])
    assert failure == Finding(
        Level.FAIL,
        "permissions",
        "sqs:SendMessage on orders-dead is denied: a rejected message cannot be copied there. Allow it to these "
        "credentials:",
        ('{"Effect": "Allow", "Action": "sqs:SendMessage", "Resource": "arn:d"}',),
    )
    assert allowed.level is Level.OK
    assert "SendMessage" not in allowed.message


def test_an_error_of_the_server_proves_no_permission() -> None:
    trials, _ = try_all(DeleteMessageBatch={"unavailable": 1.0})
    unknown, allowed = permissions.findings(trials, used=[])
    assert unknown.level is Level.WARN
    assert unknown.message.startswith("it is not known whether sqs:DeleteMessage on orders is allowed: ")
    assert "sqs:DeleteMessage," not in allowed.message


def test_a_message_that_a_server_should_have_refused_is_reported() -> None:
    trial = TriedAction(action="sqs:SendMessage", queue="dead", arn="arn", answer=Answer.ALLOWED, sent="id-1")
    warning, _ = permissions.findings([trial], used=[])
    assert warning.message == "this server accepted a message that SQS refuses; it is in dead now: id-1"


def test_the_flags_of_suggested_commands_hold_no_password() -> None:
    given: dict[str, Any] = {"endpoint_url": "http://user:secret@h:1", "profile": "a b", "region": "eu-west-1"}
    connection = Connection(queue="orders", **given)
    assert connection.command("peek", "orders") == (
        "leasekeeper peek orders --endpoint-url http://h:1 --region eu-west-1 --profile 'a b'"
    )


def test_an_unused_verdict_is_no_proof() -> None:
    """A verdict that is new must not count as allowed by accident."""
    proofs = {verdict for verdict in Verdict if judge(SqsError(verdict, "X", "")) is Answer.ALLOWED}
    assert proofs == {Verdict.LEASE_LOST, Verdict.LEASE_CAPPED}


def test_every_topic_of_a_check_has_an_explanation() -> None:
    source = "".join(each.read_text() for each in (Path(report.__file__).parent).glob("*.py"))
    topics = set(re.findall(r"Finding\(\s*[\w. ]+,\s*\"([a-z ]+)\"", source)) | {"dead letters", "attempts", "redrive"}
    assert len(topics) > 12
    assert {topic for topic in topics if not explanation(topic)} == set()


def test_an_explanation_stands_below_its_finding() -> None:
    console = Console(width=100, record=True, file=io.StringIO())
    show(Finding(Level.OK, "retention", "4 days"), console)
    report._explain(Finding(Level.OK, "retention", "4 days"), console)
    text = console.export_text()
    assert text.index("4 days") < text.index("      Messages that are older are deleted")
