"""The client against a server that answers by script: what it asks, how it reads answers, what it does with errors."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import logging
from contextlib import suppress
from typing import TYPE_CHECKING, Any, ClassVar

import pytest

from leasekeeper.api import Credentials, EntryFailure, Outgoing, Response, Sent
from leasekeeper.errors import Closed, SqsError, Verdict
from leasekeeper.message import MessageAttribute

if TYPE_CHECKING:
    from collections.abc import Mapping

    from leasekeeper.api import TransportSettings
    from leasekeeper.sqs.client import SqsClient

QUEUE = "https://sqs.eu-west-1.amazonaws.com/123456789012/orders"
RESET = "reset"


def message(body: str, **more: object) -> dict[str, object]:
    digest = hashlib.md5(body.encode()).hexdigest()
    return {"MessageId": f"id-{body}", "ReceiptHandle": f"r-{body}", "Body": body, "MD5OfBody": digest, **more}


def test_a_receive_says_all_it_wants_and_reads_all_it_gets(kit: Any) -> None:
    attributes = {
        "traceparent": {"DataType": "String", "StringValue": "00-1"},
        "raw": {"DataType": "Binary.png", "BinaryValue": base64.b64encode(b"\x00\xff").decode()},
    }
    told = message("hello", Attributes={"ApproximateReceiveCount": "2"}, MessageAttributes=attributes)

    async def story(client: SqsClient, script: Any) -> None:
        (got,) = await client.receive(QUEUE, maximum=7, wait=19.2, visibility=45)
        assert (got.message_id, got.receipt, got.body) == ("id-hello", "r-hello", "hello")
        assert got.system == {"ApproximateReceiveCount": "2"}
        assert got.attributes["raw"].value == b"\x00\xff"
        assert got.attributes["traceparent"].value == "00-1"
        (asked,) = script.asked
        assert asked.body == {
            "QueueUrl": QUEUE,
            "MaxNumberOfMessages": 7,
            "WaitTimeSeconds": 20,
            "VisibilityTimeout": 45,
            "MessageSystemAttributeNames": ["All"],
            "MessageAttributeNames": ["All"],
        }
        assert asked.headers["x-amz-target"] == "AmazonSQS.ReceiveMessage"
        assert asked.headers["content-type"] == "application/x-amz-json-1.0"
        assert asked.headers["x-amzn-query-mode"] == "true"
        assert asked.headers["user-agent"].startswith("leasekeeper/")
        assert asked.headers["authorization"].startswith("AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/")

    kit.play(story, kit.answer({"Messages": [told], "Novelty": 1}))


@pytest.mark.parametrize("empty", [{}, {"Messages": []}, {"Messages": None}, b""])
def test_an_empty_receive_is_an_empty_list(one_kit: Any, empty: object) -> None:
    async def story(client: SqsClient, _: Any) -> None:
        assert await client.receive(QUEUE, maximum=10, wait=0, visibility=30) == []

    one_kit.play(story, one_kit.answer(empty))


def test_a_wait_of_nothing_is_sent_and_an_attempt_id_when_given(one_kit: Any) -> None:
    async def story(client: SqsClient, script: Any) -> None:
        await client.receive(QUEUE, maximum=1, wait=0, visibility=0, attribute_names=["a", 'b"'], attempt_id='try "1"')
        assert script.asked[0].body == {
            "QueueUrl": QUEUE,
            "MaxNumberOfMessages": 1,
            "WaitTimeSeconds": 0,
            "VisibilityTimeout": 0,
            "MessageSystemAttributeNames": ["All"],
            "MessageAttributeNames": ["a", 'b"'],
            "ReceiveRequestAttemptId": 'try "1"',
        }

    one_kit.play(story)


class Remembering:
    """A transport that answers `{}` and notes how long it was given."""

    times: ClassVar[list[tuple[str, float]]] = []

    def __init__(self, _: TransportSettings) -> None:
        pass

    async def post(self, body: bytes, headers: Mapping[str, str], timeout: float) -> Response:  # noqa: ASYNC109
        Remembering.times.append((headers["X-Amz-Target"], timeout))
        return Response(200, lambda _: None, b"{}")

    async def close(self) -> None:
        pass


def test_a_receive_is_given_up_five_seconds_after_its_wait(one_kit: Any) -> None:
    """L17: a black-holed connection costs the wait and a few seconds."""
    Remembering.times.clear()

    async def story() -> None:
        client = await one_kit.connect("http://localhost:1", http=Remembering, call_timeout=7)
        await client.receive(QUEUE, maximum=1, wait=20, visibility=30)
        await client.receive(QUEUE, maximum=1, wait=0, visibility=30)
        await client.delete(QUEUE, "r")

    asyncio.run(story())
    assert Remembering.times == [
        ("AmazonSQS.ReceiveMessage", 25.0),
        ("AmazonSQS.ReceiveMessage", 5.0),
        ("AmazonSQS.DeleteMessage", 7),
    ]


class Turns:
    """A transport whose answers have ids, and come when the test lets them; a call without one fails."""

    waiting: ClassVar[list[asyncio.Future[str]]] = []

    def __init__(self, _: TransportSettings) -> None:
        pass

    async def post(self, body: bytes, headers: Mapping[str, str], timeout: float) -> Response:  # noqa: ASYNC109
        Turns.waiting.append(asyncio.get_running_loop().create_future())
        number = await Turns.waiting[-1]
        return Response(200, {"x-amzn-requestid": number}.get, b"{}")

    async def close(self) -> None:
        pass


def test_the_id_of_a_call_is_that_of_its_own_answer(one_kit: Any) -> None:
    """Also where other calls are answered in the same moment; a call without an answer has none."""
    Turns.waiting.clear()

    async def story() -> list[str]:
        client = await one_kit.connect("http://localhost:1", http=Turns)
        seen = [""] * 3

        async def one(place: int) -> None:
            with suppress(SqsError):
                await client.receive(QUEUE, maximum=1, wait=0, visibility=30)
            seen[place] = client.last_request_id()

        tasks = [asyncio.create_task(one(place)) for place in range(3)]
        for _ in range(10):  # each posts within its first turns
            await asyncio.sleep(0)
        first, second, third = Turns.waiting
        second.set_result("b")
        third.set_exception(SqsError(Verdict.UNAVAILABLE, "ConnectionReset", "reset"))
        first.set_result("a")
        await asyncio.gather(*tasks)
        return seen

    assert asyncio.run(story()) == ["a", "b", ""]


def test_a_message_that_does_not_match_its_md5_is_left_out_and_logged(
    one_kit: Any, caplog: pytest.LogCaptureFixture
) -> None:
    bad = message("bad", MD5OfBody="0" * 32)
    worse = message("worse", MD5OfMessageAttributes="0" * 32, MessageAttributes={})
    answer = one_kit.answer({"Messages": [message("one"), bad, worse, message("two")]})

    async def story(client: SqsClient, _: Any) -> None:
        got = await client.receive(QUEUE, maximum=10, wait=0, visibility=30)
        assert [m.body for m in got] == ["one", "two"]

    with caplog.at_level(logging.ERROR, "leasekeeper.sqs"):
        one_kit.play(story, answer)
    assert [record.getMessage().split(" and ")[0] for record in caplog.records] == [
        "message id-bad of orders does not match its MD5",
        "message id-worse of orders does not match its MD5",
    ]


def test_md5s_can_be_left_unread(one_kit: Any) -> None:
    async def story(client: SqsClient, _: Any) -> None:
        assert len(await client.receive(QUEUE, maximum=10, wait=0, visibility=30)) == 1

    one_kit.play(story, one_kit.answer({"Messages": [message("bad", MD5OfBody="0" * 32)]}), verify_md5=False)


def test_deletes_go_by_position_and_failures_come_back_by_position(kit: Any) -> None:
    """L11: two deliveries of one message in one batch both settle, for entries are named by position."""
    gone = {"Id": "1", "Code": "ReceiptHandleIsInvalid", "SenderFault": True, "Message": "expired"}
    later = {"Id": "3", "Code": "InternalError", "SenderFault": False}

    async def story(client: SqsClient, script: Any) -> None:
        outcome = await client.delete_batch(QUEUE, ["same", "a", "same", "b", 'odd"\\'])
        assert outcome == [
            None,
            EntryFailure(Verdict.LEASE_LOST, "ReceiptHandleIsInvalid", "expired", True),
            None,
            EntryFailure(Verdict.UNAVAILABLE, "InternalError", "", False),
            None,
        ]
        assert script.asked[0].body["Entries"] == [
            {"Id": "0", "ReceiptHandle": "same"},
            {"Id": "1", "ReceiptHandle": "a"},
            {"Id": "2", "ReceiptHandle": "same"},
            {"Id": "3", "ReceiptHandle": "b"},
            {"Id": "4", "ReceiptHandle": 'odd"\\'},
        ]

    kit.play(story, kit.answer({"Successful": [{"Id": "0"}, {"Id": "2"}, {"Id": "4"}], "Failed": [gone, later]}))


@pytest.mark.parametrize(
    ("answer", "confirmed"),
    [
        ({}, []),
        (b"", []),
        ({"Successful": [{"Id": "1"}]}, [1]),
        ({"Successful": [{"Id": "7"}, {"Id": "x"}], "Failed": [{"Id": "9"}]}, []),
    ],
)
def test_what_an_answer_does_not_name_is_not_confirmed(one_kit: Any, answer: object, confirmed: list[int]) -> None:
    """L12: silence is no confirmation; such an entry may be tried again."""

    async def story(client: SqsClient, _: Any) -> None:
        outcome = await client.delete_batch(QUEUE, ["a", "b"])
        assert [position for position, failure in enumerate(outcome) if failure is None] == confirmed
        failures = [failure for failure in outcome if failure is not None]
        assert {(failure.verdict, failure.code) for failure in failures} == {(Verdict.UNAVAILABLE, "Unconfirmed")}

    one_kit.play(story, one_kit.answer(answer))


def test_visibility_is_changed_entry_by_entry(kit: Any) -> None:
    async def story(client: SqsClient, script: Any) -> None:
        assert await client.change_visibility_batch(QUEUE, [("a", 0), ("b", 43_200)]) == [None, None]
        assert script.asked[0].body["Entries"] == [
            {"Id": "0", "ReceiptHandle": "a", "VisibilityTimeout": 0},
            {"Id": "1", "ReceiptHandle": "b", "VisibilityTimeout": 43_200},
        ]

    kit.play(story, kit.answer({"Successful": [{"Id": "0"}, {"Id": "1"}]}))


def test_each_answer_to_a_delete_is_read_though_the_last_one_confirmed_everything(one_kit: Any) -> None:
    confirmed = {"Successful": [{"Id": "0"}, {"Id": "1"}], "Failed": []}
    partly = {"Successful": [{"Id": "0"}, {"Id": "0"}], "Failed": []}

    async def story(client: SqsClient, _: Any) -> None:
        for second in (False, False, True, False):
            first, last = await client.delete_batch(QUEUE, ["r0", "r1"])
            assert first is None
            assert (last is not None) is second
        assert await client.delete_batch(QUEUE, ["r0"]) == [None]

    answers = [
        one_kit.answer(each) for each in (confirmed, confirmed, partly, confirmed, {"Successful": [{"Id": "0"}]})
    ]
    one_kit.play(story, *answers)


def test_a_batch_of_sends_carries_everything_and_answers_by_position(kit: Any) -> None:
    refused = {"Id": "1", "Code": "InvalidMessageContents", "SenderFault": True, "Message": "no"}
    taken = {"Id": "0", "MessageId": "m-0", "SequenceNumber": "18850", "MD5OfMessageBody": "x"}

    async def story(client: SqsClient, script: Any) -> None:
        full = Outgoing(
            body='{"a": 1}',
            delay=0,
            attributes={
                "n": MessageAttribute(data_type="Number", string_value="1"),
                "b": MessageAttribute(data_type="Binary", binary_value=b"\x00"),
            },
            system={"AWSTraceHeader": "Root=1"},
            group_id="g",
            deduplication_id="d",
        )
        outcome = await client.send_batch(QUEUE, [full, Outgoing(body="plain"), Outgoing(body="lost")])
        assert outcome[0] == Sent("m-0", "18850")
        assert outcome[1] == EntryFailure(Verdict.REFUSED, "InvalidMessageContents", "no", True)
        assert isinstance(outcome[2], EntryFailure)
        assert outcome[2].code == "Unconfirmed"
        assert script.asked[0].body["Entries"] == [
            {
                "Id": "0",
                "MessageBody": '{"a": 1}',
                "DelaySeconds": 0,
                "MessageAttributes": {
                    "n": {"DataType": "Number", "StringValue": "1"},
                    "b": {"DataType": "Binary", "BinaryValue": "AA=="},
                },
                "MessageSystemAttributes": {"AWSTraceHeader": {"DataType": "String", "StringValue": "Root=1"}},
                "MessageGroupId": "g",
                "MessageDeduplicationId": "d",
            },
            {"Id": "1", "MessageBody": "plain"},
            {"Id": "2", "MessageBody": "lost"},
        ]

    kit.play(story, kit.answer({"Successful": [taken], "Failed": [refused]}))


def test_single_calls_say_what_they_mean(kit: Any) -> None:
    async def story(client: SqsClient, script: Any) -> None:
        assert await client.send(QUEUE, Outgoing(body="x")) == Sent("m")
        await client.change_visibility(QUEUE, "r", 5)
        await client.delete(QUEUE, "r")
        assert [(asked.headers["x-amz-target"], asked.body) for asked in script.asked] == [
            ("AmazonSQS.SendMessage", {"QueueUrl": QUEUE, "MessageBody": "x"}),
            (
                "AmazonSQS.ChangeMessageVisibility",
                {"QueueUrl": QUEUE, "ReceiptHandle": "r", "VisibilityTimeout": 5},
            ),
            ("AmazonSQS.DeleteMessage", {"QueueUrl": QUEUE, "ReceiptHandle": "r"}),
        ]

    kit.play(story, kit.answer({"MessageId": "m"}), kit.answer(b""), kit.answer(b""))


def test_lists_are_read_page_by_page(one_kit: Any) -> None:
    pages = [{"QueueUrls": ["a", "b"], "NextToken": "t"}, {"QueueUrls": ["c"]}]
    sources = [{"queueUrls": ["a"], "NextToken": "t"}, {"queueUrls": ["b"]}, {}]

    async def story(client: SqsClient, script: Any) -> None:
        assert await client.list_queues("or") == ["a", "b", "c"]
        assert await client.list_dead_letter_sources(QUEUE) == ["a", "b"]
        assert await client.list_queues() == []
        assert [asked.body for asked in script.asked] == [
            {"MaxResults": 1000, "QueueNamePrefix": "or"},
            {"MaxResults": 1000, "QueueNamePrefix": "or", "NextToken": "t"},
            {"MaxResults": 1000, "QueueUrl": QUEUE},
            {"MaxResults": 1000, "QueueUrl": QUEUE, "NextToken": "t"},
            {"MaxResults": 1000},
        ]

    one_kit.play(story, *map(one_kit.answer, pages + sources))


def test_a_refusal_names_operation_code_and_request(kit: Any) -> None:
    no_queue = kit.refusal(
        "AWS.SimpleQueueService.NonExistentQueue",
        "com.amazonaws.sqs#QueueDoesNotExist",
        "The specified queue does not exist.",
    )

    async def story(client: SqsClient, _: Any) -> None:
        with pytest.raises(SqsError) as failed:
            await client.receive(QUEUE, maximum=1, wait=0, visibility=30)
        error = failed.value
        assert (error.verdict, error.operation, error.status) == (Verdict.MISSING, "ReceiveMessage", 400)
        assert (error.code, error.request_id) == ("AWS.SimpleQueueService.NonExistentQueue", "r-1")

    assert len(kit.play(story, no_queue).asked) == 1


@pytest.mark.parametrize("body", [b"<html>", b"[]", b'{"Messages": [{}]}', b'{"Messages": [', b"\xff"])
def test_an_answer_that_is_not_sqss_is_an_error_to_be_retried(one_kit: Any, body: bytes) -> None:
    async def story(client: SqsClient, _: Any) -> None:
        with pytest.raises(SqsError, match="the answer is not one of SQS") as failed:
            await client.receive(QUEUE, maximum=1, wait=0, visibility=30)
        assert (failed.value.verdict, failed.value.code) == (Verdict.UNAVAILABLE, "Garbage")

    one_kit.play(story, one_kit.answer(body))


class TestRetries:
    """Who tries again, and how often."""

    def test_a_delete_survives_one_reset_connection(self, kit: Any) -> None:
        async def story(client: SqsClient, script: Any) -> None:
            assert await client.delete_batch(QUEUE, ["a"]) == [None]
            with pytest.raises(SqsError) as failed:
                await client.delete_batch(QUEUE, ["a"])
            assert failed.value.code == "ConnectionReset"
            assert script.operations() == ["DeleteMessageBatch"] * 4

        kit.play(story, RESET, kit.answer({"Successful": [{"Id": "0"}]}), RESET, RESET)

    @pytest.mark.parametrize("step", [503, "truncate"])
    def test_after_any_other_failure_a_delete_is_the_engines_to_repeat(self, one_kit: Any, step: Any) -> None:
        async def story(client: SqsClient, _: Any) -> None:
            with pytest.raises(SqsError) as failed:
                await client.delete_batch(QUEUE, ["a"])
            assert failed.value.verdict is Verdict.UNAVAILABLE

        script = one_kit.play(story, one_kit.answer(b"", 503) if step == 503 else step)
        assert len(script.asked) == 1

    def test_receives_and_sends_are_made_once(self, kit: Any) -> None:
        """What came of them is not known: messages may be out on a receive, sent on a send."""

        async def story(client: SqsClient, _: Any) -> None:
            for call in (
                client.receive(QUEUE, maximum=1, wait=0, visibility=30),
                client.send(QUEUE, Outgoing(body="x")),
                client.send_batch(QUEUE, [Outgoing(body="x")]),
            ):
                with pytest.raises(SqsError):
                    await call

        assert kit.play(story, RESET, RESET, RESET).operations() == [
            "ReceiveMessage",
            "SendMessage",
            "SendMessageBatch",
        ]

    def test_administration_is_patient_three_times(self, one_kit: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("leasekeeper.sqs.wire.random.uniform", lambda low, high: low * high)
        down, throttled = one_kit.answer(b"", 503), one_kit.refusal("RequestThrottled", "", "", 403)

        async def story(client: SqsClient, script: Any) -> None:
            assert await client.queue_url("orders", account="123456789012") == "u"
            assert script.asked[2].body == {"QueueName": "orders", "QueueOwnerAWSAccountId": "123456789012"}
            with pytest.raises(SqsError) as failed:
                await client.queue_url("orders")
            assert failed.value.status == 503
            assert len(script.asked) == 6

        one_kit.play(story, down, throttled, one_kit.answer({"QueueUrl": "u"}), down, down, down)

    def test_administration_is_not_patient_with_refusals(self, one_kit: Any) -> None:
        async def story(client: SqsClient, script: Any) -> None:
            with pytest.raises(SqsError):
                await client.queue_url("orders")
            assert len(script.asked) == 1

        one_kit.play(story, one_kit.refusal("AccessDenied", "", "no", 403))


class TestCredentials:
    """What refused credentials and a wrong clock lead to."""

    def test_a_call_with_refused_credentials_is_made_again_with_new_ones(self, one_kit: Any) -> None:
        made: list[Credentials] = []

        def provider() -> Credentials:
            made.append(Credentials(access_key=f"AK{len(made)}", secret_key="s", token="t"))
            return made[-1]

        async def story(client: SqsClient, script: Any) -> None:
            script.steps.append(one_kit.refusal("ExpiredToken", "", "expired", 403))
            await client.delete(QUEUE, "r")
            used = [asked.headers["authorization"].split("Credential=")[1].split("/")[0] for asked in script.asked]
            assert used == ["AK0", "AK1"]
            assert script.asked[1].headers["x-amz-security-token"] == "t"

        one_kit.play(story, credentials=provider)

    def test_a_call_is_made_again_once_and_only_with_other_credentials(self, one_kit: Any) -> None:
        expired = one_kit.refusal("ExpiredToken", "", "expired", 403)

        async def story(client: SqsClient, script: Any) -> None:
            with pytest.raises(SqsError) as failed:
                await client.delete(QUEUE, "r")
            assert failed.value.verdict is Verdict.CREDENTIALS
            assert len(script.asked) == 1

        one_kit.play(story, expired, credentials=lambda: Credentials(access_key="SAME", secret_key="s"))

    @pytest.mark.parametrize("raised", [SystemExit(1), KeyboardInterrupt(), asyncio.CancelledError(), StopIteration()])
    @pytest.mark.parametrize("kind", ["function", "coroutine"])
    def test_whatever_a_provider_raises_ends_a_refresh_and_no_more(
        self, one_kit: Any, raised: BaseException, kind: str
    ) -> None:
        """L15: the engine's thread goes on, the held credentials are used, and the next refresh may succeed."""
        answers: list[BaseException | None] = [None, raised]

        def provider() -> Credentials:
            error = answers.pop(0)
            if error is not None:
                raise error
            return Credentials(access_key="AK", secret_key="s")

        async def coroutine() -> Credentials:
            return provider()

        async def story(client: SqsClient, script: Any) -> None:
            script.steps.append(one_kit.refusal("ExpiredToken", "", "expired", 403))
            with pytest.raises(SqsError) as failed:
                await client.delete(QUEUE, "r")
            assert failed.value.verdict is Verdict.CREDENTIALS
            assert client.credentials_failure is not None
            await client.delete(QUEUE, "r")
            assert not answers

        one_kit.play(story, credentials=provider if kind == "function" else coroutine)

    def test_a_call_refused_for_the_time_of_day_is_signed_again_by_the_servers_clock(
        self, one_kit: Any, caplog: pytest.LogCaptureFixture
    ) -> None:
        tomorrow = one_kit.answer(
            {"__type": "InvalidSignatureException", "message": "Signature not yet current"},
            403,
            Date="Fri, 01 Jan 2100 00:00:00 GMT",
        )

        async def story(client: SqsClient, script: Any) -> None:
            await client.delete(QUEUE, "r")
            assert script.asked[1].headers["x-amz-date"].startswith("21000101T0000")

        with caplog.at_level(logging.WARNING, "leasekeeper.sqs"):
            one_kit.play(story, tomorrow)
        assert "this machine's clock is wrong" in caplog.text


