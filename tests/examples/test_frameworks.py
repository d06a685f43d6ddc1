"""The examples of injection and of web frameworks run as their texts say."""

from __future__ import annotations

import runpy
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from example_kit import EXAMPLES, FAKE, Queue, lines_until

from leasekeeper.local import LocalSqs
from leasekeeper.testing.envelopes import lambda_event
from leasekeeper.testing.handling import run_handler
from leasekeeper.testing.trial import Trial
from leasekeeper.testing.world import virtual

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.slow
RUN = [str(Path(sys.executable).with_name("leasekeeper")), "run"]


@pytest.fixture
def sqs(monkeypatch: pytest.MonkeyPatch) -> Iterator[LocalSqs]:
    for name, value in FAKE.items():
        monkeypatch.setenv(name, value)
    with LocalSqs() as server:
        monkeypatch.setenv("AWS_ENDPOINT_URL_SQS", server.endpoint_url)
        yield server


def test_anywhere_as_a_process(sqs: LocalSqs) -> None:
    queue = Queue("orders")
    queue.put('{"id": 1}')
    lines_until([*RUN, "anywhere:app"], {"shipped 1"})
    assert queue.left() == (0, 0)


@virtual
async def test_anywhere_in_virtual_time() -> None:
    """An order that is not paid ships at its second try; another is rejected."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_DEFAULT_REGION", "eu-west-1")
        example = runpy.run_path(str(EXAMPLES / "anywhere.py"))
    async with Trial(example["app"]) as trial:
        await trial.send("orders", {"id": 1}, {"id": 2, "paid": False}, {"id": -1})
        await trial.settled()
        assert trial.dead_letters("orders") == ['{"id":-1}']
    assert example["shipped"] == [1, 2]


def test_anywhere_as_a_function_of_lambda(sqs: LocalSqs) -> None:
    example = runpy.run_path(str(EXAMPLES / "anywhere.py"))
    Queue("orders")
    event = lambda_event({"id": 1}, {"id": 2, "paid": False}, "no JSON")
    failed = example["handler"](event)["batchItemFailures"]
    assert [each["itemIdentifier"] for each in failed] == ["message-1", "message-2"]
    assert example["shipped"] == [1]
    example["handler"].close()


def test_flask(sqs: LocalSqs, capsys: pytest.CaptureFixture[str]) -> None:
    example = runpy.run_path(str(EXAMPLES / "flask_shop.py"))
    assert run_handler(example["app"].consumers[0], {"total": 7}).acked
    assert capsys.readouterr().out == "billed 7 EUR\n"


def test_fastapi(sqs: LocalSqs) -> None:
    from fastapi.testclient import TestClient  # slow to import

    example = runpy.run_path(str(EXAMPLES / "fastapi_shop.py"))
    queue = Queue("orders")
    queue.put('{"item": "tea", "count": 3}')
    with TestClient(example["web"]) as client:
        pause, end = threading.Event(), time.monotonic() + 30
        while client.get("/stock/tea").json() == 10:
            assert time.monotonic() < end
            pause.wait(0.01)
        assert client.get("/stock/tea").json() == 7
    assert queue.left() == (0, 0)


@virtual
async def test_injection(capsys: pytest.CaptureFixture[str]) -> None:
    """A session for each message."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_DEFAULT_REGION", "eu-west-1")
        example = runpy.run_path(str(EXAMPLES / "injection.py"))
    async with Trial(example["app"]) as trial:
        await trial.send("orders", {"id": 1}, {"id": 2})
        await trial.settled()
    assert sorted(capsys.readouterr().out.split("\n")) == ["", "committed [1]", "committed [2]"]
