"""Tasks of Step Functions: what is reported of a handler, to a server that records the calls."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import msgspec
import pydantic
import pytest

from leasekeeper import Batch, ConfigurationError, Consumer, Message, Reject, Retry
from leasekeeper.api import Credentials
from leasekeeper.outcomes import Done, Failed, Skipped, Withheld
from leasekeeper.step_functions import StepFunctions, StepFunctionsTask
from leasekeeper.testing.handling import run_handler
from leasekeeper.testing.world import World, virtual

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from leasekeeper.outcomes import Outcome

PATIENCE = 30.0
pytestmark = pytest.mark.slow


@dataclass
class Order:
    id: int


class OrderStruct(msgspec.Struct):
    id: int


class OrderModel(pydantic.BaseModel):
    number: int = pydantic.Field(alias="id")


class Server(ThreadingHTTPServer):
    """Step Functions: records calls, and answers with the next of `refusals` for their operation."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Calls)
        self.calls: list[tuple[str, dict[str, str]]] = []
        self.headers: list[Any] = []
        self.refusals: dict[str, list[tuple[int, str]]] = {}
        self.beaten = threading.Semaphore(0)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def named(self, operation: str) -> list[dict[str, str]]:
        return [fields for name, fields in self.calls if name == operation]


class _Calls(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Server

    def do_POST(self) -> None:
        service, operation = self.headers["X-Amz-Target"].split(".")
        assert service == "AWSStepFunctions"
        fields = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.calls.append((operation, fields))
        self.server.headers.append(self.headers)
        if operation == "SendTaskHeartbeat":
            self.server.beaten.release()
        refusals = self.server.refusals.get(operation, [])
        status, code = refusals.pop(0) if refusals else (200, "")
        body = b"{}" if status == 200 else json.dumps({"__type": code, "message": "no"}).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/x-amz-json-1.0")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as made:
        thread = threading.Thread(target=made.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        yield made
        made.shutdown()
        thread.join(PATIENCE)


@pytest.fixture(autouse=True)
def soon_idle(monkeypatch: pytest.MonkeyPatch) -> None:
    """No thread of one test is left in the next."""
    monkeypatch.setattr("leasekeeper.step_functions.reports.IDLE", 0.05)


@pytest.fixture
def tasks(server: Server) -> StepFunctions:
    return to(server)


def to(server: Server, *fields: Any, **named: Any) -> StepFunctions:
    keys = Credentials(access_key="AKIA", secret_key="secret")
    return StepFunctions(*fields, endpoint_url=server.url, region="eu-west-1", credentials=keys, **named)


BODY = json.dumps({"TaskToken": "token", "Input": {"id": 7}})


def outcome(handler: Callable[..., Any], tasks: StepFunctions, body: str = BODY, **options: Any) -> Outcome:
    return run_handler(handler, body, envelope=tasks, **options).outcome


@pytest.mark.parametrize(
    ("result", "output"),
    [
        (None, None),
        ({"total": 3}, {"total": 3}),
        ("text", "text"),
        (0, 0),
        ([Order(1)], [{"id": 1}]),
        (OrderStruct(2), {"id": 2}),
        (OrderModel(id=3), {"id": 3}),
    ],
    ids=repr,
)
@pytest.mark.parametrize("kind", ["async def", "def"])
def test_what_the_handler_returns_is_the_output(
    result: Any, output: Any, kind: str, server: Server, tasks: StepFunctions
) -> None:
    async def handle(order: Order) -> Any:
        assert order == Order(7)
        return result

    def handle_blocking(order: Order) -> Any:
        assert order == Order(7)
        return result

    assert outcome(handle if kind == "async def" else handle_blocking, tasks) == Done()
    [(operation, fields)] = server.calls
    assert operation == "SendTaskSuccess"
    assert fields["taskToken"] == "token"
    assert json.loads(fields["output"]) == output


def test_calls_are_signed_for_step_functions(server: Server, tasks: StepFunctions) -> None:
    def handle(order: Order) -> None:
        pass

    outcome(handle, tasks)
    [headers] = server.headers
    assert headers["Authorization"].startswith("AWS4-HMAC-SHA256 Credential=AKIA/")
    assert "/eu-west-1/states/aws4_request, " in headers["Authorization"]
    assert headers["Content-Type"] == "application/x-amz-json-1.0"


class NoSuchCustomer(Reject):
    pass


@pytest.mark.parametrize("kind", ["async def", "def"])
@pytest.mark.parametrize("how", ["raise", "return", "class"])
def test_a_rejection_fails_the_task_and_deletes_the_message(
    kind: str, how: str, server: Server, tasks: StepFunctions
) -> None:
    def decide() -> Any:
        if how == "raise":
            raise NoSuchCustomer("customer 7 is unknown")
        return NoSuchCustomer("customer 7 is unknown") if how == "return" else NoSuchCustomer

    async def handle(order: Order) -> Any:
        return decide()

    def handle_blocking(order: Order) -> Any:
        return decide()

    assert outcome(handle if kind == "async def" else handle_blocking, tasks) == Done()
    cause = "" if how == "class" else "customer 7 is unknown"
    assert server.calls == [
        ("SendTaskFailure", {"taskToken": "token", "error": "NoSuchCustomer", "cause": cause}),
    ]


def test_what_is_too_long_for_a_failure_is_cut(server: Server, tasks: StepFunctions) -> None:
    def handle(order: Order) -> None:
        raise Reject("x" * 100_000)

    assert outcome(handle, tasks) == Done()
    [fields] = server.named("SendTaskFailure")
    assert 30_000 <= len(fields["cause"]) <= 32_768


def test_a_failure_or_a_retry_reports_nothing(server: Server, tasks: StepFunctions) -> None:
    """The task goes on waiting; the message comes again."""

    def fails(order: Order) -> None:
        raise ValueError("no")

    def retries(order: Order) -> Retry:
        return Retry(after=5)

    async def retries_later(order: Order) -> Any:
        return Retry

    def keeps(message: Message[Order]) -> None:
        message.withhold()

    assert isinstance(outcome(fails, tasks), Failed)
    assert isinstance(outcome(retries, tasks), Retry)
    assert isinstance(outcome(retries_later, tasks), Retry)
    assert isinstance(outcome(keeps, tasks), Withheld)
    assert server.calls == []


@pytest.mark.parametrize("code", ["TaskTimedOut", "TaskDoesNotExist"])
@pytest.mark.parametrize("operation", ["SendTaskSuccess", "SendTaskFailure"])
@pytest.mark.parametrize("kind", ["async def", "def"])
def test_a_task_that_has_ended_is_skipped(
    code: str, operation: str, kind: str, server: Server, tasks: StepFunctions
) -> None:
    def decide() -> None:
        if operation == "SendTaskFailure":
            raise Reject("no")

    async def handle(order: Order) -> None:
        decide()

    def handle_blocking(order: Order) -> None:
        decide()

    server.refusals[operation] = [(400, code)]
    assert outcome(handle if kind == "async def" else handle_blocking, tasks) == Skipped(
        f"Step Functions does not wait for its task any more ({code})"
    )


@pytest.mark.parametrize("kind", ["async def", "def"])
def test_a_report_that_cannot_be_made_retries_the_message(kind: str, server: Server, tasks: StepFunctions) -> None:
    async def handle(order: Order) -> None:
        pass

    def handle_blocking(order: Order) -> None:
        pass

    server.refusals["SendTaskSuccess"] = [(400, "InvalidToken")]
    found = outcome(handle if kind == "async def" else handle_blocking, tasks)
    assert isinstance(found, Failed)
    assert str(found.error) == "SendTaskSuccess: InvalidToken (HTTP 400): no"


def test_temporary_errors_are_tried_again(server: Server, tasks: StepFunctions) -> None:
    def handle(order: Order) -> None:
        pass

    server.refusals["SendTaskSuccess"] = [(400, "ThrottlingException"), (503, "ServiceUnavailable")]
    assert outcome(handle, tasks) == Done()
    assert len(server.calls) == 3


def test_a_result_that_is_not_json_retries_the_message(server: Server, tasks: StepFunctions) -> None:
    def handle(order: Order) -> object:
        return object()

    def forgets(order: Order) -> object:
        return map(str, [1])  # has not run

    found = outcome(handle, tasks)
    assert isinstance(found, Failed)
    assert "a result with a object cannot be the output of a task, which is JSON: return a dict" in str(found.error)
    assert isinstance(outcome(forgets, tasks), Failed)
    assert server.calls == []


def test_an_early_ack_may_be_what_the_handler_returns(server: Server, tasks: StepFunctions) -> None:
    def handle(message: Message[Order]) -> Any:
        return message.ack()

    assert run_handler(handle, BODY, envelope=tasks).acked
    assert [fields["output"] for fields in server.named("SendTaskSuccess")] == ["null"]


def test_middleware_runs_inside_of_the_report(server: Server, tasks: StepFunctions) -> None:
    def doubled(message: Message[Order], call_next: Callable[[Message[Order]], int]) -> int:
        return 2 * call_next(message)

    def handle(order: Order) -> int:
        return order.id

    assert outcome(handle, tasks, middleware=[doubled]) == Done()
    assert [fields["output"] for fields in server.named("SendTaskSuccess")] == ["14"]


# Heartbeats


@pytest.mark.parametrize("kind", ["async def", "def"])
def test_a_long_handler_keeps_its_task_alive(kind: str, server: Server, tasks: StepFunctions) -> None:
    """Also one that blocks its event loop: heartbeats are sent from another thread."""

    def wait() -> None:
        for _ in range(2):
            assert server.beaten.acquire(timeout=PATIENCE)

    async def handle(order: Order) -> None:
        wait()

    def handle_blocking(order: Order) -> None:
        wait()

    body = json.dumps({"TaskToken": "token", "Input": {"id": 7}, "HeartbeatSeconds": 0.9})
    assert outcome(handle if kind == "async def" else handle_blocking, tasks, body) == Done()
    assert len(server.named("SendTaskHeartbeat")) >= 2
    assert server.named("SendTaskHeartbeat")[0] == {"taskToken": "token"}
    assert server.calls[-1][0] == "SendTaskSuccess"


def test_heartbeats_end_with_the_handler(server: Server, tasks: StepFunctions) -> None:
    def fails(order: Order) -> None:
        assert server.beaten.acquire(timeout=PATIENCE)
        raise ValueError("no")

    body = json.dumps({"TaskToken": "token", "Input": {"id": 7}, "HeartbeatSeconds": 0.9})
    assert isinstance(outcome(fails, tasks, body), Failed)
    while server.beaten.acquire(timeout=0.1):  # those that came before the handler's end was noticed
        pass
    assert not server.beaten.acquire(timeout=1.0)  # three times the interval


@pytest.mark.parametrize("kind", ["async def", "def"])
def test_a_heartbeat_that_finds_the_task_ended_says_so_at_the_end(
    kind: str, server: Server, tasks: StepFunctions
) -> None:
    server.refusals["SendTaskHeartbeat"] = [(400, "TaskTimedOut")]

    async def handle(order: Order) -> None:
        assert await asyncio.to_thread(server.beaten.acquire, timeout=PATIENCE)
        await asyncio.to_thread(server.beaten.acquire, timeout=1.0)

    def handle_blocking(order: Order) -> None:
        assert server.beaten.acquire(timeout=PATIENCE)
        assert not server.beaten.acquire(timeout=1.0)

    body = json.dumps({"TaskToken": "token", "Input": {"id": 7}, "HeartbeatSeconds": 0.9})
    found = outcome(handle if kind == "async def" else handle_blocking, tasks, body)
    assert found == Skipped("Step Functions does not wait for its task any more (TaskTimedOut)")
    assert server.named("SendTaskSuccess") == []


def test_a_heartbeat_that_fails_is_followed_by_the_next(
    server: Server, tasks: StepFunctions, caplog: pytest.LogCaptureFixture
) -> None:
    server.refusals["SendTaskHeartbeat"] = [(400, "AccessDeniedException")]

    def handle(order: Order) -> None:
        for _ in range(2):
            assert server.beaten.acquire(timeout=PATIENCE)

    body = json.dumps({"TaskToken": "token", "Input": {"id": 7}, "HeartbeatSeconds": 0.9})
    assert outcome(handle, tasks, body) == Done()
    assert "a heartbeat of a task of Step Functions failed: SendTaskHeartbeat: AccessDenied" in caplog.text


def test_no_heartbeat_is_sent_where_none_is_expected(server: Server, tasks: StepFunctions) -> None:
    def handle(order: Order) -> None:
        assert not server.beaten.acquire(timeout=1.5)

    assert outcome(handle, tasks) == Done()


# Where the fields are


@pytest.mark.parametrize(
    ("fields", "body"),
    [
        (("token", "order"), {"token": "t", "order": {"id": 7}}),
        (("meta.token", "payload.order"), {"meta": {"token": "t"}, "payload": {"order": {"id": 7}}}),
        (("token", None), {"token": "t", "id": 7}),
    ],
)
def test_the_fields_are_where_the_state_puts_them(fields: Any, body: Any, server: Server) -> None:
    def handle(message: Message[Order]) -> None:
        assert message.body == Order(7)
        assert isinstance(message.envelopes[0], StepFunctionsTask)
        assert "'t'" not in repr(message.envelopes[0])

    assert outcome(handle, to(server, *fields), json.dumps(body)) == Done()
    assert [call["taskToken"] for call in server.named("SendTaskSuccess")] == ["t"]


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"Input": {}}, "it has no text in TaskToken"),
        ({"TaskToken": 7, "Input": {}}, "it has no text in TaskToken"),
        ({"TaskToken": "t"}, "it has nothing in Input"),
        ([], "it has no text in TaskToken"),
    ],
)
def test_a_body_without_a_task_is_rejected(body: Any, words: str, tasks: StepFunctions) -> None:
    def handle(order: Order) -> None:
        raise AssertionError

    found = outcome(handle, tasks, json.dumps(body))
    assert isinstance(found, Reject)
    assert found.reason == f"its body cannot be opened by StepFunctions, which the option envelope names: {words}"


