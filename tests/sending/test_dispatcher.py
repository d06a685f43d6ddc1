"""What is sent, tried again and given up, in virtual time against the local SQS with faults."""

from __future__ import annotations

import asyncio
import random
from typing import TYPE_CHECKING, Any

from leasekeeper.api import Outgoing, Sent
from leasekeeper.errors import SqsError, Verdict
from leasekeeper.local import Broker, LocalClient
from leasekeeper.sending.dispatcher import Dispatcher, Entry
from leasekeeper.sending.outgoing import TargetQueue
from leasekeeper.testing.clock import run_virtual

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Sequence

    from leasekeeper.events import Event


class Bench:
    """A dispatcher of a queue, and what it answered."""

    def __init__(self, broker: Broker, url: str, target: TargetQueue, **options: Any) -> None:
        self.broker = broker
        self.url = url
        self.client = LocalClient(broker, timeout=1.0)
        self.answers: dict[str, Sent | Exception] = {}
        self.accepted = 0
        chosen = {"linger": 0.02, "timeout": 30.0, "parallel": 4, "strict_order": False, **options}
        self.dispatcher = Dispatcher(
            self.client,
            url,
            target,
            answered=self._answered,
            emit=self._emit,
            clock=asyncio.get_running_loop().time,
            draw=random.Random(1).random,
            **chosen,
        )
        self.run = asyncio.ensure_future(self.dispatcher.run())

    def _answered(self, done: Sequence[tuple[Entry, Sent | Exception]]) -> None:
        for entry, answer in done:
            assert entry.outgoing.body not in self.answers, "answered once"
            self.answers[entry.outgoing.body] = answer

    def _emit(self, event: Event) -> None:
        raise AssertionError(event)

    def add(self, *bodies: str, group: str | None = None) -> None:
        entries = []
        for body in bodies:
            made = Outgoing(body=body, group_id=group, deduplication_id=body if group else None)
            entry = Entry(made, len(body), None)
            self.accepted += 1
            entry.number = self.accepted
            entries.append(entry)
        self.dispatcher.add(entries)

    async def finish(self) -> None:
        self.dispatcher.close()
        await self.run

    @property
    def bodies(self) -> list[str]:
        """What the queue holds, in order."""
        queue = self.broker.account.queues[self.url.rpartition("/")[2]]
        return [each.content.body for each in queue.contents()]


def on_bench(story: Callable[[Bench], Coroutine[Any, Any, None]], name: str = "q", **options: Any) -> None:
    async def play() -> None:
        broker = Broker(seed=3, epoch=1_700_000_000.0)
        fifo = name.endswith(".fifo")
        created = await broker.call(
            "CreateQueue", {"QueueName": name, "Attributes": {"FifoQueue": "true"} if fifo else {}}
        )
        await story(Bench(broker, created["QueueUrl"], TargetQueue(name, fifo=fifo), **options))

    run_virtual(play())


def numbers(count: int) -> list[str]:
    return [f"{number:04}" for number in range(count)]


def test_ten_messages_are_a_call() -> None:
    async def story(bench: Bench) -> None:
        bench.add(*numbers(1000))
        await bench.finish()
        assert bench.broker.calls["SendMessageBatch"] == 100
        assert sorted(bench.bodies) == numbers(1000)
        assert all(isinstance(answer, Sent) for answer in bench.answers.values())

    on_bench(story)


def test_two_hundred_messages_of_100_kb_are_never_too_long_together() -> None:
    async def story(bench: Bench) -> None:
        bench.add(*(f"{number:04}" + "x" * 100_000 for number in range(200)))
        await bench.finish()
        assert len(bench.bodies) == 200
        assert bench.broker.calls["SendMessageBatch"] == 20

    on_bench(story)


def test_a_message_waits_no_longer_than_the_linger() -> None:
    async def story(bench: Bench) -> None:
        bench.add("a")
        await asyncio.sleep(0.019)
        assert not bench.answers
        await asyncio.sleep(0.002)
        assert bench.bodies == ["a"]
        await bench.finish()

    on_bench(story)


def test_single_entries_that_fail_are_sent_again() -> None:
    async def story(bench: Bench) -> None:
        bench.broker.faults.set("SendMessageBatch", fail_entries=0.2)
        bench.add(*numbers(300))
        await bench.finish()
        assert sorted(bench.bodies) == numbers(300)
        assert len(bench.answers) == 300

    on_bench(story)


def test_throttled_and_lost_calls_are_made_again() -> None:
    async def story(bench: Bench) -> None:
        bench.broker.faults.set("SendMessageBatch", throttle=0.3, lose_by_reset=0.1, reset=0.1, garbage=0.1)
        bench.add(*numbers(300))
        await bench.finish()
        assert sorted(set(bench.bodies)) == numbers(300)
        assert len(bench.bodies) > 300, "a lost answer makes a second message on a standard queue"

    on_bench(story)


def test_a_fifo_queue_has_each_message_once_and_in_order_whatever_is_lost() -> None:
    async def story(bench: Bench) -> None:
        bench.broker.faults.set("SendMessageBatch", throttle=0.1, lose_by_reset=0.2, fail_entries=0.2, lose_entries=0.1)
        for number in range(60):
            for group in "abc":
                bench.add(f"{group}{number:02}", group=group)
        await bench.finish()
        assert len(bench.answers) == 180
        for group in "abc":
            mine = [body for body in bench.bodies if body[0] == group]
            assert mine == [f"{group}{number:02}" for number in range(60)]

    on_bench(story, "q.fifo", strict_order=True)


def test_without_strict_order_a_message_that_overtook_another_says_so() -> None:
    async def story(bench: Bench) -> None:
        bench.broker.faults.set("SendMessageBatch", fail_entries=0.3)
        bench.add(*numbers(100), group="g")
        await bench.finish()
        order = bench.bodies
        assert sorted(order) == numbers(100)
        late = {body for body, answer in bench.answers.items() if isinstance(answer, Sent) and answer.out_of_order}
        overtook = {body for place, body in enumerate(order) if any(other < body for other in order[place:])}
        assert late
        assert late == overtook

    on_bench(story, "q.fifo")


def test_what_sqs_refuses_fails_alone() -> None:
    async def story(bench: Bench) -> None:
        bench.add("good", "bad\x00", "also good")
        await bench.finish()
        refused = bench.answers["bad\x00"]
        assert isinstance(refused, SqsError)
        assert refused.verdict is Verdict.REFUSED
        assert bench.bodies == ["good", "also good"]

    on_bench(story)


def test_a_message_is_given_up_after_its_time() -> None:
    async def story(bench: Bench) -> None:
        bench.broker.faults.set("SendMessageBatch", throttle=1.0)
        bench.add("a")
        await asyncio.sleep(29.0)
        assert not bench.answers
        await asyncio.sleep(3.0)
        given_up = bench.answers["a"]
        assert isinstance(given_up, SqsError)
        assert given_up.verdict is Verdict.THROTTLED
        assert 5 <= bench.broker.calls["SendMessageBatch"] <= 60, "the pauses grow"
        await bench.finish()

    on_bench(story)


def test_a_queue_that_denies_is_not_asked_again() -> None:
    async def story(bench: Bench) -> None:
        bench.broker.faults.set("SendMessageBatch", deny=1.0)
        bench.add("a", "b")
        await bench.finish()
        assert bench.broker.calls["SendMessageBatch"] == 1
        assert {type(answer) for answer in bench.answers.values()} == {SqsError}

    on_bench(story)
