"""Retries, last attempts and dead letters, as SQS sees them: delays, copies, and what never happens to a message."""

from __future__ import annotations

import asyncio
import json
import logging
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest

from leasekeeper import Batch, Exponential, HandlerTimeout, Message, Reject, Retries, Retry, Table
from leasekeeper.failure import FAILURE
from leasekeeper.local import LocalClient
from leasekeeper.testing.world import DEAD_LETTERS, World, virtual

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from leasekeeper.api import EntryFailure

MEBIBYTE = 1_048_576


class Noting(LocalClient):
    """A client that notes the visibilities that SQS is asked for."""

    noted: list[int]

    async def change_visibility_batch(
        self, queue_url: str, entries: Sequence[tuple[str, int]]
    ) -> list[EntryFailure | None]:
        self.noted += [seconds for _, seconds in entries]
        return await super().change_visibility_batch(queue_url, entries)


def noting(world: World) -> list[int]:
    client = Noting(world.broker)
    client.noted = []
    world.client = client
    return client.noted


def failure_of(world: World, name: str = DEAD_LETTERS) -> dict[str, Any]:
    (copy,) = world.queue(name).contents()
    failure: dict[str, Any] = json.loads(copy.content.attributes[FAILURE]["StringValue"])
    return failure


async def broken(_body: str) -> None:
    raise ValueError("no stock")


# Delays


@virtual
async def test_a_table_gives_the_delays_that_sqs_is_asked_for() -> None:
    async with World() as world:
        delays = noting(world)
        await world.send("a")
        await world.start(broken, retry=Table(1, 10, 60))
        await world.until(lambda: len(delays) == 4)
        assert delays == [1, 10, 60, 60]


@virtual
async def test_the_rule_of_the_nearest_class_gives_the_delay() -> None:
    class Busy(ConnectionError):
        pass

    async with World() as world:
        delays = noting(world)
        await world.send("a")
        errors = iter([ConnectionResetError(), Busy(), ValueError(), TimeoutError()])

        async def handle(_body: str) -> None:
            if error := next(errors, None):
                raise error

        retries = Retries(Table(2), on={OSError: Table(3), ConnectionError: Table(4), Busy: lambda *_: 5})
        await world.start(handle, retry=retries)
        await world.until(lambda: not world.bodies())
        assert delays == [4, 5, 2, 3]


@virtual
async def test_full_jitter_spreads_a_thousand_failures_and_none_returns_at_once() -> None:
    async with World(7) as world:
        delays = noting(world)
        await world.send_many(1_000)

        async def handle(message: Message[str]) -> None:
            if message.attempt == 1:
                raise ValueError("at first")

        quiet = logging.Logger("quiet", logging.CRITICAL)  # noqa: LOG001 - of this test alone
        retry = Exponential(100, jitter="full")
        await world.start(handle, retry=retry, concurrency=100, logger=quiet)
        await world.until(lambda: not world.bodies(), step=1)
        assert (len(delays), min(delays) >= 1, max(delays) <= 100) == (1_000, True, True)
        shares = [sum(delay <= second for delay in delays) / 1_000 for second in range(1, 101)]
        assert max(abs(share - (at + 1) / 100) for at, share in enumerate(shares)) < 3.1 / 1_000**0.5


@virtual
async def test_a_retry_of_nothing_is_at_once_and_a_function_may_say_so() -> None:
    async with World() as world:
        delays = noting(world)
        await world.send("a")
        answers: Iterator[float | Retry] = iter([Retry(0), 0, 0.3, 2.01])

        async def handle(message: Message[str]) -> None:
            if message.attempt <= 4:
                raise ValueError("not yet")

        await world.start(handle, retry=lambda *_: next(answers))
        await world.until(lambda: not world.bodies())
        assert delays == [0, 1, 1, 3]


@virtual
async def test_a_function_that_raises_leaves_the_default_and_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    """L15."""
    async with World() as world:
        delays = noting(world)
        await world.send("a")

        async def handle(message: Message[str]) -> None:
            if message.attempt <= 2:
                raise ValueError("not yet")

        def broken_policy(_message: Message[str], _attempt: int, _error: BaseException) -> float:
            raise RuntimeError("no idea")

        await world.start(handle, retry=Retries(Table(6, 7), on={ValueError: broken_policy}))
        await world.until(lambda: not world.bodies())
        assert delays == [6, 7]
    said = [record for record in caplog.records if "a function in `retry` raised" in record.getMessage()]
    assert len(said) == 2
    assert said[0].levelno == logging.ERROR
    assert said[0].exc_info is not None
    assert "RuntimeError: no idea" in caplog.text


