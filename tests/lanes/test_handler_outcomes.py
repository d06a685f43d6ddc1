"""What a handler returns and raises, and the outcome that is made of it; time-outs; the say over the lease."""

from __future__ import annotations

import asyncio
import sys
import threading
from typing import TYPE_CHECKING, Any

import pytest

from leasekeeper.core.delivery import Action
from leasekeeper.errors import Closed, HandlerTimeout
from leasekeeper.lanes.api import Answer
from leasekeeper.lanes.handler import Handler
from leasekeeper.lanes.lease_control import LeaseControl
from leasekeeper.message import Message  # noqa: TC001 - annotations below are resolved while the tests run
from leasekeeper.outcomes import DONE, WITHHELD, Failed, Reject, Retry, Settled, Settlement
from leasekeeper.testing.clock import run_virtual

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from leasekeeper.core.delivery import Delivery
    from leasekeeper.core.ledger import Ledger
    from leasekeeper.outcomes import Outcome


class NoExceptionAtAll(BaseException):
    """What not even `except Exception` catches."""


def returns(value: Any, *, plain_body: bool = False) -> list[Handler]:
    """Handlers of both kinds that return that value."""

    async def coroutine(message: Message[str]) -> Any:
        return value

    def plain(message: Message[str]) -> Any:
        return value

    async def coroutine_of_body(body: str) -> Any:
        return value

    def plain_of_body(body: str) -> Any:
        return value

    functions: list[Callable[..., Any]] = [coroutine_of_body, plain_of_body] if plain_body else [coroutine, plain]
    return [Handler(each, queue="q") for each in functions]


def raises(value: BaseException) -> list[Handler]:
    async def coroutine(message: Message[str]) -> None:
        raise value

    def plain(message: Message[str]) -> None:
        raise value

    return [Handler(coroutine, queue="q"), Handler(plain, queue="q")]


def call(handler: Handler, delivery: Delivery) -> Outcome:
    if handler.is_coroutine:
        return run_virtual(handler.run(lambda _answer: True, delivery))
    return handler.run_blocking(lambda _answer: True, delivery)


@pytest.mark.parametrize("plain_body", [True, False])
@pytest.mark.parametrize("value", [None, 5, "text", False, ValueError, print], ids=str)
def test_returning_anything_is_done(value: Any, deliver: Callable[..., Delivery], *, plain_body: bool) -> None:
    for handler in returns(value, plain_body=plain_body):
        assert call(handler, deliver()) is DONE


@pytest.mark.parametrize("word", [Retry(after=30), Retry(), Reject("no such customer")], ids=str)
def test_retry_and_reject_may_be_returned_or_raised(word: Retry | Reject, deliver: Callable[..., Delivery]) -> None:
    for handler in (*returns(word), *returns(word, plain_body=True), *raises(word)):
        assert call(handler, deliver()) is word


@pytest.mark.parametrize("word", [Retry, Reject])
def test_the_bare_class_means_the_same(word: type[Retry | Reject], deliver: Callable[..., Delivery]) -> None:
    """`return Reject` must not be an ack."""
    for handler in (*returns(word), *returns(word, plain_body=True)):
        assert isinstance(call(handler, deliver()), word)
    for handler in raises(word()):
        assert isinstance(call(handler, deliver()), word)


@pytest.mark.parametrize(
    "error",
    [
        ValueError("x"),
        SystemExit(3),
        KeyboardInterrupt(),
        GeneratorExit(),
        NoExceptionAtAll(),
        ExceptionGroup("g", [ValueError("y")]),
    ],
    ids=repr,
)
def test_nothing_that_a_handler_raises_gets_past(error: BaseException, deliver: Callable[..., Delivery]) -> None:
    """L15: neither a thread nor a loop ends because of a message."""
    for handler in raises(error):
        assert call(handler, deliver()) == Failed(error)


# Time-outs


def limited(work: Callable[[], Coroutine[Any, Any, Any]], seconds: float = 5.0) -> Handler:
    async def handle(message: Message[str]) -> Any:
        return await work()

    return Handler(handle, queue="q", timeout=seconds)


