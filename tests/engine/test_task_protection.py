"""ECS spares a task while it has long handlers: real consumers, and an agent of ours on this machine."""

from __future__ import annotations

import asyncio
import json
import logging
import threading
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import pytest

from leasekeeper import ecs
from leasekeeper.consumer import Consumer
from leasekeeper.ecs import TaskProtection
from leasekeeper.local import LocalSqs
from leasekeeper.testing.world import World, virtual

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytestmark = pytest.mark.slow
GOOD = {"protection": {"ProtectionEnabled": True, "TaskArn": "arn:aws:ecs:eu-west-1:123456789012:task/c/1"}}


class Agent:
    """The agent of ECS: it notes what it is asked for, and answers as a test says."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, dict[str, Any]]] = []
        self.answer: tuple[int, object] = (200, GOOD)
        self.called = threading.Condition()
        agent = self

        class Handler(BaseHTTPRequestHandler):
            def do_PUT(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                status, answer = agent.answer
                written = json.dumps(answer).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(written)))
                self.end_headers()
                self.wfile.write(written)
                with agent.called:
                    agent.calls.append((self.path, json.loads(body)))
                    agent.called.notify_all()

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.uri = f"http://127.0.0.1:{self.server.server_port}/api/1234"

    def wait(self, condition: Callable[[], object]) -> None:
        with self.called:
            assert self.called.wait_for(condition, timeout=30), self.calls

    def has_been_called(self, times: int) -> bool:
        return len(self.calls) >= times

    @property
    def asked(self) -> list[bool]:
        return [call["ProtectionEnabled"] for _, call in self.calls]


@pytest.fixture
def agent(monkeypatch: pytest.MonkeyPatch) -> Iterator[Agent]:
    agent = Agent()
    serving = threading.Thread(target=agent.server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    serving.start()
    monkeypatch.setenv(ecs.VARIABLE, agent.uri)
    monkeypatch.setattr(ecs, "_shared", None)
    yield agent
    agent.server.shutdown()
    agent.server.server_close()
    serving.join()


class Seconds:
    """A clock that a test moves, and that the thread of a protection reads."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_the_agent_sees_on_renew_and_off(agent: Agent, caplog: pytest.LogCaptureFixture) -> None:
    """A protection is renewed halfway, and ends when nothing long runs."""
    clock, needed = Seconds(), [True]
    protection = TaskProtection(agent.uri, look_every=0.001, clock=clock)
    with caplog.at_level(logging.INFO, "leasekeeper.run"):
        leave = protection.watch(lambda: needed[0])
        agent.wait(lambda: len(agent.calls) == 1)
        path, call = agent.calls[0]
        assert path == "/api/1234/task-protection/v1/state"
        assert call == {"ProtectionEnabled": True, "ExpiresInMinutes": 20}
        clock.now = 601.0
        agent.wait(lambda: len(agent.calls) == 2)
        needed[0] = False
        clock.now = 700.0
        agent.wait(lambda: len(agent.calls) == 3)
        leave()
    assert agent.asked == [True, True, False]
    assert agent.calls[2][1] == {"ProtectionEnabled": False}
    said = [record.getMessage() for record in caplog.records]
    assert said[0] == "ECS spares this task for 20 minutes"
    assert said.count("ECS spares this task for 20 minutes") == 1


def test_the_last_that_leaves_ends_it(agent: Agent) -> None:
    protection = TaskProtection(agent.uri, look_every=0.001)
    first, second = protection.watch(lambda: True), protection.watch(lambda: False)
    agent.wait(lambda: agent.asked == [True])
    second()
    first()
    agent.wait(lambda: agent.asked == [True, False])


@pytest.mark.parametrize(
    ("status", "answer", "reason"),
    [
        (
            400,
            {"requestID": "1", "error": {"Code": "AccessDeniedException", "Message": "not allowed"}},
            "HTTP 400: Acc",
        ),
        (200, {"failure": {"Arn": "a", "Reason": "TASK_NOT_VALID"}}, "HTTP 200: TASK_NOT_VALID"),
        (500, [], "HTTP 500: no reason given"),
    ],
)
def test_a_refusal_is_said_once_and_harms_nothing(
    agent: Agent, status: int, answer: object, reason: str, caplog: pytest.LogCaptureFixture
) -> None:
    clock = Seconds()
    agent.answer = (status, answer)
    protection = TaskProtection(agent.uri, look_every=0.001, clock=clock)
    leave = protection.watch(lambda: True)
    for number in range(1, 4):
        agent.wait(partial(agent.has_been_called, number))
        clock.now += 61.0
    leave()
    warnings = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert len(warnings) == 1
    assert reason in warnings[0]


def test_a_consumer_with_a_long_handler_is_spared(agent: Agent, monkeypatch: pytest.MonkeyPatch) -> None:
    """From a real start to a real stop; the handler outlasts a drain of 0.05 s."""
    monkeypatch.setattr(ecs, "LOOK_EVERY", 0.01)
    monkeypatch.setattr(ecs, "_shared", TaskProtection(agent.uri, look_every=0.01))
    go_on = threading.Event()

    async def handle(_body: str) -> None:
        while not go_on.is_set():  # noqa: ASYNC110 - an event of another thread
            await asyncio.sleep(0.01)

    with LocalSqs() as sqs:
        monkeypatch.setenv("AWS_ENDPOINT_URL_SQS", sqs.endpoint_url)
        monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        asyncio.run(_send(sqs.endpoint_url))
        consumer = Consumer("orders", handle, ecs_protection=True, drain_timeout=0.05, poll_grace=0, region="us-east-1")
        consumer.start()
        agent.wait(lambda: agent.asked == [True])
        go_on.set()
        assert consumer.stop().result().unsettled == 0
        agent.wait(lambda: agent.asked == [True, False])


async def _send(endpoint_url: str) -> None:
    from leasekeeper.api import Outgoing
    from leasekeeper.sqs.client import SqsClient
    from leasekeeper.sqs.settings import ClientSettings

    async with await SqsClient.connect(ClientSettings(endpoint_url=endpoint_url, region="us-east-1")) as client:
        await client.send(await client.create_queue("orders"), Outgoing(body="a"))


def test_outside_ecs_it_warns_and_does_nothing(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.delenv(ecs.VARIABLE, raising=False)
    with ecs.protected(lambda: True):
        pass
    assert "ECS_AGENT_URI is not set" in caplog.text


@virtual
async def test_a_handler_outlasts_a_stop_by_its_own_time_or_by_the_median() -> None:
    async with World() as world:
        seconds = [100.0]

        async def handle(_body: str) -> None:
            await asyncio.sleep(seconds[0])

        consumer = await world.start(handle, concurrency=2)
        assert not consumer.runner.outlasts(20)
        await world.send("a")
        await asyncio.sleep(10)
        assert not consumer.runner.outlasts(20)
        await asyncio.sleep(20)
        assert consumer.runner.outlasts(20)
        await world.until(lambda: consumer.statistics().work.done == 1)
        assert not consumer.runner.outlasts(20)
        await world.send("b")
        await asyncio.sleep(1)
        assert consumer.runner.outlasts(20)  # the median says that it will take 100 s