# The last attempt


@pytest.mark.parametrize("immediate", [0, 1, 9])
@virtual
async def test_a_message_is_dead_lettered_after_its_last_attempt(
    immediate: int, caplog: pytest.LogCaptureFixture
) -> None:
    async with World(max_receives=9) as world:
        await world.send("a")
        attempts: list[int] = []

        async def handle(message: Message[str]) -> None:
            attempts.append(message.attempt)
            raise ValueError("no stock")

        retry = Retries(Table(1, 2), immediate=immediate)
        consumer = await world.start(handle, retry=retry, max_attempts=4)
        await world.until(lambda: world.bodies(DEAD_LETTERS))
        await asyncio.sleep(100)
        assert (attempts, world.bodies(), world.bodies(DEAD_LETTERS)) == ([1, 2, 3, 4], [], ["a"])
        work = consumer.statistics().work
        assert (work.failed, work.exhausted, work.dead_lettered, work.unexplained) == (4, 1, 1, 0)
        failure = failure_of(world)
        assert failure["reason"] == "exhausted"
        assert (failure["error"], failure["message"]) == ("ValueError", "no stock")
        assert (failure["attempts"], failure["receives"]) == (4, max(1, 4 - immediate))
        assert failure["queue"] == world.broker.account.arn("orders")
        assert failure["trace"].endswith("ValueError: no stock\n")
        assert failure["sent"] <= failure["first_received"] <= failure["at"]
    levels = [(record.levelname, record.getMessage().partition("; ")[2]) for record in caplog.records]
    levels = [(level, follows) for level, follows in levels if follows]
    assert levels[-1] == ("ERROR", "it was its last (`max_attempts`): it goes to the dead-letter queue")
    assert {level for level, _ in levels[:-1]} == {"WARNING"}
    assert ("WARNING", "it runs again at once") in levels if immediate else ("WARNING", "the message is retried in 1 s")


@virtual
async def test_a_handler_that_asks_for_a_retry_has_as_many_attempts(caplog: pytest.LogCaptureFixture) -> None:
    async with World(max_receives=9) as world:
        await world.send("a")

        async def handle(_body: str) -> None:
            raise Retry(1)

        consumer = await world.start(handle, max_attempts=2)
        await world.until(lambda: world.bodies(DEAD_LETTERS))
        assert failure_of(world)["error"] == "Retry"
        assert consumer.statistics().work.exhausted == 1
    assert "asked for a retry of message" in caplog.text
    assert "at attempt 2; it was its last (`max_attempts`): it goes to the dead-letter queue" in caplog.text


@virtual
async def test_an_attempt_beyond_the_limit_says_what_else_counts(caplog: pytest.LogCaptureFixture) -> None:
    """A stop gives a message back, and the next process knows only SQS's receive count."""

    async def hang(_body: str) -> None:
        await asyncio.sleep(3_600)

    async with World(max_receives=9) as world:
        await world.send("a")
        for _ in range(2):
            consumer = await world.start(hang, drain_timeout=1)
            await world.until(lambda: world.queue().in_flight == 1)
            await consumer.stop()
        await world.start(broken, max_attempts=2)
        await world.until(lambda: world.bodies(DEAD_LETTERS))
    assert (
        "at attempt 3; it was its last (`max_attempts=2`; deliveries that were given back count too): "
        "it goes to the dead-letter queue" in caplog.text
    )


@virtual
async def test_without_a_dead_letter_queue_the_last_attempt_is_followed_by_long_pauses_and_nothing_is_deleted() -> None:
    async with World() as world:
        delays = noting(world)
        await world.send("a")
        consumer = await world.start(broken, retry=Table(1, 5, 2), max_attempts=3)
        await world.until(lambda: len(delays) == 6)
        assert delays == [1, 5, 5, 5, 5, 5]
        assert world.bodies() == ["a"]
        assert consumer.statistics().work.exhausted == 4