def test_a_handler_that_takes_too_long_is_ended(deliver: Callable[..., Delivery]) -> None:
    """L30: and the sentence says what to do."""
    ended: list[float] = []

    async def sleep() -> None:
        try:
            await asyncio.sleep(60)
        finally:
            ended.append(asyncio.get_running_loop().time())

    outcome = call(limited(sleep), deliver())
    assert isinstance(outcome, Failed)
    assert isinstance(outcome.error, HandlerTimeout)
    assert str(outcome.error).endswith(
        "handle ran longer than handler_timeout=5 s; its message is retried. Raise the limit, or set a time-out on "
        "the slow call"
    )
    assert ended == [5.0]
    assert not outcome.still_running


def test_a_handler_in_time_is_not_touched(deliver: Callable[..., Delivery]) -> None:
    async def sleep() -> Retry:
        await asyncio.sleep(4.9)
        return Retry(after=1)

    assert isinstance(call(limited(sleep), deliver()), Retry)


def test_a_handlers_own_time_out_is_its_own_failure(deliver: Callable[..., Delivery]) -> None:
    async def sleep() -> None:
        async with asyncio.timeout(1):
            await asyncio.sleep(60)

    async def raise_it() -> None:
        raise TimeoutError("the warehouse does not answer")

    for work in (sleep, raise_it):
        outcome = call(limited(work), deliver())
        assert isinstance(outcome, Failed)
        assert type(outcome.error) is TimeoutError


def test_a_time_out_of_the_handlers_own_while_ours_strikes_is_ours(deliver: Callable[..., Delivery]) -> None:
    async def turn_it_into_another() -> None:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            raise TimeoutError("mine") from None

    outcome = call(limited(turn_it_into_another), deliver())
    assert isinstance(outcome, Failed)
    assert isinstance(outcome.error, HandlerTimeout)


def test_a_handler_that_cleans_up_and_returns_when_its_time_is_over_is_done(
    deliver: Callable[..., Delivery],
) -> None:
    async def finish_quickly() -> None:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            return

    assert call(limited(finish_quickly), deliver()) is DONE


def test_a_cancellation_gets_through(deliver: Callable[..., Delivery]) -> None:
    """The dispatch knows who cancelled, and answers accordingly."""

    async def main() -> None:
        for handler in (limited(lambda: asyncio.sleep(60)), limited(lambda: asyncio.sleep(60), 1e4)):
            task = asyncio.create_task(handler.run(lambda _answer: True, deliver()))
            await asyncio.sleep(1)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

    run_virtual(main())


# The say over the lease


class Engine:
    """The other side of `say`: what the runner does with what a handler says of its message."""

    def __init__(self, ledger: Ledger, *, closed: bool = False) -> None:
        self.ledger = ledger
        self.closed = closed
        self.answers: list[Answer[Delivery]] = []

    def say(self, answer: Answer[Delivery]) -> bool:
        self.answers.append(answer)
        return not self.closed

    def settle(self) -> None:
        for answer in self.answers:
            delivery, outcome = answer.unit, answer.outcome
            if outcome is DONE:
                assert self.ledger.done([delivery]) == [delivery]
                self.ledger.deleted([(delivery, delivery.receipt)], 101.0)
            elif isinstance(outcome, Retry):
                assert self.ledger.release(delivery, outcome.after or 0.0, 101.0) is Action.RELEASE
                self.ledger.released(delivery)


def test_an_early_ack_is_posted_and_can_be_awaited(ledger: Ledger, deliver: Callable[..., Delivery]) -> None:
    """L14."""
    engine = Engine(ledger)
    settlements: list[Settlement] = []

    def handle(message: Message[str]) -> None:
        settlements.append(message.ack())

    handler = Handler(handle, queue="q")
    delivery = deliver()
    assert handler.run_blocking(engine.say, delivery) is DONE
    assert engine.answers == [Answer(delivery, DONE, final=False)]
    [settlement] = settlements
    assert not settlement.done()
    engine.settle()
    assert settlement.result(0) is Settled.ACKED


def test_an_early_retry_is_posted_with_its_delay(ledger: Ledger, deliver: Callable[..., Delivery]) -> None:
    engine, delivery = Engine(ledger), deliver()
    settlement = LeaseControl(engine.say, delivery).settle_early(retry_after=30.0)
    [answer] = engine.answers
    assert isinstance(answer.outcome, Retry)
    assert (answer.outcome.after, answer.final) == (30.0, False)
    engine.settle()
    assert settlement.result(0) is Settled.RELEASED


