"""The sender as a program uses it, against the local SQS over HTTP."""

from __future__ import annotations

import asyncio
import gc
import subprocess
import sys
import threading
from dataclasses import dataclass
from inspect import signature
from typing import TYPE_CHECKING, Any
from weakref import ref

import pytest

from leasekeeper.errors import BufferFull, Closed, ConfigurationError, QueueUnusable, SqsError, Unsent
from leasekeeper.local import LocalSqs
from leasekeeper.message import MessageAttribute
from leasekeeper.sending import Sender
from leasekeeper.sending.dispatcher import Dispatcher
from leasekeeper.sending.flushes import Flush, Flushes
from leasekeeper.sending.unsent import FailedPosts

if TYPE_CHECKING:
    from collections.abc import Iterator

    from leasekeeper.api import Outgoing

CLOSE_AT_EXIT = """
from leasekeeper.sending import Sender
import sys
sender = Sender("q", endpoint_url=sys.argv[1], region="eu-west-1", linger=30)
sender.start()
for number in range(25):
    sender.post(str(number))
"""


@pytest.fixture
def sqs() -> Iterator[LocalSqs]:
    """A server with two empty queues."""
    with LocalSqs(seed=1) as sqs:
        sqs.call("CreateQueue", QueueName="q")
        sqs.call("CreateQueue", QueueName="q.fifo", Attributes={"FifoQueue": "true"})
        yield sqs


def bodies(sqs: LocalSqs, name: str = "q") -> list[str]:
    return [each.content.body for each in sqs.broker.account.queues[name].contents()]


def sender(sqs: LocalSqs, queue: str = "q", **options: Any) -> Sender:
    return Sender(queue, endpoint_url=sqs.endpoint_url, region="eu-west-1", **options)


def test_synchronous_code_sends_and_has_the_answer(sqs: LocalSqs) -> None:
    with sender(sqs) as out:
        sent = out.send({"id": 7}, attributes={"kind": "order", "weight": 1.5, "blob": b"\x00"}, delay=0).result()
    (message,) = sqs.broker.account.queues["q"].contents()
    assert message.content.body == '{"id":7}'
    assert sent.message_id


async def in_loop(sqs: LocalSqs) -> None:
    async with sender(sqs, linger=60) as out:  # full batches go at once; on a busy machine others would go after 20 ms
        answers = await asyncio.gather(*(out.send(str(number)) for number in range(100)))
        assert len({answer.message_id for answer in answers}) == 100
        assert out.statistics().calls == 10
        assert out.statistics().held == 0


def test_in_an_event_loop_a_hundred_sends_are_ten_calls(sqs: LocalSqs) -> None:
    asyncio.run(in_loop(sqs))
    assert sorted(bodies(sqs), key=int) == [str(number) for number in range(100)]


def test_posts_are_sent_by_the_close(sqs: LocalSqs) -> None:
    with sender(sqs, linger=60) as out:
        for number in range(25):
            out.post(number)
        out.flush().result()
        assert len(bodies(sqs)) == 25
        out.post("one more")
    assert len(bodies(sqs)) == 26


def test_a_fifo_queue_keeps_the_order_of_posts_from_one_thread(sqs: LocalSqs) -> None:
    with sender(sqs, "q.fifo") as out:
        for number in range(45):
            out.post(number, group="g")
    assert bodies(sqs, "q.fifo") == [str(number) for number in range(45)]