@virtual
async def test_a_rule_that_rejects_dead_letters_at_the_first_attempt(caplog: pytest.LogCaptureFixture) -> None:
    async with World(max_receives=9) as world:
        await world.send("a")
        consumer = await world.start(broken, retry=Retries(on={ValueError: Reject}, immediate=3))
        await world.until(lambda: world.bodies(DEAD_LETTERS))
        failure = failure_of(world)
        assert (failure["reason"], failure["error"], failure["message"]) == ("rejected", "ValueError", "no stock")
        assert failure["attempts"] == 1
        work = consumer.statistics().work
        assert (work.failed, work.rejected) == (1, 1)
    (said,) = [record for record in caplog.records if "is rejected" in record.getMessage()]
    assert "by the rule for its ValueError: no stock; it goes to the dead-letter queue" in said.getMessage()
    assert said.levelno == logging.ERROR
    assert said.exc_info is not None


# Copies


@virtual
async def test_a_copy_without_room_for_the_reason_is_made_without_it(caplog: pytest.LogCaptureFixture) -> None:
    """L30: with ten attributes and 1 MiB the message is copied as it is, and only then deleted."""
    async with World(max_receives=9) as world:
        ten = {f"name{n}": {"DataType": "String", "StringValue": "v"} for n in range(10)}
        used = 10 * len("name0Stringv")
        await world.send("x" * (MEBIBYTE - used), MessageAttributes=ten)
        await world.send("y" * MEBIBYTE)
        world.faults.set("SendMessageBatch", latency=2.0)

        async def handle(_body: str) -> None:
            raise Reject("never")

        consumer = await world.start(handle)
        while len(world.bodies(DEAD_LETTERS)) < 2:
            assert len(world.bodies()) + len(world.bodies(DEAD_LETTERS)) >= 2, "nothing is deleted before its copy"
            await asyncio.sleep(0.1)
        await world.until(lambda: not world.bodies())
        copies = [copy.content for copy in world.queue(DEAD_LETTERS).contents()]
        assert sorted(len(copy.attributes) for copy in copies) == [0, 10]
        assert not any(FAILURE in copy.attributes for copy in copies)
        work = consumer.statistics().work
        assert (work.dead_lettered, work.unexplained) == (2, 2)
    assert caplog.text.count("in the dead-letter queue does not say why: SQS allows ten attributes and 1 MiB") == 2


@virtual
async def test_a_new_reason_takes_the_place_of_an_older_one() -> None:
    """The message was moved back from the dead-letter queue, and failed again."""
    async with World(max_receives=9) as world:
        attributes = {f"name{n}": {"DataType": "String", "StringValue": "v"} for n in range(9)}
        older = {"DataType": "String", "StringValue": json.dumps({"v": 1, "error": "OldError"})}
        await world.send("a", MessageAttributes={**attributes, FAILURE: older})
        await world.start(broken, max_attempts=1)
        await world.until(lambda: world.bodies(DEAD_LETTERS))
        assert failure_of(world)["error"] == "ValueError"


@virtual
async def test_neither_body_nor_attributes_are_in_the_reason() -> None:
    async with World(max_receives=9) as world:
        secret = {"secret": {"DataType": "String", "StringValue": "s3cr3t"}}
        await world.send("my-password", MessageAttributes=secret)
        await world.send("{not json")

        async def handle(_message: Message[str]) -> None:
            raise ValueError("no stock")

        await world.start(handle, max_attempts=1)
        await world.until(lambda: len(world.bodies(DEAD_LETTERS)) == 2)
        for copy in world.queue(DEAD_LETTERS).contents():
            value = copy.content.attributes[FAILURE]["StringValue"]
            assert "my-password" not in value
            assert "s3cr3t" not in value
            assert "{not" not in value