@pytest.mark.parametrize("after", [-1, 43_201])
def test_an_early_retry_out_of_bounds_is_refused_and_leaves_the_message_alone(
    after: float, ledger: Ledger, deliver: Callable[..., Delivery]
) -> None:
    engine, delivery = Engine(ledger), deliver()
    with pytest.raises(ValueError, match="must be between 0 and 43200 seconds"):
        LeaseControl(engine.say, delivery).settle_early(retry_after=after)
    assert (engine.answers, delivery.settlement) == ([], None)


ONCE = (
    "message m1 is settled already: ack() and retry() can be called once, and not after its handler has returned "
    "unless withhold() was called"
)


def test_a_message_is_settled_once(ledger: Ledger, deliver: Callable[..., Delivery]) -> None:
    """L14."""
    engine = Engine(ledger)
    run = LeaseControl(engine.say, deliver())
    run.settle_early(retry_after=None)
    for again in (None, 5.0):
        with pytest.raises(Closed) as refusal:
            run.settle_early(retry_after=again)
        assert str(refusal.value) == ONCE
    assert len(engine.answers) == 1


def test_a_message_that_has_ended_is_not_settled(ledger: Ledger, deliver: Callable[..., Delivery]) -> None:
    """L14: acked by its handler's return, say."""
    engine, delivery = Engine(ledger), deliver()
    ledger.done([delivery])
    with pytest.raises(Closed) as refusal:
        LeaseControl(engine.say, delivery).settle_early(retry_after=None)
    assert str(refusal.value) == ONCE


def test_settling_after_the_close_raises(ledger: Ledger, deliver: Callable[..., Delivery]) -> None:
    """L14: a second call raises the same error."""
    delivery = deliver()
    run = LeaseControl(Engine(ledger, closed=True).say, delivery)
    for _ in range(2):
        with pytest.raises(Closed) as refusal:
            run.settle_early(retry_after=None)
        assert str(refusal.value) == (
            "message m1: the consumer is closed; the message comes back when its visibility timeout ends"
        )
    assert delivery.settlement is None


def test_of_two_threads_that_settle_a_message_one_is_told(ledger: Ledger, deliver: Callable[..., Delivery]) -> None:
    """L14: else the first one's settlement would never end."""
    engine = Engine(ledger)
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        for _ in range(40):
            run = LeaseControl(engine.say, deliver())
            settled: list[Settlement] = []
            refused: list[Closed] = []
            start = threading.Barrier(2)

            def settle(
                run: LeaseControl = run,
                start: threading.Barrier = start,
                settled: list[Settlement] = settled,
                refused: list[Closed] = refused,
            ) -> None:
                start.wait()
                try:
                    settled.append(run.settle_early(retry_after=None))
                except Closed as error:
                    refused.append(error)

            threads = [threading.Thread(target=settle) for _ in range(2)]
            for each in threads:
                each.start()
            for each in threads:
                each.join()
            assert (len(settled), len(refused)) == (1, 1)
    finally:
        sys.setswitchinterval(interval)


def test_a_withheld_message_is_kept_when_its_handler_returns(deliver: Callable[..., Delivery]) -> None:
    def handle(message: Message[str]) -> None:
        message.withhold()

    assert Handler(handle, queue="q").run_blocking(lambda _answer: True, deliver()) is WITHHELD


def test_withholding_does_not_hide_what_the_handler_says(deliver: Callable[..., Delivery]) -> None:
    for word in (Retry(after=5), Reject("no"), ValueError("x")):

        def handle(message: Message[str], word: Exception = word) -> None:
            message.withhold()
            raise word

        outcome = Handler(handle, queue="q").run_blocking(lambda _answer: True, deliver())
        assert outcome is word or outcome == Failed(word)


def test_withholding_through_middleware(deliver: Callable[..., Delivery]) -> None:
    async def keep(message: Message[Any], call_next: Callable[[Message[Any]], Any]) -> Any:
        message.withhold()
        return await call_next(message)

    async def handle(body: str) -> None: ...

    assert call(Handler(handle, queue="q", middleware=[keep]), deliver()) is WITHHELD


def test_a_handler_sees_its_lease(ledger: Ledger, deliver: Callable[..., Delivery]) -> None:
    """L8, L10."""
    delivery = deliver()
    run = LeaseControl(lambda _answer: True, delivery)
    assert (run.lease_lost, run.lease_capped, run.lease_deadline) == (False, False, 129.0)
    delivery.started, delivery.capped = 100.0, True
    ledger.leases.tick(129.0)
    assert (run.lease_lost, run.lease_capped) == (True, True)