def test_posts_from_many_threads_all_arrive(sqs: LocalSqs) -> None:
    with sender(sqs, buffer=50) as out:

        def work(first: int) -> None:
            for number in range(first, first + 200):
                out.post(number)

        threads = [threading.Thread(target=work, args=[first]) for first in (0, 200, 400, 600)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert sorted(bodies(sqs), key=int) == [str(number) for number in range(800)]


def test_what_could_not_be_sent_is_named(sqs: LocalSqs) -> None:
    told: list[tuple[Outgoing, Exception]] = []
    sqs.faults.set("SendMessageBatch", deny=1.0)
    out = sender(sqs, on_error=lambda message, error: told.append((message, error)))
    out.start()
    out.post("a")
    out.post("b")
    with pytest.raises(Unsent, match=r"2 messages were not sent to q; the first: .*AccessDenied") as raised:
        out.close()
    assert [message.body for message, _ in raised.value.failures] == ["a", "b"]
    assert [message.body for message, _ in told] == ["a", "b"]


def test_an_exit_in_on_error_does_not_end_the_sending(sqs: LocalSqs) -> None:
    def leave(_: Outgoing, error: Exception) -> None:
        raise SystemExit(str(error))

    with sender(sqs, on_error=leave, flush_timeout=5) as out:
        sqs.faults.next("SendMessageBatch", deny=1.0)
        out.post("refused")
        with pytest.raises(Unsent):
            out.flush().result()
        out.post("sent")
        out.flush().result()
        assert out.statistics().held == 0
    assert bodies(sqs) == ["sent"]


def test_a_send_that_fails_raises_where_it_is_waited_for_and_not_at_the_close(sqs: LocalSqs) -> None:
    sqs.faults.set("SendMessageBatch", deny=1.0)
    with sender(sqs) as out, pytest.raises(SqsError, match="AccessDenied"):
        out.send("a")


def test_a_close_ends_in_time_and_names_what_is_left(sqs: LocalSqs) -> None:
    sqs.faults.set("SendMessageBatch", hang=1.0)
    out = sender(sqs, flush_timeout=0.2)
    out.start()
    out.post("a")
    with pytest.raises(Unsent, match=r"1 message was not sent to q.*after flush_timeout=0.2 s"):
        out.close()


def test_a_full_buffer_refuses_posts_in_a_loop_and_has_room_again(sqs: LocalSqs) -> None:
    async def story() -> None:
        async with sender(sqs, buffer=10, linger=60) as out:
            for number in range(9):
                out.post(number)
            with pytest.raises(BufferFull, match=r"holds 9 messages with 9 bytes: await sender.room"):
                out._room._messages = 9
                out.post("too much")
            waiting = asyncio.ensure_future(out.room())
            await asyncio.sleep(0)
            assert not waiting.done()
            await out.flush()
            await waiting
            out.post("now")

    asyncio.run(story())
    assert len(bodies(sqs)) == 10


def test_a_sender_that_is_not_open_refuses(sqs: LocalSqs) -> None:
    out = sender(sqs)
    with pytest.raises(Closed, match="sender of q is not open here"):
        out.post("a")
    with out:
        pass
    with pytest.raises(Closed, match="sender of q is not open here"):
        out.send("a")
    out.close()


def test_in_a_forked_child_it_refuses_also_if_a_thread_of_the_parent_was_sending(sqs: LocalSqs) -> None:
    with sender(sqs) as out:
        ours, out._loop._pid = out._loop._pid, 0  # as in a child
        refused: list[bool] = []

        def send() -> None:
            for call in (lambda: out.send("x"), lambda: out.post("x"), out.flush, lambda: asyncio.run(out.room())):
                try:
                    call()
                except Closed:
                    refused.append(True)

        thread = threading.Thread(target=send, daemon=True)
        with out._room.lock:  # as another thread held it at the fork
            thread.start()
            thread.join(60)
            assert refused == [True] * 4
        out._loop._pid = ours


def test_a_start_without_threads_fails_each_time(sqs: LocalSqs, monkeypatch: pytest.MonkeyPatch) -> None:
    def start(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    out = sender(sqs)
    monkeypatch.setattr(threading.Thread, "start", start)
    for _ in range(2):
        assert isinstance(out.begin().exception(timeout=5), RuntimeError)
    assert out.finish().result(timeout=5) is None


def test_event_loops_that_are_closed_are_let_go(sqs: LocalSqs) -> None:
    async def send(out: Sender) -> None:
        await out.send("x")

    with sender(sqs) as out:
        loops = []
        for _ in range(3):
            loop = asyncio.new_event_loop()
            loop.run_until_complete(send(out))
            loop.close()
            loops.append(ref(loop))
            del loop
        gc.collect()
    assert [each() is None for each in loops[:-1]] == [True, True]


def test_a_queue_that_does_not_exist_fails_the_start(sqs: LocalSqs) -> None:
    with pytest.raises(QueueUnusable, match="queue nowhere cannot be used"):
        sender(sqs, "nowhere").start()


def test_what_is_open_at_the_end_of_the_process_is_sent(sqs: LocalSqs) -> None:
    done = subprocess.run(
        [sys.executable, "-c", CLOSE_AT_EXIT, sqs.endpoint_url], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    assert len(bodies(sqs)) == 25


@dataclass
class Wrong:
    arguments: dict[str, Any]
    queue: str
    sentence: str


WRONG = [
    Wrong({"body": ""}, "q", "the body is empty"),
    Wrong({"body": b"x"}, "q", "of type bytes, and SQS takes text"),
    Wrong({"body": "a\x00b"}, "q", r"the character U\+0000 at position 1"),
    Wrong({"body": object()}, "q", "cannot be written as JSON"),
    Wrong({"body": "x" * 1_048_577}, "q", "1,048,577 bytes with its attributes"),
    Wrong({"body": "x", "delay": 901}, "q", "delay=901: must be 0 to 900"),
    Wrong({"body": "x", "deduplication_id": "d"}, "q", "on a standard queue"),
    Wrong({"body": "x"}, "q.fifo", "is FIFO: give group="),
    Wrong({"body": "x", "group": "g", "delay": 1}, "q.fifo", "delay=1 on a FIFO queue"),
    Wrong({"body": "x", "group": "g" * 129}, "q", "must have 1 to 128 printable"),
    Wrong({"body": "x", "attributes": dict.fromkeys("abcdefghijk", "v")}, "q", "11 attributes"),
    Wrong({"body": "x", "attributes": {"a": ""}}, "q", "attribute a is empty"),
    Wrong({"body": "x", "attributes": {"a": True}}, "q", "attribute a is of type bool"),
]


@pytest.mark.parametrize("wrong", WRONG, ids=lambda wrong: wrong.sentence)
def test_a_message_that_sqs_would_refuse_is_refused_at_once(sqs: LocalSqs, wrong: Wrong) -> None:
    with sender(sqs, wrong.queue) as out, pytest.raises(ConfigurationError, match=wrong.sentence):
        out.post(**wrong.arguments)
    assert not bodies(sqs, wrong.queue)


def test_numbers_out_of_their_bounds_are_refused() -> None:
    with pytest.raises(ConfigurationError, match=r"Sender\('q', linger=-1\): must be from 0 to 60"):
        Sender("q", linger=-1)
    for no_number in ("x", True):
        with pytest.raises(ConfigurationError, match=rf"linger={no_number!r}\): must be a number from 0 to 60"):
            Sender("q", linger=no_number)  # type: ignore[arg-type] # the mistake
    with pytest.raises(ConfigurationError, match="at most 240 on a FIFO queue"):
        Sender("q.fifo", timeout=300)


def test_an_unknown_argument_is_named_with_the_one_that_was_meant() -> None:
    with pytest.raises(ConfigurationError, match=r"^Sender\(\): unknown argument 'liner'; did you mean 'linger'\?$"):
        Sender("q", liner=3)  # type: ignore[call-arg] # the mistake
    assert "linger" in signature(Sender).parameters


def test_a_queue_that_does_not_exist_is_named_with_what_was_asked(sqs: LocalSqs) -> None:
    with pytest.raises(QueueUnusable) as refused, sender(sqs, "nowhere"):
        pass
    assert f"does not exist (asked {sqs.endpoint_url}/ in eu-west-1); create it" in str(refused.value)
    assert str(refused.value).count("check") == 1


def test_an_attribute_may_be_given_as_sqs_has_it(sqs: LocalSqs) -> None:
    with sender(sqs) as out:
        out.post("x", attributes={"a": MessageAttribute(data_type="String.mine", string_value="v")})
    (message,) = sqs.broker.account.queues["q"].contents()
    assert "String.mine" in repr(message.content)


def test_a_bug_in_it_ends_it_loudly_and_names_what_was_not_sent(
    sqs: LocalSqs, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError("a bug")

    out = sender(sqs)
    out.start()
    monkeypatch.setattr(Dispatcher, "_ready_again", broken)
    sqs.faults.set("SendMessageBatch", fail_entries=1.0)
    out.post("a")
    with pytest.raises(Closed, match="ended by a bug of Leasekeeper, ZeroDivisionError"):
        out.send("b")
    with pytest.raises(Closed, match="is not open here"):
        out.post("c")
    with pytest.raises(Unsent, match="1 message was not sent to q") as raised:
        out.close()
    assert [message.body for message, _ in raised.value.failures] == ["a"]
    assert "a bug of Leasekeeper has ended the sender" in caplog.text


def test_a_flush_that_is_done_leaves_no_timer() -> None:
    async def story() -> list[bool]:
        flush = Flush()
        Flushes("q", 30.0, FailedPosts()).begin(flush, ())
        flush.done.result(timeout=0)
        return [timer.cancelled() for timer in vars(asyncio.get_running_loop())["_scheduled"]]

    assert asyncio.run(story()) == [True]
