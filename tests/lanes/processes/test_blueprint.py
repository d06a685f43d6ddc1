"""What can be taken to a worker process, and what is refused when a consumer is made."""

from __future__ import annotations

import pickle
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from leasekeeper import Consumer, Leasekeeper, Reject, Retries, Table
from leasekeeper.envelopes import Sns
from leasekeeper.errors import ConfigurationError
from leasekeeper.message import MessageAttribute
from leasekeeper.routing import Content, attribute, field
from leasekeeper.step_functions import StepFunctions

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from leasekeeper import Message

TOPIC = "arn:aws:sns:eu-west-1:123456789012:orders"


def work(body: str) -> None:
    """A handler at the top of a module."""


def other(body: str) -> None:
    """Another one, which takes the name of the first below."""


def refused(sentence: str, handler: Callable[..., Any] = work, **options: Any) -> None:
    with pytest.raises(ConfigurationError, match=sentence):
        Consumer("jobs", handler, lane="processes", **options)


def test_functions_are_taken_by_their_names() -> None:
    consumer = Consumer("jobs", work, lane="processes", workers=3)
    assert consumer.handler.blueprint is not None
    plan = pickle.loads(consumer.handler.blueprint.data)
    assert plan.resolved() == [(work, None)]
    assert plan.options.lane is None
    assert consumer.options.concurrency == 3
    assert consumer.options.slots == 6


def test_a_function_without_a_name_of_its_own_is_refused() -> None:
    refused("<lambda> with lane='processes': a worker process imports the handler by its name", lambda body: None)

    def inner(body: str) -> None: ...

    refused("inner with lane='processes'", inner)


def test_what_cannot_be_pickled_is_refused() -> None:
    refused("middleware=.* cannot be taken to a worker process", middleware=[lambda message, go: go(message)])
    refused("retry=.* cannot be taken", retry=Retries(lambda message, attempt, error: 3))


def by_attempt(message: Message[Any], attempt: int, error: Exception) -> float:
    return attempt


def test_what_the_library_makes_is_taken_along() -> None:
    """Rules of retries, conditions of handlers, and envelopes that keep something: each worker makes them again."""
    retry = Retries(Table(1), on={LookupError: by_attempt, ValueError: Reject}, immediate=2)
    when = (attribute("type") == "created") & ~(field("detail.kind").any_of(1, "x") | field("a", "b.c").exists())
    when |= field("status").startswith("order.") & (attribute("tenant") != "t")
    app = Leasekeeper()
    app.consumer("jobs", lane="processes", retry=retry, envelope=Sns(verify=True, topics={TOPIC}), when=when)(work)
    (consumer,) = app.consumers
    assert consumer.handler.blueprint is not None
    plan = pickle.loads(consumer.handler.blueprint.data)
    assert [repr(each) for each in (plan.options.retry, plan.options.envelope)] == [
        repr(retry),
        f"Sns(verify=True, topics={{'{TOPIC}'}})",
    ]
    [(_, taken)] = plan.resolved()
    assert repr(taken) == repr(when)
    message: Any = None  # no condition asks for it
    attributes = {"type": MessageAttribute(data_type="String", string_value="created")}
    for body, holds in (("{}", True), ('{"detail": {"kind": 1}}', False), ('{"status": "order.x", "a": 1}', True)):
        content = Content(body, attributes, lambda: message)
        assert (bool(when.matches(content)), bool(taken.matches(content))) == (holds, holds)
    tasks = pickle.loads(pickle.dumps(StepFunctions(token="a.b", body=None, region="eu-west-1")))
    assert repr(tasks) == "StepFunctions(token='a.b')"


def test_options_that_contradict_each_other_are_refused() -> None:
    refused("threads=2 with lane='processes'", threads=2)
    with pytest.raises(ConfigurationError, match="max_tasks=5 without lane='processes'"):
        Consumer("jobs", work, max_tasks=5)


class Injector:
    """Gives nothing."""

    def gives(self, parameter: object) -> bool:
        return False

    scope = scope_async = override = gives


def make_injector() -> Any:
    return Injector()


def test_an_injector_is_refused_and_a_function_that_makes_one_is_taken_along() -> None:
    app = Leasekeeper()
    app.inject(make_injector())
    with pytest.raises(ConfigurationError, match=r"lane='processes' and an injector: .* give inject\(\) a function"):
        app.consumer("jobs", lane="processes")(work)
    other = Leasekeeper()
    other.inject(make_injector)
    other.consumer("jobs", lane="processes")(work)
    (consumer,) = other.consumers
    blueprint = consumer.handler.blueprint
    assert blueprint is not None
    assert pickle.loads(blueprint.data).injector is make_injector
    with pytest.raises(ConfigurationError, match="the function that makes its injector cannot be taken to a worker"):
        third = Leasekeeper()
        third.inject(lambda: make_injector())  # noqa: PLW0108 - it has no name
        third.consumer("jobs", lane="processes")(work)


def test_a_name_that_means_something_else_at_the_start_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    blueprint = Consumer("jobs", work, lane="processes").handler.blueprint
    assert blueprint is not None
    blueprint.verify()
    monkeypatch.setattr(sys.modules[__name__], "work", other)
    with pytest.raises(ConfigurationError, match=r"is <function other.*, so a worker process would call that"):
        blueprint.verify()


@pytest.mark.parametrize(("guard", "refused"), [("", True), ("if __name__ == '__main__':\n    ", False)])
def test_a_script_needs_a_guard(tmp_path: Path, guard: str, *, refused: bool) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "from leasekeeper import Consumer\ndef work(body: str) -> None: ...\n"
        f"{guard}Consumer('jobs', work, lane='processes')\n"
    )
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, check=False)
    assert (done.returncode != 0) is refused, done.stderr
    assert ("below `if __name__ == '__main__':`" in done.stderr) is refused
