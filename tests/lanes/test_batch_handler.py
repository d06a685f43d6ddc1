"""What a batch handler returns, raises and says of its messages, and the outcome of each; signatures; isolation."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import pytest

from leasekeeper.batch import Batch
from leasekeeper.core.batch_collector import Collected
from leasekeeper.errors import Closed, ConfigurationError, HandlerError
from leasekeeper.given_options import make_options
from leasekeeper.lanes.batch_handler import BatchHandler
from leasekeeper.lanes.bundles import Bundle
from leasekeeper.lanes.handlers import make_handler
from leasekeeper.message import Message, Received  # noqa: TC001 - annotations below are resolved while the tests run
from leasekeeper.options import Options
from leasekeeper.outcomes import DONE, NOT_STARTED, WITHHELD, Failed, Reject, Retry
from leasekeeper.retries import Retries
from leasekeeper.testing.clock import run_virtual

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from leasekeeper.core.delivery import Delivery
    from leasekeeper.lanes.api import Answer
    from leasekeeper.outcomes import Outcome


class Scene:
    """A batch handler, what it was called with, and how each message ended."""

    def __init__(self, handler: Callable[..., Any], **options: Any) -> None:
        self.handler = make_handler(handler, Options(batch=1_000, **options), queue="q")
        self.outcomes: dict[str, Outcome] = {}
        self.said: list[tuple[str, Outcome]] = []

    def say(self, answer: Answer[Delivery]) -> bool:
        if answer.final:
            assert answer.unit.received.body not in self.outcomes, "answered twice"
            self.outcomes[answer.unit.received.body] = answer.outcome
        else:
            self.said.append((answer.unit.received.body, answer.outcome))
        return True

    def run(self, rows: Sequence[Delivery]) -> dict[str, Outcome]:
        """Run the handler for these as a lane does; the outcomes by body."""
        bundle = Bundle(Collected(list(rows), "size", 0.5), self.say, lambda: 100.0)
        bundle.started = 100.0
        assert isinstance(self.handler, BatchHandler)
        if self.handler.is_coroutine:
            outcome = run_virtual(self.handler.run(lambda _: True, bundle))
        else:
            outcome = self.handler.run_blocking(lambda _: True, bundle)
        for answer in bundle.answer(outcome):
            self.say(answer)
        assert bundle.rows == ()
        return self.outcomes


def outcomes_of(
    act: Callable[[Batch[str]], Any], rows: Sequence[Delivery], *, plain: bool = False, **options: Any
) -> dict[str, Outcome]:
    async def coroutine(batch: Batch[str]) -> Any:
        return act(batch)

    def function(batch: Batch[str]) -> Any:
        return act(batch)

    return Scene(function if plain else coroutine, **options).run(rows)


def raising(error: BaseException) -> Any:
    raise error


def test_a_rule_for_what_opens_an_envelope_gets_the_message_without_a_body(deliver: Callable[..., Delivery]) -> None:
    def closed(_: Received) -> str:
        raise OSError("no key")

    def rule(message: Message[Any], attempt: int, error: Exception) -> float:
        assert (message.body, attempt, str(error)) == (None, 1, "no key")
        return 7

    found = outcomes_of(len, [deliver()], envelope=closed, retry=Retries(on={OSError: rule}))["1"]
    assert isinstance(found, Failed)
    assert (found.rule, found.rule_error) == (7.0, None)


# The result


@pytest.mark.parametrize("plain", [True, False])
@pytest.mark.parametrize(
    "value",
    [None, DONE, (), [], {}, {"batchItemFailures": []}, {"batchItemFailures": None}],
    ids=str,
)
def test_all_are_done_when_none_is_named(value: Any, deliver: Callable[..., Delivery], *, plain: bool) -> None:
    assert outcomes_of(lambda _: value, [deliver(), deliver()], plain=plain) == {"1": DONE, "2": DONE}


@pytest.mark.parametrize("kind", [list, tuple, set, iter])
def test_an_iterable_names_failed_messages(kind: Any, deliver: Callable[..., Delivery]) -> None:
    found = outcomes_of(lambda batch: kind([batch[1]]), [deliver() for _ in range(3)])
    assert (found["1"], found["3"]) == (DONE, DONE)
    assert isinstance(found["2"], Failed)
    assert isinstance(found["2"].error, HandlerError)
    assert str(found["2"].error).endswith(" named this message as failed")


def test_a_mapping_gives_messages_their_outcomes(deliver: Callable[..., Delivery]) -> None:
    error, retry = ValueError("x"), Retry(after=7)
    rows = [deliver() for _ in range(7)]
    found = outcomes_of(
        lambda batch: dict(zip(batch, [retry, Reject("never"), error, None, DONE, Reject], strict=False)), rows
    )
    assert found["1"] is retry
    assert found["2"].reason == "never"  # type: ignore[union-attr] # it must be a Reject
    assert isinstance(found["3"], Failed)
    assert found["3"].error is error
    assert (found["4"], found["5"], found["7"]) == (DONE, DONE, DONE)
    assert isinstance(found["6"], Reject)


def test_lambdas_dictionary_names_failed_messages_by_id(deliver: Callable[..., Delivery]) -> None:
    found = outcomes_of(lambda batch: {"batchItemFailures": [{"itemIdentifier": batch[0].id}]}, [deliver(), deliver()])
    assert isinstance(found["1"], Failed)
    assert found["2"] is DONE


def test_lambdas_dictionary_works_for_bodies_too(deliver: Callable[..., Delivery]) -> None:
    def load(bodies: list[str]) -> Any:
        return {"batchItemFailures": [{"itemIdentifier": f"m{bodies[0]}"}]}

    found = Scene(load).run([deliver(), deliver()])
    assert isinstance(found["1"], Failed)
    assert found["2"] is DONE


@pytest.mark.parametrize(
    ("value", "sentence"),
    [
        ({"batchItemFailures": [{"itemIdentifier": "other"}]}, "the id 'other', which no message of this call has"),
        ({"batchItemFailures": [{"itemIdentifier": ""}]}, "name each failed message as {'itemIdentifier': its id}"),
        ({"batchItemFailures": [{"id": "m1"}]}, "name each failed message as {'itemIdentifier': its id}"),
        ({"batchItemFailures": ["m1"]}, "name each failed message as {'itemIdentifier': its id}"),
        ({"batchItemFailures": "m1"}, "'batchItemFailures' with 'm1': give a list"),
        ({"batchItemFailures": 1}, "'batchItemFailures' with 1: give a list"),
        ({"BatchItemFailures": []}, "a mapping without the key 'batchItemFailures' and without messages"),
        (["m1"], "something with 'm1', which is no message of this call: name messages of the batch"),
        ([1, 2], "something with 1, which is no message of this call"),
        (5, "returned 5, of type int, which says of no message how it went: return None if all are done"),
        (0, "returned 0, of type int"),
        (True, "returned True, of type bool"),
        ("text", "returned 'text', of type str"),
        (b"bytes", "returned b'bytes', of type bytes"),
        (object, "returned <class 'object'>, of type type"),
        (ValueError("x"), "returned ValueError('x'), of type ValueError"),
    ],
    ids=str,
)
def test_a_result_that_names_no_message_of_the_call_fails_all(
    value: Any, sentence: str, deliver: Callable[..., Delivery]
) -> None:
    found = outcomes_of(lambda _: value, [deliver(), deliver()], on_batch_error="halves")
    for outcome in found.values():
        assert isinstance(outcome, Failed)
        assert sentence in str(outcome.error)
        assert str(outcome.error).endswith("; all messages that it has not named fail")
    assert len(found) == 2


def test_a_mapping_with_a_wrong_value_fails_all(deliver: Callable[..., Delivery]) -> None:
    found = outcomes_of(lambda batch: {batch[0]: 5}, [deliver(), deliver()])
    for outcome in found.values():
        assert isinstance(outcome, Failed)
        assert "with the value 5: give None, an exception, Retry(...) or Reject(...)" in str(outcome.error)


def test_a_message_of_another_batch_fails_all(deliver: Callable[..., Delivery]) -> None:
    others: list[Message[str]] = []
    outcomes_of(others.extend, [deliver()])
    found = outcomes_of(lambda _: others, [deliver()])
    assert isinstance(found["2"], Failed)


def test_bodies_cannot_be_named(deliver: Callable[..., Delivery]) -> None:
    def load(bodies: list[str]) -> Any:
        return [bodies[0]]

    found = Scene(load).run([deliver(), deliver()])
    for outcome in found.values():
        assert isinstance(outcome, Failed)
        assert "annotate its parameter with Batch[...], or return None" in str(outcome.error)


def test_a_count_of_a_handler_of_bodies_fails_all(deliver: Callable[..., Delivery]) -> None:
    def load(bodies: list[str]) -> int:
        return len(bodies)

    found = Scene(load).run([deliver(), deliver()])
    for outcome in found.values():
        assert isinstance(outcome, Failed)
        assert "returned 2, of type int" in str(outcome.error)


def test_a_settlement_that_a_batch_handler_returns_is_no_failure(deliver: Callable[..., Delivery]) -> None:
    assert outcomes_of(lambda batch: batch.ack(batch[0]), [deliver(), deliver()])["2"] is DONE


def test_a_result_that_raises_fails_all(deliver: Callable[..., Delivery]) -> None:
    error = ValueError("while it is iterated over")
    found = outcomes_of(lambda _: (raising(error) for _ in "x"), [deliver()])
    assert isinstance(found["1"], Failed)
    assert found["1"].error is error


def test_a_result_that_has_not_run_fails_all(deliver: Callable[..., Delivery]) -> None:
    async def insert() -> None:
        raise AssertionError("never awaited")

    def load(batch: Batch[str]) -> Any:
        return insert()

    found = Scene(load).run([deliver()])
    assert isinstance(found["1"], Failed)
    assert "returned a coroutine" in str(found["1"].error)


@pytest.mark.parametrize("word", [Retry(after=30), Reject("all of it")], ids=str)
def test_retry_and_reject_hold_for_all_that_are_not_named(word: Any, deliver: Callable[..., Delivery]) -> None:
    def act(batch: Batch[str]) -> Any:
        batch.retry(batch[0], after=5)
        return word

    def act_and_raise(batch: Batch[str]) -> Any:
        raise act(batch)

    for each in (act, act_and_raise):
        found = outcomes_of(each, [deliver("a"), deliver("b"), deliver("c")], on_batch_error="halves")
        assert found["a"].after == 5  # type: ignore[union-attr] # it must be a Retry
        assert (found["b"], found["c"]) == (word, word)


# What is said through the batch


@pytest.mark.parametrize("ends", [lambda: None, lambda: raising(ValueError("later"))], ids=["returns", "raises"])
def test_what_was_said_stands_whatever_follows(ends: Callable[[], None], deliver: Callable[..., Delivery]) -> None:
    def act(batch: Batch[str]) -> Any:
        batch.retry(batch[0], after=5)
        batch.reject(batch[1], "no such customer")
        batch.ack(batch[2])
        ends()
        return [batch[0], batch[1]]

    scene = Scene(act)
    found = scene.run([deliver() for _ in range(3)])
    assert found["1"].after == 5  # type: ignore[union-attr] # it must be a Retry
    assert found["2"].reason == "no such customer"  # type: ignore[union-attr] # it must be a Reject
    assert scene.said == [("3", DONE)]


def test_the_last_word_about_a_message_wins(deliver: Callable[..., Delivery]) -> None:
    def act(batch: Batch[str]) -> None:
        batch.retry(batch[0])
        batch.reject(batch[0], "after all")

    assert isinstance(outcomes_of(act, [deliver()])["1"], Reject)


def test_a_word_about_a_stranger_raises(deliver: Callable[..., Delivery]) -> None:
    strangers: list[Message[str]] = []
    outcomes_of(strangers.extend, [deliver()])

    def act(batch: Batch[str]) -> None:
        with pytest.raises(ValueError, match="is not a message of this batch"):
            batch.retry(strangers[0])
        with pytest.raises(ValueError, match="must be between 0 and 43200"):
            batch.retry(batch[0], after=-1)

    assert outcomes_of(act, [deliver()])["2"] is DONE


def test_a_word_about_a_settled_message_raises(deliver: Callable[..., Delivery]) -> None:
    kept: list[Batch[str]] = []

    def act(batch: Batch[str]) -> None:
        kept.append(batch)
        batch.ack(batch[0])
        with pytest.raises(Closed, match="is settled already"):
            batch.retry(batch[0])

    outcomes_of(act, [deliver(), deliver()])
    with pytest.raises(Closed, match="until its handler has returned"):
        kept[0].reject(kept[0][1])


def test_a_message_may_be_withheld(deliver: Callable[..., Delivery]) -> None:
    found = outcomes_of(lambda batch: batch[0].withhold(), [deliver(), deliver()])
    assert found == {"1": WITHHELD, "2": DONE}


# Bodies


def test_bodies_are_decoded_and_bad_ones_follow_the_reject_policy_alone(deliver: Callable[..., Delivery]) -> None:
    seen: list[Any] = []

    def load(batch: Batch[int]) -> None:
        seen.append(batch.bodies)
        raise ValueError("all that were called with")

    found = Scene(load).run([deliver("1"), deliver("two"), deliver("3")])
    assert seen == [[1, 3]]
    assert isinstance(found["two"], Reject)
    assert isinstance(found["1"], Failed)


def test_a_batch_of_bad_bodies_calls_nothing(deliver: Callable[..., Delivery]) -> None:
    def load(bodies: list[int]) -> None:
        raise AssertionError("called")

    found = Scene(load).run([deliver("one"), deliver("two")])
    assert [type(each) for each in found.values()] == [Reject, Reject]


def test_a_lost_lease_is_not_in_the_call(deliver: Callable[..., Delivery]) -> None:
    seen: list[str] = []
    rows = [deliver() for _ in range(3)]
    rows[1].lost = True
    found = outcomes_of(lambda batch: seen.extend(batch.bodies), rows)
    assert seen == ["1", "3"]
    assert found["2"] is NOT_STARTED


# Isolation


def guilty(*bodies: str) -> tuple[Callable[[Batch[str]], None], list[int]]:
    """A handler that raises when one of these is in its batch, and the sizes of its batches."""
    sizes: list[int] = []

    def act(batch: Batch[str]) -> None:
        sizes.append(len(batch))
        if set(bodies) & set(batch.bodies):
            raise ValueError("all or nothing")

    return act, sizes


@pytest.mark.parametrize("count", [1, 2, 3, 7, 100, 128])
def test_halves_fail_the_guilty_alone_within_the_promised_calls(count: int, deliver: Callable[..., Delivery]) -> None:
    rows = [deliver() for _ in range(count)]
    for poison in {1, count // 2 + 1, count}:
        act, sizes = guilty(str(poison))
        found = outcomes_of(act, rows, on_batch_error="halves")
        assert [body for body, outcome in found.items() if outcome is not DONE] == [str(poison)]
        assert isinstance(found[str(poison)], Failed)
        assert len(sizes) - 1 <= 2 * math.ceil(math.log2(count)) + 1 if count > 1 else len(sizes) == 1


def test_halves_find_several_guilty(deliver: Callable[..., Delivery]) -> None:
    rows = [deliver() for _ in range(64)]
    act, sizes = guilty("3", "40", "41")
    found = outcomes_of(act, rows, on_batch_error="halves")
    assert sorted(body for body, outcome in found.items() if outcome is not DONE) == ["3", "40", "41"]
    assert len(sizes) - 1 <= 3 * (2 * 6 + 1)


@pytest.mark.parametrize("plain", [True, False])
def test_singly_calls_each_alone(deliver: Callable[..., Delivery], *, plain: bool) -> None:
    act, sizes = guilty("2")
    found = outcomes_of(act, [deliver() for _ in range(4)], on_batch_error="singly", plain=plain)
    assert [body for body, outcome in found.items() if outcome is not DONE] == ["2"]
    assert sizes == [4, 1, 1, 1, 1]


def test_without_isolation_all_fail_with_the_error(deliver: Callable[..., Delivery]) -> None:
    act, sizes = guilty("2")
    found = outcomes_of(act, [deliver() for _ in range(4)])
    assert {type(outcome) for outcome in found.values()} == {Failed}
    assert sizes == [4]


@pytest.mark.parametrize("way", ["halves", "singly"])
def test_messages_that_the_handler_has_named_are_not_called_again(way: str, deliver: Callable[..., Delivery]) -> None:
    """What was named stands; the others were rolled back with it, and go well without it."""
    calls: list[list[str]] = []

    def act(batch: Batch[str]) -> None:
        calls.append(batch.bodies)
        if "1" in batch.bodies:
            batch.retry(batch[0], after=3)
            raise ValueError("rolled back")

    found = outcomes_of(act, [deliver() for _ in range(4)], on_batch_error=way)
    assert calls == [["1", "2", "3", "4"], *([["2", "3"], ["4"]] if way == "halves" else [["2"], ["3"], ["4"]])]
    assert isinstance(found["1"], Retry)
    assert {found["2"], found["3"], found["4"]} == {DONE}


def test_a_message_that_alone_was_not_named_is_called_once_more(deliver: Callable[..., Delivery]) -> None:
    sizes: list[int] = []

    def act(batch: Batch[str]) -> None:
        sizes.append(len(batch))
        batch.reject(batch[0])
        raise ValueError("again")

    found = outcomes_of(act, [deliver(), deliver()], on_batch_error="halves")
    assert sizes == [2, 1]
    assert {type(each) for each in found.values()} == {Reject}


def test_what_was_acked_early_is_not_called_again(deliver: Callable[..., Delivery]) -> None:
    calls: list[list[str]] = []

    def act(batch: Batch[str]) -> None:
        calls.append(batch.bodies)
        if len(batch) == 4:
            batch.ack(batch[0])
            raise ValueError("halfway")

    outcomes_of(act, [deliver() for _ in range(4)], on_batch_error="halves")
    assert calls == [["1", "2", "3", "4"], ["2", "3"], ["4"]]


def test_what_lost_its_lease_is_not_called_again(deliver: Callable[..., Delivery]) -> None:
    calls: list[list[str]] = []
    rows = [deliver() for _ in range(3)]

    def act(batch: Batch[str]) -> None:
        calls.append(batch.bodies)
        if len(batch) == 3:
            rows[2].lost = True
            raise ValueError("slow")

    found = outcomes_of(act, rows, on_batch_error="singly")
    assert calls == [["1", "2", "3"], ["1"], ["2"]]
    assert isinstance(found["3"], Failed)


def test_each_call_gets_bodies_that_no_call_before_has_changed(deliver: Callable[..., Delivery]) -> None:
    seen: list[list[dict[str, int]]] = []

    def load(bodies: list[dict[str, int]]) -> None:
        seen.append([dict(each) for each in bodies])
        for each in bodies:
            each.pop("n")
        if len(bodies) == 2:
            raise ValueError("after it has changed them")

    Scene(load, on_batch_error="singly").run([deliver('{"n": 1}'), deliver('{"n": 2}')])
    assert seen == [[{"n": 1}, {"n": 2}], [{"n": 1}], [{"n": 2}]]


# What it may take


def test_without_an_annotation_it_takes_a_batch_of_texts(deliver: Callable[..., Delivery]) -> None:
    seen: list[Any] = []

    def load(batch) -> None:  # type: ignore[no-untyped-def] # noqa: ANN001 - what is tested
        seen.append(batch)

    Scene(load).run([deliver()])
    [batch] = seen
    assert isinstance(batch, Batch)
    assert batch.bodies == ["1"]


async def _of_message(message: Message[str]) -> None: ...
async def _of_body(body: dict[str, int]) -> None: ...
async def _of_batch(batch: Batch[str]) -> None: ...
async def _of_both(batch: Batch[str], message: Message) -> None: ...  # type: ignore[type-arg]
async def _of_nothing_known(batch: Batch[complex]) -> None: ...


@pytest.mark.parametrize(
    ("function", "options", "sentence"),
    [
        (_of_message, {"batch": 5}, "takes one message, and batch= is set: annotate its parameter with Batch[T]"),
        (_of_both, {"batch": 5}, "takes one message, and batch= is set"),
        (_of_body, {"batch": 5}, "takes one body, and batch= is set: annotate its parameter with Batch[T]"),
        (_of_batch, {}, "takes a Batch, and batch is not set: set batch= to the most messages of a batch"),
        (_of_nothing_known, {"batch": 5}, "a body cannot be decoded to complex"),
    ],
)
def test_an_annotation_that_does_not_fit_the_option_is_refused(
    function: Callable[..., Any], options: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(ConfigurationError) as error:
        make_handler(function, make_options(options), queue="q")
    assert sentence in str(error.value)


def test_middleware_takes_the_batch_in_place_of_the_message(deliver: Callable[..., Delivery]) -> None:
    seen: list[Any] = []

    async def around(batch: Batch[Any], call_next: Callable[[Batch[Any]], Any]) -> Any:
        seen.append(batch.bodies)
        await call_next(batch)
        return [batch[1]]

    async def load(bodies: list[str]) -> None:
        seen.append(bodies)

    found = Scene(load, middleware=[around]).run([deliver(), deliver()])
    assert seen == [["1", "2"], ["1", "2"]]
    assert found["1"] is DONE
    assert isinstance(found["2"], Failed)


async def waiting(message: Message[str]) -> str:
    return message.id


@pytest.mark.parametrize("key", [waiting, lambda: 1, "tenant"], ids=["async def", "no argument", "a name"])
def test_a_batch_key_that_is_no_plain_function_of_a_message_is_refused(key: Any) -> None:
    """Awaited by nothing, it would give each message a batch for itself."""
    with pytest.raises(ConfigurationError, match="must be a plain function of a message"):
        make_options({"batch": 3, "batch_key": key})