@virtual
async def test_a_denied_copy_keeps_the_message_backs_it_off_and_is_reported_once_a_minute(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """L30."""
    async with World(max_receives=1_000) as world:
        await world.send_many(20)
        world.faults.set("SendMessageBatch", deny=1.0)

        async def handle(_body: str) -> None:
            raise Reject("never")

        consumer = await world.start(handle, retry=Table(10))
        began = world.now
        await asyncio.sleep(600)
        assert len(world.bodies()) == 20
        assert not world.bodies(DEAD_LETTERS)
        reports = [record for record in caplog.records if "could not be copied" in record.getMessage()]
        assert 9 <= len(reports) <= (world.now - began) / 60 + 1
        assert {record.levelno for record in reports} == {logging.ERROR}
        assert "Allow sqs:SendMessage on the dead-letter queue" in reports[0].getMessage()
        assert consumer.statistics().errors["AccessDenied"] >= 20 * 50
        world.faults.clear()
        await world.until(lambda: len(world.bodies(DEAD_LETTERS)) == 20, within=60)
        assert not world.bodies()


@virtual
async def test_a_crash_between_copy_and_delete_makes_one_duplicate_and_loses_nothing() -> None:
    """At least once: the copy of the crashed process, and that of the next one."""
    async with World(max_receives=9) as world:
        await world.send("a")
        world.faults.set("DeleteMessageBatch", latency=5.0)
        consumer = await world.start(broken, max_attempts=1)
        await world.until(lambda: world.bodies(DEAD_LETTERS))
        consumer.task.cancel()
        await asyncio.wait([consumer.task])
        world.faults.clear()
        assert world.bodies() == ["a"]
        await world.start(broken, max_attempts=1)
        await world.until(lambda: not world.bodies())
        await asyncio.sleep(100)
        assert world.bodies(DEAD_LETTERS) == ["a", "a"]


@virtual
async def test_attempts_of_one_process_are_apart_by_the_back_off() -> None:
    async with World() as world:
        await world.send("a")
        starts: list[float] = []

        async def handle(message: Message[str]) -> None:
            starts.append(world.now)
            if message.attempt <= 4:
                raise ValueError("not yet")

        await world.start(handle, retry=Retries(Table(10, 20), immediate=2))
        await world.until(lambda: not world.bodies())
        gaps = [round(after - before) for before, after in pairwise(starts)]
        assert gaps == [0, 0, 10, 20]


# FIFO queues


@virtual
async def test_a_fifo_message_that_used_up_its_receives_is_copied_with_its_group_and_the_next_ones_run_once() -> None:
    """L26: `maxReceiveCount` limits the attempts here, because SQS does not count runs under one delivery."""
    async with World(fifo=True, max_receives=3) as world:
        first, *_ = await world.send(*"abcde", group="g")
        runs: list[tuple[str, int, int]] = []

        async def handle(message: Message[str]) -> None:
            runs.append((message.body, message.attempt, message.receive_count))
            if message.body == "a":
                raise ValueError("no stock")

        consumer = await world.start(handle, retry=Table(2, 30))
        await world.until(lambda: not world.bodies())
        assert runs == [("a", 1, 1), ("a", 2, 1), ("a", 3, 1), *((body, 1, 1) for body in "bcde")]
        (copy,) = world.queue(world.dead_letters).contents()
        assert copy.content.body == "a"
        failure = failure_of(world, world.dead_letters)
        assert (failure["reason"], failure["attempts"], failure["receives"]) == ("exhausted", 3, 1)
        assert consumer.statistics().work.exhausted == 1
        url = await world.client.queue_url(world.dead_letters)
        (received,) = await world.client.receive(url, maximum=10, wait=0, visibility=5)
        assert received.system["MessageGroupId"] == "g"
        assert received.system["MessageDeduplicationId"] == first, "a second copy would be the same message"


@virtual
async def test_immediate_tries_and_rules_work_on_fifo_queues() -> None:
    async with World(fifo=True, max_receives=9) as world:
        await world.send(*"ab", group="g")
        starts: list[tuple[str, int]] = []

        async def handle(message: Message[str]) -> None:
            starts.append((message.body, round(world.now)))
            if message.body == "a":
                raise ConnectionError if message.attempt > 2 else ValueError

        retries = Retries(Table(50), on={ConnectionError: Table(7)}, immediate=2)
        await world.start(handle, retry=retries, max_attempts=4)
        await world.until(lambda: not world.bodies())
        assert starts == [("a", 0), ("a", 0), ("a", 0), ("a", 7), ("b", 7)]


@virtual
async def test_at_a_stop_a_message_that_would_run_again_at_once_goes_back_and_its_slot_is_free() -> None:
    """L20, L24: on a FIFO queue, where the group waits for it."""
    async with World(fifo=True) as world:

        async def handle(body: str) -> None:
            await asyncio.sleep(1)
            raise ValueError(body)

        await world.send(*"ab", group="g")
        consumer = await world.start(handle, retry=Retries(Table(50), immediate=2), drain_timeout=20)
        await asyncio.sleep(0.5)
        report = await consumer.stop()
        assert report.draining < 3
        assert world.queue().visible == 2
        assert consumer.runner.snapshot().taken == 0


@virtual
async def test_a_failed_batch_of_a_fifo_queue_takes_no_follower_to_the_dead_letter_queue() -> None:
    """L26: also where the first attempt is the last one, and the handler fails for the whole batch."""
    async with World(fifo=True, max_receives=9) as world:
        await world.send(*"abc", group="g")

        async def handle(batch: Batch[str]) -> None:
            if batch[0].body == "a":
                raise ValueError("no stock")

        await world.start(handle, batch=3, batch_wait=0.1, retry=Table(1), max_attempts=1)
        await world.until(lambda: not world.bodies())
        assert world.bodies(world.dead_letters) == ["a"]


# Batches


@virtual
async def test_rules_functions_and_the_last_attempt_work_for_each_message_of_a_batch() -> None:
    async with World(max_receives=9) as world:
        delays = noting(world)
        await world.send(*"abcd")
        asked: list[tuple[str, int]] = []

        def ask(message: Message[str], attempt: int, error: Exception) -> float:
            asked.append((message.body, attempt))
            return 4

        async def handle(batch: Batch[str]) -> dict[Message[str], Exception]:
            errors = {"a": ConnectionError(), "b": KeyError(), "c": ValueError()}
            return {message: errors[message.body] for message in batch if message.body in errors}

        retries = Retries(Table(2), on={ConnectionError: ask, KeyError: Reject})
        await world.start(handle, batch=4, batch_wait=0.1, retry=retries, max_attempts=2)
        await world.until(lambda: not world.bodies())
        assert sorted(delays) == [2, 4]
        assert asked == [("a", 1), ("a", 2)]
        copies = {
            copy.content.body: json.loads(copy.content.attributes[FAILURE]["StringValue"])
            for copy in world.queue(DEAD_LETTERS).contents()
        }
        reasons = {body: (failure["reason"], failure["attempts"]) for body, failure in copies.items()}
        assert reasons == {"a": ("exhausted", 2), "b": ("rejected", 1), "c": ("exhausted", 2)}


@virtual
async def test_a_batch_that_raises_asks_a_function_about_each_message() -> None:
    async with World() as world:
        delays = noting(world)
        await world.send("3", "5")
        runs = 0

        async def handle(batch: Batch[int]) -> None:
            nonlocal runs
            runs += 1
            if runs == 1:
                raise ValueError("all of them")

        await world.start(handle, batch=2, batch_wait=0.1, retry=lambda message, *_: message.body)
        await world.until(lambda: not world.bodies())
        assert sorted(delays) == [3, 5]


@virtual
async def test_a_retry_that_is_asked_for_early_has_as_many_attempts(caplog: pytest.LogCaptureFixture) -> None:
    async with World(max_receives=9) as world:
        await world.send("a")

        async def handle(message: Message[str]) -> None:
            message.retry(1)
            await asyncio.sleep(5)

        consumer = await world.start(handle, max_attempts=2)
        await world.until(lambda: world.bodies(DEAD_LETTERS))
        await world.until(lambda: not world.bodies())
        assert failure_of(world)["attempts"] == 2
        assert (await consumer.stop()).exhausted == 1
    assert "it was its last (`max_attempts`): it goes to the dead-letter queue" in caplog.text


@virtual
async def test_a_rule_for_a_time_out_rejects() -> None:
    async with World(max_receives=9) as world:
        await world.send("a")

        async def handle(_body: str) -> None:
            await asyncio.sleep(500)

        await world.start(handle, handler_timeout=3, retry=Retries(on={HandlerTimeout: Reject}))
        await world.until(lambda: world.bodies(DEAD_LETTERS))
        failure = failure_of(world)
        assert (failure["reason"], failure["error"]) == ("rejected", "HandlerTimeout")