@pytest.mark.parametrize("date", ["Fri, 01 Jan 2100 00:00:00 GMT", "Fri, 01 Jan 2100 00:00:00 +99999999999999"])
def test_the_date_of_a_proxys_page_does_not_move_our_clock(one_kit: Any, date: str) -> None:
    """Only a refusal in SQS's own form is about our signature; a date may hold any number."""

    async def story(client: SqsClient, script: Any) -> None:
        script.steps.append(one_kit.answer(b"<html>Forbidden</html>", 403, Date=date))
        script.steps.append(
            one_kit.answer({"__type": "AccessDenied"}, 403, Date=date.replace("2100 00:00:00 GMT", "x"))
        )
        for verdict in (Verdict.UNAVAILABLE, Verdict.DENIED):
            with pytest.raises(SqsError) as failed:
                await client.delete(QUEUE, "r")
            assert failed.value.verdict is verdict
        assert not script.steps
        assert len(script.asked) == 2
        assert not script.asked[1].headers["x-amz-date"].startswith("2100")

    one_kit.play(story)


@pytest.mark.parametrize("body", [b"<html>Please log in</html>", b"[]", b'"ok"'])
def test_a_page_instead_of_an_empty_answer_confirms_nothing(one_kit: Any, body: bytes) -> None:
    """L12."""

    async def story(client: SqsClient, _: Any) -> None:
        for call in (client.delete(QUEUE, "r"), client.change_visibility(QUEUE, "r", 5), client.purge_queue(QUEUE)):
            with pytest.raises(SqsError) as failed:
                await call
            assert (failed.value.verdict, failed.value.code) == (Verdict.UNAVAILABLE, "Garbage")

    one_kit.play(story, *[one_kit.answer(body)] * 3)


def test_retry_after_delays_a_call_of_administration(one_kit: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    pauses: list[float] = []
    real = asyncio.sleep

    async def sleep(seconds: float) -> None:
        pauses.append(seconds)
        await real(0)

    busy = [one_kit.answer(b"", 503, Retry_After=each) for each in ("3", "3600")]

    async def story(client: SqsClient, _: Any) -> None:
        monkeypatch.setattr("leasekeeper.sqs.wire.asyncio.sleep", sleep)
        assert await client.queue_url("orders") == "u"
        monkeypatch.undo()

    one_kit.play(story, *busy, one_kit.answer({"QueueUrl": "u"}))
    assert [each for each in pauses if each] == [3.0, 5.0]


def test_a_closed_client_says_so(one_kit: Any) -> None:
    async def story(client: SqsClient, _: Any) -> None:
        await client.close()
        await client.close()
        with pytest.raises(Closed, match="DeleteMessage was asked of a client that is closed"):
            await client.delete(QUEUE, "r")

    one_kit.play(story)


def test_its_repr_says_where_it_calls(one_kit: Any) -> None:
    async def story(client: SqsClient, script: Any) -> None:
        assert repr(client) == f"<SqsClient {script.url}/ eu-west-1>"

    one_kit.play(story)
