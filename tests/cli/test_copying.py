"""Copy mode of `redrive`, in virtual time: what is sent, in which order, how fast; and that no end loses a message."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import TYPE_CHECKING, Any, Self, cast

import pytest

from leasekeeper.api import MAX_BYTES, EntryFailure
from leasekeeper.cli.connection import Connection, OpenQueue
from leasekeeper.cli.redrive.chosen import report
from leasekeeper.cli.redrive.copying import HIDDEN, Copying, CopyPlan, Destination, copy_of
from leasekeeper.cli.redrive.dead_letter_queue import DeadLetterQueue
from leasekeeper.cli.redrive.filters import Filters
from leasekeeper.errors import Verdict
from leasekeeper.failure import FAILURE, REDRIVEN, Failure
from leasekeeper.local import Broker, LocalClient
from leasekeeper.message import MessageAttribute, Received
from leasekeeper.sqs.address import QueueAddress
from leasekeeper.testing.world import virtual

if TYPE_CHECKING:
    from collections.abc import Sequence

    from leasekeeper.api import SqsApi
    from leasekeeper.cli.causes import DeadLetter

TIMEOUT = Failure(reason="exhausted", error="TimeoutError", message="no answer", queue="arn:aws:sqs:x:1:orders")


class Scene:
    """SQS with queues `orders`, `bills` and `dead`; every letter goes to the queue that it names."""

    def __init__(self, *, fifo: bool = False, seed: int = 1) -> None:
        self.broker = Broker(seed=seed, epoch=1_700_000_000.0)
        self.client = LocalClient(self.broker)
        self.end = ".fifo" if fifo else ""
        self.urls: dict[str, str] = {}

    async def __aenter__(self) -> Self:
        for name in ("orders", "bills", "dead"):
            attributes = {"FifoQueue": "true"} if self.end else {}
            request = {"QueueName": name + self.end, "Attributes": attributes}
            self.urls[name] = (await self.broker.call("CreateQueue", request))["QueueUrl"]
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.broker.close()

    async def send(self, body: str, failure: Failure | None = TIMEOUT, group: str = "g", **more: str) -> str:
        """Send a dead letter; `more` are attributes."""
        attributes = {name: {"DataType": "String", "StringValue": value} for name, value in more.items()}
        if failure is not None:
            value = failure.attribute().string_value
            assert value is not None
            attributes[FAILURE] = {"DataType": "String", "StringValue": value}
        request: dict[str, Any] = {"QueueUrl": self.urls["dead"], "MessageBody": body, "MessageAttributes": attributes}
        if self.end:
            request |= {"MessageGroupId": group, "MessageDeduplicationId": f"{group}-{body}"}
        sent: str = (await self.broker.call("SendMessage", request))["MessageId"]
        return sent

    async def target_of(self, letter: DeadLetter) -> Destination | None:
        name = letter.queue.removesuffix(self.end)
        return Destination(letter.queue, self.urls[name]) if name in self.urls else None

    def copying(self, client: SqsApi | None = None, *, where: Sequence[str] = (), **plan: Any) -> Copying:
        plan["filters"] = Filters.read(where, None, None)
        return Copying(client or self.client, self.urls["dead"], self, CopyPlan(**plan))

    def bodies(self, name: str) -> list[str]:
        return [stored.content.body for stored in self._queue(name).contents()]

    def counts(self, name: str) -> tuple[int, int]:
        queue = self._queue(name)
        return queue.visible, queue.in_flight

    def _queue(self, name: str) -> Any:
        queue = self.broker.account.queues[name + self.end]
        queue.advance(asyncio.get_running_loop().time())
        return queue

    def receives(self, name: str) -> set[int]:
        return {stored.receives for stored in self._queue(name).contents()}


def received(
    attributes: dict[str, MessageAttribute], system: dict[str, str] | None = None, body: str = "b"
) -> Received:
    return Received(message_id="id-1", receipt="r", body=body, system=system or {}, attributes=attributes)


def text(value: str, kind: str = "String") -> MessageAttribute:
    return MessageAttribute(data_type=kind, string_value=value)


# What is sent


def test_a_copy_is_the_message_without_its_failure_and_with_the_times_it_was_sent_back() -> None:
    trace = {"AWSTraceHeader": "Root=1", "MessageGroupId": "tenant", "SenderId": "me", "SequenceNumber": "7"}
    copy = copy_of(received({"a": text("1"), FAILURE: TIMEOUT.attribute()}, trace), fifo=False)
    assert copy.body == "b"
    assert copy.attributes == {"a": text("1"), REDRIVEN: text("1", "Number")}
    assert (copy.system, copy.group_id, copy.deduplication_id) == ({"AWSTraceHeader": "Root=1"}, "tenant", None)
    again = copy_of(received({REDRIVEN: text("1", "Number")}), fifo=False)
    assert again.attributes == {REDRIVEN: text("2", "Number")}
    assert copy_of(received({REDRIVEN: text("many")}), fifo=False).attributes == {REDRIVEN: text("1", "Number")}


def test_a_copy_on_a_fifo_queue_has_an_id_of_its_stay_in_the_dead_letter_queue() -> None:
    """The old id would be swallowed for five minutes; a second try of the same message must be."""
    system = {"MessageGroupId": "g", "MessageDeduplicationId": "old"}
    copy = copy_of(received({}, system), fifo=True)
    assert (copy.group_id, copy.deduplication_id) == ("g", "redriven-id-1")


@pytest.mark.parametrize(
    "full",
    [
        received({f"a{number}": text("x") for number in range(10)}),
        received({}, body="b" * (MAX_BYTES - len(REDRIVEN) - len("Number"))),
    ],
)
def test_the_count_is_left_out_where_sqs_leaves_no_room_for_it(full: Received) -> None:
    assert REDRIVEN not in copy_of(full, fifo=False).attributes


# Which go where


@virtual
async def test_each_goes_to_its_queue_and_the_others_stay_with_one_receive_more() -> None:
    async with Scene() as scene:
        for number in range(25):
            await scene.send(f"t{number}")
            await scene.send(f"k{number}", Failure(error="KeyError", queue="bills"))
        await scene.send("elsewhere", Failure(error="KeyError", queue="secret"))
        await scene.send("unknown", None)
        copying = scene.copying(where=["error=KeyError"])
        await copying.run()
        assert Counter(scene.bodies("bills")) == Counter(f"k{number}" for number in range(25))
        assert scene.bodies("orders") == []
        assert scene.counts("dead") == (27, 0)
        assert copying.moved == {"bills": 25}
        assert list(copying.strays.values()) == ["secret"]
        assert copying.holding.seen == 52
        assert scene.receives("dead") == {1}
        assert (copying.refused, copying.not_deleted, copying.failure) == ({}, 0, None)


@virtual
async def test_a_dry_run_sends_nothing_and_groups_what_would_be_sent() -> None:
    async with Scene() as scene:
        for number in range(12):
            await scene.send(str(number))
        await scene.send("other", Failure(error="KeyError", queue="bills"))
        copying = scene.copying(where=["error=TimeoutError"], dry_run=True)
        await copying.run()
        assert copying.moved == {"orders": 12}
        assert [(cause.count, cause.title) for cause in copying.causes.sorted()] == [(12, "TimeoutError: no answer")]
        assert scene.counts("dead") == (13, 0)
        assert scene.broker.calls["SendMessageBatch"] == scene.broker.calls["DeleteMessageBatch"] == 0


@virtual
async def test_a_limit_is_kept_and_the_next_run_goes_on() -> None:
    async with Scene() as scene:
        for number in range(30):
            await scene.send(str(number))
        for moved, where, seen in ((7, ["error=*"], 10), (14, [], 7)):
            copying = scene.copying(where=where, limit=7)
            await copying.run()
            assert scene.counts("orders") == (moved, 0)
            assert scene.counts("dead") == (30 - moved, 0)
            assert copying.holding.seen == seen  # no more receives than needed
        await scene.copying().run()
        assert Counter(scene.bodies("orders")) == Counter(map(str, range(30)))


@pytest.mark.parametrize("rate", [1, 5, 100])
@virtual
async def test_no_more_than_the_rate_are_sent(rate: int) -> None:
    """What waits for its turn stays hidden: none is sent twice, however slow it is."""
    async with Scene() as scene:
        for number in range(60):
            await scene.send(str(number))
        began = asyncio.get_running_loop().time()
        copying = scene.copying(where=["error=TimeoutError"], rate=rate)
        await copying.run()
        took = asyncio.get_running_loop().time() - began
        least = (60 - min(10, rate)) / rate
        assert least <= took <= least + 2
        assert Counter(scene.bodies("orders")) == Counter(map(str, range(60)))
        assert copying.holding.seen == 60


@virtual
async def test_messages_that_stay_are_hidden_until_the_end_however_long_it_takes() -> None:
    """They are extended, so that a slow run does not receive them again and again."""
    async with Scene() as scene:
        for number in range(200):
            await scene.send(str(number), TIMEOUT if number % 2 else None)
        await scene.copying(where=["error=*Error"], rate=1).run()
        assert scene.counts("dead") == (100, 0)
        assert scene.receives("dead") == {1}
        assert scene.broker.calls["ReceiveMessage"] < 60


# FIFO


@virtual
async def test_a_fifo_redrive_right_after_the_failure_arrives_in_order() -> None:
    """SQS swallows a message with an id that it saw in the last five minutes: the copy has another one."""
    async with Scene(fifo=True) as scene:
        failure = Failure(error="TimeoutError", queue="orders.fifo")
        for number in range(35):
            for group in "ab":
                await scene.send(f"{group}{number}", failure, group)
        await asyncio.sleep(10)
        copying = scene.copying()
        await copying.run()
        arrived = scene.bodies("orders")
        for group in "ab":
            assert [body for body in arrived if body[0] == group] == [f"{group}{number}" for number in range(35)]
        assert scene.bodies("dead") == []
        assert copying.behind == 0


@virtual
async def test_what_does_not_match_blocks_its_group_and_that_is_said() -> None:
    """SQS shows ten of a group. While some of the ten go, it shows the next; ten that stay end it."""
    async with Scene(fifo=True) as scene:
        wanted, other = Failure(error="A", queue="orders.fifo"), Failure(error="B", queue="orders.fifo")
        for number in range(30):
            await scene.send(f"x{number}", other if number % 2 else wanted, "x")
            await scene.send(f"y{number}", wanted, "y")
        copying = scene.copying(where=["error=A"])
        await copying.run()
        arrived = scene.bodies("orders")
        assert [body for body in arrived if body[0] == "y"] == [f"y{number}" for number in range(30)]
        # Ten that stay (1, 3, ... 19) stand in front; 20 is behind them.
        assert [body for body in arrived if body[0] == "x"] == [f"x{number}" for number in range(0, 20, 2)]
        assert copying.behind == 10
        assert scene.counts("dead") == (20, 0)


@virtual
async def test_after_a_message_that_sqs_does_not_take_its_group_stays() -> None:
    async with Scene(fifo=True) as scene:
        failure = Failure(error="A", queue="orders.fifo")
        for number in range(25):
            for group in "ab":
                await scene.send(f"{group}{number}", failure, group)
        refusing = Refusing(scene.client, "a0")
        copying = scene.copying(refusing)
        await copying.run()
        assert list(copying.refused.values()) == ["Nope: not this one"]
        assert [body for body in scene.bodies("orders") if body[0] == "b"] == [f"b{number}" for number in range(25)]
        later = [body for body in scene.bodies("orders") if body[0] == "a"]
        assert set(later) <= {f"a{number}" for number in range(1, 10)}  # those of the same call
        assert scene.counts("dead") == (25 - len(later), 0)


@virtual
async def test_a_message_that_sqs_does_not_take_does_not_count_against_the_limit() -> None:
    async with Scene() as scene:
        for number in range(20):
            await scene.send(str(number))
        copying = scene.copying(Refusing(scene.client, "0"), limit=8)
        await copying.run()
        assert (copying.moved.total(), len(copying.refused)) == (8, 1)
        assert scene.counts("dead") == (12, 0)


class Refusing:
    """A client for which SQS refuses one body."""

    def __init__(self, client: SqsApi, body: str) -> None:
        self._client = client
        self._body = body

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    async def send_batch(self, queue_url: str, messages: Sequence[Any]) -> list[Any]:
        good = [message for message in messages if message.body != self._body]
        answers = iter(await self._client.send_batch(queue_url, good) if good else [])
        refused = EntryFailure(Verdict.REFUSED, "Nope", "not this one", sender_fault=True)
        return [refused if message.body == self._body else next(answers) for message in messages]


# Errors and ends


@pytest.mark.parametrize("fifo", [False, True])
@pytest.mark.parametrize(
    "faults",
    [
        {"SendMessageBatch": {"fail_entries": 0.3}},
        {"DeleteMessageBatch": {"fail_entries": 0.3, "throttle": 0.2}},
        {"SendMessageBatch": {"throttle": 0.3, "unavailable": 0.2}},
        {"ReceiveMessage": {"shorten": 0.5, "throttle": 0.3, "unavailable": 0.1}},
    ],
)
@virtual
async def test_errors_that_pass_cost_neither_a_message_nor_a_duplicate(
    faults: dict[str, dict[str, float]], *, fifo: bool
) -> None:
    async with Scene(fifo=fifo) as scene:
        failure = Failure(error="A", queue="orders" + scene.end)
        for number in range(60):
            await scene.send(str(number), failure, f"g{number % 5}")
        for operation, switches in faults.items():
            scene.broker.faults.set(operation, **switches)
        copying = scene.copying()
        await copying.run()
        assert (copying.failure, copying.refused, copying.not_deleted) == (None, {}, 0)
        assert Counter(scene.bodies("orders")) == Counter(map(str, range(60)))
        assert scene.bodies("dead") == []


@virtual
async def test_a_queue_that_takes_nothing_ends_the_run_and_all_stay() -> None:
    async with Scene() as scene:
        for number in range(60):
            await scene.send(str(number))
        scene.broker.faults.set("SendMessageBatch", deny=1.0)
        copying = scene.copying()
        await copying.run()
        assert copying.failure is not None
        assert copying.failure.verdict is Verdict.DENIED
        assert scene.counts("dead") == (60, 0)
        assert scene.broker.calls["SendMessageBatch"] <= 4


@virtual
async def test_what_was_sent_and_could_not_be_deleted_is_counted() -> None:
    async with Scene() as scene:
        for number in range(5):
            await scene.send(str(number))
        scene.broker.faults.set("DeleteMessageBatch", deny=1.0)
        copying = scene.copying()
        await copying.run()
        assert (copying.moved.total(), copying.not_deleted) == (5, 5)
        assert scene.counts("dead") == (5, 0)


@virtual
async def test_a_message_that_was_not_deleted_is_given_back() -> None:
    async with Scene() as scene:
        for number in range(5):
            await scene.send(str(number))
        copying = scene.copying(Undeleting(scene.client))
        await copying.run()
        assert (copying.moved.total(), copying.not_deleted, copying.failure) == (5, 1, None)
        assert scene.counts("dead") == (1, 0)


class Undeleting:
    """A client for which SQS refuses to delete the first message of each call."""

    def __init__(self, client: SqsApi) -> None:
        self._client = client

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    async def delete_batch(self, queue_url: str, receipts: Sequence[str]) -> list[EntryFailure | None]:
        lost = EntryFailure(Verdict.LEASE_LOST, "ReceiptHandleIsInvalid", "expired", sender_fault=True)
        return [lost, *await self._client.delete_batch(queue_url, receipts[1:])]


@pytest.mark.parametrize(("stopped", "moved"), [(2.2, 15), (2.8, 15), (3.2, 20)])
@virtual
async def test_a_stop_ends_after_what_is_being_sent_and_gives_back_the_others(stopped: float, moved: int) -> None:
    """Five are sent each second, and that takes half a second."""
    async with Scene() as scene:
        for number in range(300):
            await scene.send(str(number))
        scene.broker.faults.set("SendMessageBatch", latency=0.5)
        copying = scene.copying(rate=5)
        run = asyncio.create_task(copying.run())
        await asyncio.sleep(stopped)
        copying.stop()
        await asyncio.wait_for(run, 0.6)
        assert scene.counts("orders") == (moved, 0)
        assert scene.counts("dead") == (300 - moved, 0)
        assert copying.moved.total() == moved


class Killed(BaseException):
    """The process is gone."""


class Dying:
    """A client in a process that is killed at the n-th call: before the call takes effect, or just after."""

    def __init__(self, client: SqsApi, at: int, *, after: bool) -> None:
        self._client = client
        self._at = at
        self._after = after
        self.calls = 0

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._client, name)

        async def call(*args: Any, **kwargs: Any) -> Any:
            self.calls += 1
            if self.calls == self._at and self._after:
                await method(*args, **kwargs)
            if self.calls >= self._at:
                raise Killed
            return await method(*args, **kwargs)

        return call


@pytest.mark.parametrize("fifo", [False, True])
@pytest.mark.parametrize("after", [False, True])
def test_a_kill_at_any_call_loses_nothing_and_the_next_run_goes_on(*, fifo: bool, after: bool) -> None:
    """After kill -9, duplicates are those that were sent and not deleted; on a FIFO queue their id swallows them."""
    kills = 0
    while killed_at(kills + 1, fifo=fifo, after=after):
        kills += 1
    assert kills >= 9  # receives, sends and deletes of three batches


@virtual
async def killed_at(call: int, *, fifo: bool, after: bool) -> bool:
    async with Scene(fifo=fifo) as scene:
        failure = Failure(error="A", queue="orders" + scene.end)
        bodies = [f"{number:02}" for number in range(25)]
        for body in bodies:
            await scene.send(body, failure)
        dying = Dying(scene.client, call, after=after)
        try:
            await scene.copying(dying).run()
        except Killed:
            pass
        else:
            return False
        assert set(scene.bodies("orders")) | set(scene.bodies("dead")) == set(bodies)
        await asyncio.sleep(HIDDEN)
        await scene.copying().run()
        arrived = scene.bodies("orders")
        assert scene.bodies("dead") == []
        if fifo:
            assert arrived == bodies
        else:
            assert set(arrived) == set(bodies)
            assert max(Counter(arrived).values()) <= 2
            assert len(arrived) - len(bodies) <= 40  # what four workers were sending
        return True


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("fifo", [False, True])
@virtual
async def test_on_a_bad_network_nothing_is_lost_and_a_group_keeps_its_order(seed: int, *, fifo: bool) -> None:
    """Calls that take up to three seconds, that fail, and that take effect without an answer."""
    async with Scene(fifo=fifo, seed=seed) as scene:
        failure = Failure(error="A", queue="orders" + scene.end)
        groups = {f"g{group}": [f"{group}-{number:02}" for number in range(20)] for group in range(4)}
        for number in range(20):
            for group, bodies in groups.items():
                await scene.send(bodies[number], failure, group)
        bad = {"throttle": 0.1, "unavailable": 0.05, "reset": 0.05, "lose": 0.1, "lose_by_reset": 0.05, "hang": 0.02}
        for operation in ("ReceiveMessage", "SendMessageBatch", "DeleteMessageBatch", "ChangeMessageVisibilityBatch"):
            scene.broker.faults.set(operation, latency=(0.0, 3.0), **bad)
        began = asyncio.get_running_loop().time()
        for _ in range(60):
            await scene.copying().run()
            if not scene.bodies("dead"):
                break
            await asyncio.sleep(HIDDEN)
        assert scene.bodies("dead") == []
        arrived = scene.bodies("orders")
        everything = [body for bodies in groups.values() for body in bodies]
        assert set(arrived) == set(everything)
        first = list(dict.fromkeys(arrived))
        if fifo:
            for bodies in groups.values():
                assert [body for body in first if body in bodies] == bodies
            if asyncio.get_running_loop().time() - began < 300:
                assert len(arrived) == len(everything)


@virtual
async def test_messages_that_came_back_are_named_and_may_be_among_those_not_looked_at(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """They were looked at twice and moved once, so the two numbers of the summary differ by them."""
    async with Scene(fifo=True) as scene:
        address = QueueAddress.parse("dead.fifo")
        queue = OpenQueue(client=cast("Any", scene.client), address=address, url=scene.urls["dead"])
        dead = DeadLetterQueue(queue=queue, arn="arn:aws:sqs:x:1:dead.fifo", sources={})
        copying = scene.copying()
        copying.returned, copying.behind = {"a", "b"}, 30
        report(Connection(queue="dead.fifo"), dead, copying)
    assert capsys.readouterr().err == (
        "leasekeeper: about 30 messages were not looked at: there are others before them in their message groups, and "
        "SQS shows no more of a group while these are held. Messages that came back can be among them\n"
        "leasekeeper: 2 messages failed again and came back while this ran: looked at twice, moved once, and still in "
        "dead.fifo\n"
    )