@pytest.mark.parametrize("arguments", [{"token": ""}, {"token": None}, {"body": 7}, {"heartbeat": ""}], ids=str)
def test_fields_that_are_no_names_are_refused(arguments: Any) -> None:
    [name] = arguments
    with pytest.raises(ConfigurationError, match=rf"StepFunctions\({name}=.*\): must be the name of a field"):
        StepFunctions(**arguments)


def test_a_task_cannot_be_in_a_batch(tasks: StepFunctions) -> None:
    def handle(batch: Batch[Order]) -> None:
        pass

    with pytest.raises(ConfigurationError, match="each task has a result, so it cannot be in a batch"):
        Consumer("orders", handle, batch=10, envelope=tasks)


# Connections


def test_the_connections_are_closed_when_idle_and_opened_again(server: Server, tasks: StepFunctions) -> None:
    def handle(order: Order) -> None:
        pass

    for _ in range(2):
        for _ in range(5):
            assert outcome(handle, tasks) == Done()
        threads = [each for each in threading.enumerate() if each.name == "leasekeeper-tasks"]
        assert len(threads) <= 1
        for thread in threads:
            thread.join(PATIENCE)
            assert not thread.is_alive()
    assert len(server.calls) == 10


def test_credentials_that_cannot_be_found_retry_the_message(server: Server) -> None:
    def no_credentials() -> Credentials:
        raise LookupError("the vault is sealed")

    tasks = StepFunctions(endpoint_url=server.url, region="eu-west-1", credentials=no_credentials)

    def handle(order: Order) -> None:
        pass

    for _ in range(2):
        found = outcome(handle, tasks)
        assert isinstance(found, Failed)
        assert "the vault is sealed" in str(found.error)


@virtual
async def test_a_message_that_becomes_a_dead_letter_fails_its_task(server: Server, tasks: StepFunctions) -> None:
    """Its state machine would wait for nothing."""

    async def fails(order: Order) -> None:
        raise ValueError("the warehouse is closed")

    async with World(max_receives=5) as world:
        await world.send(BODY)
        await world.start(fails, envelope=tasks, max_attempts=2)
        await world.until(lambda: world.bodies("orders-dead"), within=600)
    wait_until(lambda: server.named("SendTaskFailure"))
    assert server.named("SendTaskFailure") == [
        {"taskToken": "token", "error": "ValueError", "cause": "the warehouse is closed"}
    ]


def wait_until(condition: Callable[[], object]) -> None:
    pause, end = threading.Event(), time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end
        pause.wait(0.01)
