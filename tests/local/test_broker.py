"""The broker in virtual time: long polls, wake-ups and faults."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from leasekeeper.local import Account, Broker, Refusal
from leasekeeper.local.faults import NoAnswer
from leasekeeper.testing.clock import run_virtual

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine


class Bench:
    """A broker with one queue, in virtual time."""

    def __init__(self, name: str = "q", **attributes: str) -> None:
        self.broker = Broker(Account(in_flight_limit=5), seed=3, epoch=1_700_000_000.0)
        self.name = name
        self.attributes = attributes
        self.url = ""

    async def open(self) -> None:
        created = await self.ask("CreateQueue", QueueName=self.name, Attributes=self.attributes)
        self.url = created["QueueUrl"]

    @property
    def now(self) -> float:
        return asyncio.get_running_loop().time()

    async def ask(self, operation: str, **request: Any) -> dict[str, Any]:
        return await self.broker.call(operation, {"QueueUrl": self.url, **request})

    async def send(self, body: str = "x", **request: Any) -> None:
        await self.ask("SendMessage", MessageBody=body, **request)

    async def receive(self, wait: int = 20, most: int = 1, **request: Any) -> tuple[float, list[dict[str, Any]]]:
        """The time of the answer to a receive, and its messages."""
        answer = await self.ask("ReceiveMessage", WaitTimeSeconds=wait, MaxNumberOfMessages=most, **request)
        return self.now, answer.get("Messages", [])

    def poll(self, wait: int = 20, most: int = 1, **request: Any) -> asyncio.Task[tuple[float, list[dict[str, Any]]]]:
        return asyncio.create_task(self.receive(wait, most, **request))

    async def hide(self, message: dict[str, Any], seconds: int) -> None:
        await self.ask("ChangeMessageVisibility", ReceiptHandle=message["ReceiptHandle"], VisibilityTimeout=seconds)

    async def in_flight(self) -> int:
        shown = await self.ask("GetQueueAttributes", AttributeNames=["All"])
        return int(shown["Attributes"]["ApproximateNumberOfMessagesNotVisible"])


def on_bench(story: Callable[[Bench], Coroutine[Any, Any, None]], **options: Any) -> None:
    async def play() -> None:
        bench = Bench(**options)
        await bench.open()
        await story(bench)
        await bench.broker.close()

    run_virtual(play())


def bodies(messages: list[dict[str, Any]]) -> list[str]:
    return [message["Body"] for message in messages]


def certain(switch: str) -> dict[str, Any]:
    return {switch: 1.0}


# ---- long polls


def test_a_long_poll_of_an_empty_queue_waits_and_returns_nothing() -> None:
    async def story(bench: Bench) -> None:
        assert await bench.receive(20) == (20.0, [])
        assert await bench.receive(0) == (20.0, [])

    on_bench(story)


def test_the_wait_of_the_queue_is_the_default() -> None:
    async def story(bench: Bench) -> None:
        assert await bench.ask("ReceiveMessage") == {}
        assert bench.now == 7.0
        assert await bench.receive(0) == (7.0, [])

    on_bench(story, ReceiveMessageWaitTimeSeconds="7")


def test_a_send_wakes_a_long_poll_at_once() -> None:
    async def story(bench: Bench) -> None:
        poll = bench.poll()
        await asyncio.sleep(3)
        await bench.send("a")
        when, messages = await poll
        assert (when, bodies(messages)) == (3.0, ["a"])

    on_bench(story)


@pytest.mark.parametrize("cause", ["visibility", "delay", "release", "shortened"])
def test_every_way_to_become_visible_wakes_a_long_poll(cause: str) -> None:
    async def story(bench: Bench) -> None:
        await bench.send("a", DelaySeconds=4 if cause == "delay" else 0)
        _, held = await bench.receive(0, VisibilityTimeout=4 if cause == "visibility" else 1000)
        poll = bench.poll()
        await asyncio.sleep(2)
        if cause == "release":
            await bench.hide(held[0], 0)
        elif cause == "shortened":
            await bench.hide(held[0], 2)
        when, messages = await poll
        assert bodies(messages) == ["a"]
        assert when == (2.0 if cause == "release" else 4.0)

    on_bench(story)


def test_an_extension_postpones_the_wake_up() -> None:
    async def story(bench: Bench) -> None:
        await bench.send("a")
        _, held = await bench.receive(0, VisibilityTimeout=4)
        poll = bench.poll()
        await asyncio.sleep(3)
        await bench.hide(held[0], 10)
        when, _ = await poll
        assert when == 13.0

    on_bench(story)


def test_a_delete_unlocks_a_fifo_group_for_a_long_poll() -> None:
    async def story(bench: Bench) -> None:
        for body in "ab":
            await bench.send(body, MessageGroupId="g")
        _, (first,) = await bench.receive(0)
        poll = bench.poll()
        await asyncio.sleep(2)
        assert not poll.done()
        await bench.ask("DeleteMessage", ReceiptHandle=first["ReceiptHandle"])
        when, messages = await poll
        assert (when, bodies(messages)) == (2.0, ["b"])

    on_bench(story, name="q.fifo", FifoQueue="true", ContentBasedDeduplication="true")


def test_a_dead_letter_wakes_a_poll_of_the_dead_letter_queue() -> None:
    async def story(bench: Bench) -> None:
        dead = (await bench.ask("CreateQueue", QueueName="dead"))["QueueUrl"]
        policy = '{"deadLetterTargetArn": "arn:aws:sqs:us-east-1:000000000000:dead", "maxReceiveCount": 1}'
        await bench.ask("SetQueueAttributes", Attributes={"RedrivePolicy": policy})
        poll = asyncio.create_task(bench.broker.call("ReceiveMessage", {"QueueUrl": dead, "WaitTimeSeconds": 20}))
        await bench.send("a")
        await bench.receive(0, VisibilityTimeout=3)
        await asyncio.sleep(5)
        await bench.receive(0)
        assert bodies((await poll)["Messages"]) == ["a"]
        assert bench.now == 5.0

    on_bench(story)


def test_a_poll_that_gets_no_message_waits_until_its_end() -> None:
    async def story(bench: Bench) -> None:
        polls = [bench.poll(10) for _ in range(5)]
        await asyncio.sleep(1)
        await bench.send("a")
        await asyncio.sleep(1)
        await bench.send("b")
        ends = [await poll for poll in polls]
        assert sorted(when for when, _ in ends) == [1.0, 2.0, 10.0, 10.0, 10.0]
        assert [bodies(messages) for _, messages in ends] == [["a"], ["b"], [], [], []]

    on_bench(story)


def test_a_batch_wakes_one_poll_for_each_message() -> None:
    async def story(bench: Bench) -> None:
        polls = [bench.poll() for _ in range(4)]
        await asyncio.sleep(1)
        await bench.ask("SendMessageBatch", Entries=[{"Id": str(at), "MessageBody": str(at)} for at in range(3)])
        ends = [await poll for poll in polls]
        assert [when for when, _ in ends] == [1.0, 1.0, 1.0, 20.0]

    on_bench(story)


def test_a_client_that_disconnects_loses_no_message() -> None:
    async def story(bench: Bench) -> None:
        gone, stays = bench.poll(), bench.poll()
        await asyncio.sleep(1)
        gone.cancel()
        await bench.send("a")
        when, messages = await stays
        assert (when, bodies(messages)) == (1.0, ["a"])

    on_bench(story)


def test_a_client_that_disconnects_as_it_is_woken_passes_the_message_on() -> None:
    async def story(bench: Bench) -> None:
        gone, stays = bench.poll(), bench.poll()
        await asyncio.sleep(1)
        await bench.send("a")  # wakes the first poll, which is cancelled before it runs
        gone.cancel()
        when, messages = await stays
        assert (when, bodies(messages)) == (1.0, ["a"])

    on_bench(story)


def test_a_dead_poll_hides_a_message_until_its_timeout() -> None:
    async def story(bench: Bench) -> None:
        bench.broker.faults.dead_polls = True
        gone = bench.poll(20, VisibilityTimeout=5)
        await asyncio.sleep(1)
        gone.cancel()
        await asyncio.sleep(1)
        await bench.send("a")
        await asyncio.sleep(1)
        when, messages = await bench.receive()
        assert (when, bodies(messages)) == (7.0, ["a"])

    on_bench(story)


def test_a_dead_poll_ends_with_its_wait() -> None:
    async def story(bench: Bench) -> None:
        bench.broker.faults.dead_polls = True
        gone = bench.poll(5)
        await asyncio.sleep(1)
        gone.cancel()
        await asyncio.sleep(5)
        await bench.send("a")
        assert (await bench.receive(0))[1]

    on_bench(story)


def test_waiting_polls_end_when_their_queue_is_deleted() -> None:
    async def story(bench: Bench) -> None:
        polls = [bench.poll(), bench.poll()]
        await asyncio.sleep(1)
        await bench.ask("DeleteQueue")
        for poll in polls:
            with pytest.raises(Refusal, match="NonExistentQueue"):
                await poll
        assert bench.now == 1.0

    on_bench(story)


def test_a_long_poll_of_a_full_queue_waits_for_room() -> None:
    async def story(bench: Bench) -> None:
        for body in "abcdef":
            await bench.send(body)
        _, held = await bench.receive(0, most=5)
        assert len(held) == 5
        assert await bench.receive(2) == (2.0, [])
        poll = bench.poll()
        await asyncio.sleep(3)
        await bench.ask("DeleteMessage", ReceiptHandle=held[0]["ReceiptHandle"])
        when, messages = await poll
        assert (when, bodies(messages)) == (5.0, ["f"])

    on_bench(story)


def test_a_message_move_task_continues_without_calls() -> None:
    async def story(bench: Bench) -> None:
        dead = (await bench.ask("CreateQueue", QueueName="dead"))["QueueUrl"]
        arn = "arn:aws:sqs:us-east-1:000000000000:dead"
        policy = f'{{"deadLetterTargetArn": "{arn}", "maxReceiveCount": 1}}'
        await bench.ask("SetQueueAttributes", Attributes={"RedrivePolicy": policy})
        for body in "abc":
            await bench.broker.call("SendMessage", {"QueueUrl": dead, "MessageBody": body})
        target = "arn:aws:sqs:us-east-1:000000000000:q"
        await bench.ask("StartMessageMoveTask", SourceArn=arn, DestinationArn=target, MaxNumberOfMessagesPerSecond=1)
        arrivals = [await bench.receive(20) for _ in range(3)]
        assert [bodies(messages) for _, messages in arrivals] == [["a"], ["b"], ["c"]]
        assert [round(when, 1) for when, _ in arrivals] == [0.0, 1.0, 2.0]

    on_bench(story)


def test_times_are_those_of_the_wall_clock() -> None:
    async def story(bench: Bench) -> None:
        await asyncio.sleep(2.5)
        await bench.send("a")
        _, (message,) = await bench.receive(0, AttributeNames=["SentTimestamp"])
        assert message["Attributes"] == {"SentTimestamp": "1700000002500"}

    on_bench(story)


def test_two_hundred_messages_serve_two_hundred_polls_at_once() -> None:
    async def story(bench: Bench) -> None:
        bench.broker.account.queues["q"].in_flight_limit = 1_000
        polls = [bench.poll() for _ in range(200)]
        await asyncio.sleep(1)
        for at in range(200):
            await bench.send(str(at))
        ends = [await poll for poll in polls]
        assert {when for when, _ in ends} == {1.0}
        assert sorted(int(body) for _, messages in ends for body in bodies(messages)) == list(range(200))

    on_bench(story)


def test_calls_are_counted_by_operation_also_when_refused() -> None:
    async def story(bench: Bench) -> None:
        await bench.receive(1)
        with pytest.raises(Refusal):
            await bench.ask("DeleteMessage", ReceiptHandle="garbage")
        with pytest.raises(Refusal):
            await bench.ask("MakeCoffee")
        assert bench.broker.calls == {"CreateQueue": 1, "ReceiveMessage": 1, "DeleteMessage": 1}

    on_bench(story)


# ---- faults


@pytest.mark.parametrize(
    ("switch", "code", "status"),
    [("throttle", "RequestThrottled", 403), ("unavailable", "ServiceUnavailable", 503), ("deny", "AccessDenied", 403)],
)
def test_a_refusal_without_effect(switch: str, code: str, status: int) -> None:
    async def story(bench: Bench) -> None:
        bench.broker.faults.next("SendMessage", **certain(switch))
        with pytest.raises(Refusal) as caught:
            await bench.send("lost")
        assert (caught.value.code, caught.value.status) == (code, status)
        await bench.send("kept")
        assert bodies((await bench.receive(0, most=10))[1]) == ["kept"]

    on_bench(story)


@pytest.mark.parametrize(
    ("switch", "garbage", "takes_effect"),
    [("reset", False, False), ("garbage", True, False), ("lose_by_reset", False, True)],
)
def test_no_answer_with_or_without_effect(switch: str, *, garbage: bool, takes_effect: bool) -> None:
    async def story(bench: Bench) -> None:
        bench.broker.faults.next("SendMessage", **certain(switch))
        with pytest.raises(NoAnswer) as caught:
            await bench.send("a")
        assert caught.value.garbage is garbage
        assert bodies((await bench.receive(0))[1]) == (["a"] if takes_effect else [])

    on_bench(story)


@pytest.mark.parametrize(("switch", "takes_effect"), [("hang", False), ("lose", True)])
def test_no_answer_ever_with_or_without_effect(switch: str, *, takes_effect: bool) -> None:
    async def story(bench: Bench) -> None:
        bench.broker.faults.next("SendMessage", **certain(switch))
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(3600):
                await bench.send("a")
        assert bodies((await bench.receive(0))[1]) == (["a"] if takes_effect else [])

    on_bench(story)


def test_a_lost_receive_leaves_its_messages_in_flight() -> None:
    async def story(bench: Bench) -> None:
        await bench.send("a")
        bench.broker.faults.next("ReceiveMessage", lose_by_reset=1.0)
        with pytest.raises(NoAnswer):
            await bench.receive(20, VisibilityTimeout=9)
        when, (message,) = await bench.receive(20, AttributeNames=["All"])
        assert when == 9.0
        assert message["Attributes"]["ApproximateReceiveCount"] == "2"

    on_bench(story)


def test_half_of_the_latency_is_before_the_effect_and_half_after() -> None:
    async def story(bench: Bench) -> None:
        await bench.send("a")
        bench.broker.faults.set("ReceiveMessage", latency=2.0)
        when, _ = await bench.receive(0, VisibilityTimeout=10)
        assert when == 2.0
        bench.broker.faults.clear()
        when, _ = await bench.receive(20)
        assert when == 11.0

    on_bench(story)


def test_a_throttled_receive_spoils_its_attempt_id() -> None:
    """Reported of AWS: after a throttled receive only a new attempt id is accepted."""

    async def story(bench: Bench) -> None:
        await bench.send("a", MessageGroupId="g")
        bench.broker.faults.next("ReceiveMessage", throttle=1.0)
        with pytest.raises(Refusal, match="RequestThrottled"):
            await bench.receive(0, ReceiveRequestAttemptId="first")
        for _ in range(2):
            with pytest.raises(Refusal, match=r"InvalidParameterValue.*the receive call is not retryable"):
                await bench.receive(0, ReceiveRequestAttemptId="first")
        assert bodies((await bench.receive(0, ReceiveRequestAttemptId="second"))[1]) == ["a"]
        await asyncio.sleep(300)
        assert bodies((await bench.receive(0, ReceiveRequestAttemptId="first"))[1]) == ["a"]

    on_bench(story, name="q.fifo", FifoQueue="true", ContentBasedDeduplication="true")


def test_a_refusal_has_the_same_latency() -> None:
    async def story(bench: Bench) -> None:
        bench.broker.faults.set("DeleteMessage", latency=2.0)
        with pytest.raises(Refusal):
            await bench.ask("DeleteMessage", ReceiptHandle="garbage")
        assert bench.now == 2.0

    on_bench(story)


@pytest.mark.parametrize(("operation", "takes_effect"), [("SendMessage", True), ("ReceiveMessage", False)])
def test_a_call_on_its_way_takes_effect_after_a_disconnect_unless_it_is_a_receive(
    operation: str, *, takes_effect: bool
) -> None:
    async def story(bench: Bench) -> None:
        await bench.send("a")
        bench.broker.faults.next(operation, latency=4.0)
        call = asyncio.create_task(bench.ask(operation, MessageBody="b"))
        await asyncio.sleep(1)
        call.cancel()
        await asyncio.sleep(2)
        _, messages = await bench.receive(0, most=10)
        assert bodies(messages) == (["a", "b"] if takes_effect else ["a"])

    on_bench(story)


def test_single_entries_fail_and_the_others_take_effect() -> None:
    """L12: the service failed these entries, not the sender."""

    async def story(bench: Bench) -> None:
        entries = [{"Id": str(at), "MessageBody": str(at)} for at in range(5)]
        bench.broker.faults.set("SendMessageBatch", fail_entries=0.5)
        answer = await bench.ask("SendMessageBatch", Entries=entries)
        assert {(failed["Code"], failed["SenderFault"]) for failed in answer["Failed"]} == {("InternalError", False)}
        failed, sent = ({entry["Id"] for entry in answer[key]} for key in ("Failed", "Successful"))
        assert failed | sent == set("01234")
        _, messages = await bench.receive(0, most=10)
        assert set(bodies(messages)) == sent
        bench.broker.faults.set("SendMessageBatch", fail_entries=1.0)
        answer = await bench.ask("SendMessageBatch", Entries=entries)
        assert len(answer["Failed"]) == 5
        assert "Successful" not in answer

    on_bench(story)


def test_a_lost_entry_takes_effect_and_is_reported_as_failed() -> None:
    async def story(bench: Bench) -> None:
        entries = [{"Id": str(at), "MessageBody": str(at)} for at in range(5)]
        bench.broker.faults.set("SendMessageBatch", lose_entries=0.5)
        answer = await bench.ask("SendMessageBatch", Entries=entries)
        assert {(failed["Code"], failed["SenderFault"]) for failed in answer["Failed"]} == {("InternalError", False)}
        failed, sent = ({entry["Id"] for entry in answer[key]} for key in ("Failed", "Successful"))
        assert failed | sent == set("01234")
        assert not failed & sent
        assert len(bodies((await bench.receive(0, most=10))[1])) == 5

    on_bench(story)


@pytest.mark.parametrize("entries", [None, 1, [1], [None, {"Id": "0", "MessageBody": "x"}]])
def test_entries_of_a_wrong_type_are_refused_also_with_faults(entries: Any) -> None:
    async def story(bench: Bench) -> None:
        bench.broker.faults.set("SendMessageBatch", fail_entries=1.0)
        with pytest.raises(Refusal):
            await bench.ask("SendMessageBatch", Entries=entries)

    on_bench(story)


def test_a_duplicate_is_received_by_the_next_receive_too() -> None:
    async def story(bench: Bench) -> None:
        await bench.send("a")
        bench.broker.faults.next("ReceiveMessage", duplicate=1.0)
        _, (first,) = await bench.receive(0)
        _, (second,) = await bench.receive(0)
        assert first["MessageId"] == second["MessageId"]
        assert first["ReceiptHandle"] != second["ReceiptHandle"]
        assert (await bench.receive(0))[1] == []

    on_bench(story)


def test_no_message_of_a_fifo_queue_is_received_twice_within_its_visibility_timeout() -> None:
    """Its group would be at two consumers, which SQS excludes."""

    async def story(bench: Bench) -> None:
        url = (await bench.ask("CreateQueue", QueueName="q.fifo", Attributes={"FifoQueue": "true"}))["QueueUrl"]
        for body in "ab":
            await bench.ask(
                "SendMessage", QueueUrl=url, MessageBody=body, MessageGroupId="g", MessageDeduplicationId=body
            )
        bench.broker.faults.set("ReceiveMessage", duplicate=1.0)
        first = await bench.ask("ReceiveMessage", QueueUrl=url, VisibilityTimeout=30)
        assert [message["Body"] for message in first["Messages"]] == ["a"]
        await asyncio.sleep(29)
        assert await bench.ask("ReceiveMessage", QueueUrl=url) == {}
        await asyncio.sleep(2)
        second = await bench.ask("ReceiveMessage", QueueUrl=url)
        assert [message["Body"] for message in second["Messages"]] == ["a"]

    on_bench(story)


def test_receives_return_fewer_messages_or_none() -> None:
    async def story(bench: Bench) -> None:
        for body in "abcde":
            await bench.send(body)
        bench.broker.faults.next("ReceiveMessage", shorten=1.0)
        _, some = await bench.receive(0, most=5)
        assert 1 <= len(some) < 5
        bench.broker.faults.next("ReceiveMessage", empty=1.0)
        assert await bench.receive(20, most=5) == (0.0, [])
        _, rest = await bench.receive(0, most=5)
        assert len(some) + len(rest) == 5

    on_bench(story)


def test_runs_repeat_from_the_seed() -> None:
    def play(seed: int) -> list[str]:
        events: list[str] = []

        async def story() -> None:
            bench = Bench()
            bench.broker = Broker(seed=seed, epoch=0.0)
            await bench.open()
            bench.broker.faults.set("*", latency=(0.1, 3.0), throttle=0.2, lose_by_reset=0.2, duplicate=0.3)
            for at in range(30):
                try:
                    await bench.send(str(at))
                    events.append(f"{bench.now} {(await bench.receive(1, VisibilityTimeout=2))[1]}")
                except (Refusal, NoAnswer) as fault:
                    events.append(f"{bench.now} {fault!r}")

        run_virtual(story())
        return events

    assert play(1) == play(1)
    assert play(1) != play(2)
