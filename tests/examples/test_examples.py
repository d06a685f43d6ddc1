"""Every example runs as its text says: in a separate process, against the built-in SQS, with messages from boto3."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import runpy
import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from example_kit import EXAMPLES, FAKE, Queue, lines_until

from leasekeeper.local import LocalSqs

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytestmark = pytest.mark.slow


@pytest.fixture
def sqs(monkeypatch: pytest.MonkeyPatch) -> Iterator[LocalSqs]:
    for name, value in FAKE.items():
        monkeypatch.setenv(name, value)
    with LocalSqs() as server:
        monkeypatch.setenv("AWS_ENDPOINT_URL_SQS", server.endpoint_url)
        yield server


def test_hello(sqs: LocalSqs) -> None:
    queue = Queue("orders")
    queue.put('{"id": 1, "items": ["tea", "honey"]}')
    printed = lines_until([sys.executable, "hello.py"], {"order 1: tea, honey (receive 1)"}, fresh=True)
    assert "1 received: 1 done" in printed
    assert "INFO queue orders: consuming, up to 50 " in printed
    assert "botocore" not in printed
    assert queue.left() == (0, 0)


@pytest.mark.skipif(sys.platform != "linux", reason="the keeper needs Linux")
def test_keeper(sqs: LocalSqs) -> None:
    queue = Queue("documents")
    queue.put("manual")
    printed = lines_until([sys.executable, "keeper.py"], {"manual: lease lost: False"})
    assert "manual: receive 1" in printed
    assert queue.left() == (0, 0)


def test_shop(sqs: LocalSqs) -> None:
    dead = Queue("dead")
    orders = Queue("orders", RedrivePolicy=f'{{"deadLetterTargetArn": "{dead.arn}", "maxReceiveCount": 5}}')
    orders.put(
        '{"id": 1, "customer": "ann"}', '{"id": 2, "customer": "unknown"}', '{"id": 3, "customer": "x", "paid": false}'
    )
    thumbnails = Queue("thumbnails")
    thumbnails.put("a picture")
    command = [str(Path(sys.executable).with_name("leasekeeper")), "run", "shop:app"]
    lines_until(command, {"shipped 1", f"thumbnail {hashlib.sha256(b'a picture').hexdigest()[:12]}"})
    assert orders.left() == (0, 1)  # the unpaid one, hidden for a minute
    assert dead.left() == (1, 0)  # the one of the unknown customer
    assert thumbnails.left() == (0, 0)


def test_long_handlers(sqs: LocalSqs, monkeypatch: pytest.MonkeyPatch) -> None:
    """Outside ECS it says that nothing protects it, and works."""
    monkeypatch.delenv("ECS_AGENT_URI", raising=False)
    queue = Queue("films")
    queue.put('{"title": "Metropolis", "seconds": 0.01}')
    command = [str(Path(sys.executable).with_name("leasekeeper")), "run", "long_handlers:app"]
    printed = lines_until(command, {"rendered Metropolis"})
    assert "ECS_AGENT_URI is not set" in printed
    assert queue.left() == (0, 0)


def test_early_ack(sqs: LocalSqs) -> None:
    """What fails after the ack does not bring the message back."""
    queue = Queue("charges")
    queue.put("ann", "bob")
    printed = lines_until([sys.executable, "early_ack.py"], {"charged ann", "sent a receipt to ann", "charged bob"})
    assert "may be delivered again" not in printed
    assert queue.left() == (0, 0)


def test_retries(sqs: LocalSqs) -> None:
    """Each error follows its rule, and what fails for good is in the dead-letter queue with the reason."""
    dead = Queue("dead")
    queue = Queue("shipments", RedrivePolicy=f'{{"deadLetterTargetArn": "{dead.arn}", "maxReceiveCount": 9}}')
    queue.put("busy", "offline", "nowhere", "broken")
    expected = {"busy: shipped", "offline: shipped", "broken: attempt 4"}
    printed = lines_until([sys.executable, "retries.py"], expected)
    assert queue.left() == (0, 0)
    assert "busy: attempt 2" in printed
    assert "nowhere: attempt 2" not in printed
    received = dead.client.receive_message(QueueUrl=dead.url, MaxNumberOfMessages=10, MessageAttributeNames=["All"])[
        "Messages"
    ]
    failures = {
        message["Body"]: json.loads(message["MessageAttributes"]["leasekeeper.failure"]["StringValue"])
        for message in received
    }
    assert {body: (each["reason"], each["error"], each["attempts"]) for body, each in failures.items()} == {
        "nowhere": ("rejected", "NoSuchAddress", 1),
        "broken": ("exhausted", "RuntimeError", 4),
    }


def test_fifo(sqs: LocalSqs) -> None:
    """The failed event of an order is repeated before the next one, and the other order does not wait."""
    queue = Queue("orders.fifo", FifoQueue="true", ContentBasedDeduplication="true")
    for order, status in (("tea", "new"), ("tea", "paid"), ("tea", "shipped"), ("honey", "new")):
        body = json.dumps({"order": order, "status": status})
        queue.client.send_message(QueueUrl=queue.url, MessageBody=body, MessageGroupId=order)
    printed = lines_until([sys.executable, "fifo.py"], {"tea: shipped (attempt 1)"}).splitlines()
    tea = [line for line in printed if line.startswith("tea")]
    assert tea[0] == "tea: new (attempt 1)"
    assert tea[2:] == ["tea: paid (attempt 2)", "tea: shipped (attempt 1)"]
    assert printed.index("honey: new (attempt 1)") < printed.index("tea: paid (attempt 2)")
    assert queue.left() == (0, 0)


def test_middleware(sqs: LocalSqs) -> None:
    queue = Queue("notes")
    queue.put("spam: buy", "milk")
    expected = {"spam: buy: dropped", "spam: buy: quick", "milk: handled", "milk: quick"}
    lines_until([sys.executable, "middleware.py"], expected)
    assert queue.left() == (0, 0)


def test_outbox(sqs: LocalSqs, monkeypatch: pytest.MonkeyPatch, database: Callable[[str], str]) -> None:
    shipped = Queue("shipped")
    monkeypatch.setenv("DATABASE_URL", database("example"))
    printed = lines_until([sys.executable, "outbox.py"], {"order 1 was shipped", "order 3 was shipped"})
    assert "order 2 is rolled back" in printed
    assert "order 2 was shipped" not in printed
    assert shipped.left() == (0, 0)


def test_idempotency(sqs: LocalSqs) -> None:
    """Of two messages for one payment one is charged, and both are deleted."""
    queue = Queue("payments")
    queue.put(*['{"payment_id": 1, "amount": 5}'] * 2, '{"payment_id": 2, "amount": 7}')
    expected = {"charge 5 for payment 1", "charge 7 for payment 2"}
    printed = lines_until([sys.executable, "idempotency.py"], expected)
    assert printed.count("charge 5 for payment 1") == 1
    assert queue.left() == (0, 0)


def test_payloads() -> None:
    command = [sys.executable, "payloads.py"]
    environment = {**os.environ, **FAKE}
    done = subprocess.run(
        command, cwd=EXAMPLES, capture_output=True, text=True, timeout=60, check=True, env=environment
    )
    assert done.stdout.splitlines() == ["a document of 2,097,152 characters, 1 object in S3", "0 objects in S3"]


def test_lifespan(sqs: LocalSqs) -> None:
    """Opened before the first message, closed after the last."""
    orders, cancellations = Queue("orders"), Queue("cancellations")
    orders.put('{"id": 1, "item": "tea"}', '{"id": 2, "item": "honey"}')
    cancellations.put("3")
    command = [str(Path(sys.executable).with_name("leasekeeper")), "run", "lifespan:app"]
    expected = {f"mail: order {number} is stored (receive 1)" for number in (1, 2)} | {"order 3 is cancelled"}
    printed = lines_until(command, expected)
    lines = [line for line in printed.splitlines() if "mail" in line or "stored" in line or "order 3" in line]
    assert (lines[0], *lines[-2:]) == ("mailer open", "2 orders stored", "mailer closed")
    assert orders.left() == cancellations.left() == (0, 0)


def test_sender(sqs: LocalSqs) -> None:
    queue = Queue("orders")
    printed = subprocess.check_output([sys.executable, "sender.py"], cwd=EXAMPLES, text=True, timeout=60)
    assert "15 messages in 2 calls" in printed
    assert queue.left() == (15, 0)


def test_worker_processes(sqs: LocalSqs) -> None:
    dead = Queue("primes-dead")
    policy = json.dumps({"deadLetterTargetArn": dead.arn, "maxReceiveCount": 5})
    Queue("primes", RedrivePolicy=policy).put("100", "crash", "1000")
    lines_until([sys.executable, "worker_processes.py"], {"25 primes below 100", "168 primes below 1000"})


def test_process_batches(sqs: LocalSqs) -> None:
    """A crash ends the worker of four messages; halves find the one that did it, and the others are done at once."""
    dead = Queue("measurements-dead")
    policy = json.dumps({"deadLetterTargetArn": dead.arn, "maxReceiveCount": 5})
    queue = Queue("measurements", RedrivePolicy=policy)
    queue.put(*(json.dumps({"degrees": degrees}) for degrees in (20, -300, 20, 20)))
    lines_until([sys.executable, "process_batches.py"], {"average of 2: 20.0 degrees", "average of 1: 20.0 degrees"})
    assert sum(queue.left()) + sum(dead.left()) == 1


def test_batches(sqs: LocalSqs) -> None:
    """The event that the table refuses is found by halves; the unknown customer is rejected; the rest is stored."""
    dead = Queue("dead")
    queue = Queue("events", RedrivePolicy=f'{{"deadLetterTargetArn": "{dead.arn}", "maxReceiveCount": 5}}')
    good = [f'{{"customer": "ann", "amount": {amount}}}' for amount in (1, 2, 3)]
    queue.put(*good, '{"customer": "unknown", "amount": 1}', '{"customer": "ann", "amount": 0}')
    printed = lines_until([sys.executable, "batches.py"], {"stored 2 of 2", "stored 1 of 1"})
    assert "complete by wait" in printed
    assert dead.left() == (1, 0)
    assert sum(queue.left()) == 1  # the one that the table refuses: hidden for its back-off, or visible after it


def test_routing(sqs: LocalSqs) -> None:
    """Each message runs in the first handler that takes it."""
    queue = Queue("orders")
    queue.put('{"type": "created", "id": 1}', '{"type": "cancelled", "id": 2}', '{"type": "paid", "id": 3}')
    high = {"priority": {"DataType": "String", "StringValue": "high"}}
    body = '{"type": "created", "id": 4}'
    queue.client.send_message(QueueUrl=queue.url, MessageBody=body, MessageAttributes=high)
    command = [str(Path(sys.executable).with_name("leasekeeper")), "run", "routing:app"]
    lines_until(command, {"store 1", "cancel 2", 'not known here: {"type": "paid", "id": 3}', "rush 4"})
    assert queue.left() == (0, 0)


def test_several_queues(sqs: LocalSqs) -> None:
    """Every queue is consumed, the overloaded model gets its pause, and the question is answered afterwards."""
    urgent, reports, prompts = Queue("urgent"), Queue("reports"), Queue("prompts")
    urgent.put("a customer waits")
    reports.put("monthly")
    for tenant, question in (("ann", "one?"), ("ann", "two?"), ("bob", "what is everything?")):
        prompts.client.send_message(QueueUrl=prompts.url, MessageBody=question, MessageGroupId=tenant)
    command = [str(Path(sys.executable).with_name("leasekeeper")), "run", "several_queues:app"]
    expected = {"urgent: a customer waits", "report: monthly", "prompts: paused", "bob: 42"}
    printed = lines_until(command, expected)
    assert printed.count("ann: 42") == 2
    assert printed.index("prompts: paused") < printed.index("bob: 42")
    assert "queue prompts: paused" in printed
    assert [queue.left() for queue in (urgent, reports, prompts)] == [(0, 0)] * 3


def golden(name: str) -> str:
    """A body as a service sends it; the tests of envelopes have them."""
    return (EXAMPLES.parent / "tests" / "envelopes" / "golden" / f"{name}.json").read_text()


def test_envelopes(sqs: LocalSqs) -> None:
    """Notifications, events and S3 by three ways reach their handlers; the test event of S3 reaches none."""
    orders, audit, uploads = Queue("orders"), Queue("audit"), Queue("uploads")
    orders.put(golden("sns"))
    audit.put(golden("eventbridge"))
    uploads.put(*map(golden, ("s3_test_event", "s3_put", "s3_in_sns", "s3_eventbridge_brackets")))
    command = [str(Path(sys.executable).with_name("leasekeeper")), "run", "envelopes:app"]
    printed = lines_until(
        command,
        {
            "shipped 7 for ann (an order)",
            "OrderPlaced 7 of com.example.shop",
            "ObjectCreated:Copy s3://shop-uploads/red flower+(1).jpg",
            "ObjectCreated:Put s3://shop-uploads/a+b c/é.txt",
        },
    )
    assert printed.count("ObjectCreated:Put") == 2
    assert [queue.left() for queue in (orders, audit, uploads)] == [(0, 0)] * 3


def test_logs(sqs: LocalSqs) -> None:
    """What the handler logs names its message."""
    queue = Queue("orders")
    queue.put("tea")
    printed = lines_until([sys.executable, "logs.py"], {'"event": "shipping"'})
    [line] = [json.loads(each) for each in printed.splitlines() if each.startswith("{")]
    assert (line["parcel"], line["queue"], line["handler"], line["attempt"]) == ("tea", "orders", "ship", 1)


def test_tracing(sqs: LocalSqs) -> None:
    """The span of what the handler does is inside the span of its message."""
    queue = Queue("orders")
    queue.put("tea")
    printed = lines_until([sys.executable, "tracing.py"], {"shipping tea", "process orders"})
    spans = {}
    while "{" in printed:
        found, end = json.JSONDecoder().raw_decode(printed, start := printed.index("{"))
        spans[found["name"]] = found
        printed = printed[end if end > start else start + 1 :]
    assert spans["query the stock"]["parent_id"] == spans["process orders"]["context"]["span_id"]
    assert spans["process orders"]["kind"] == "SpanKind.CONSUMER"


def test_monitor(sqs: LocalSqs) -> None:
    """A refused delete raises the alarm; the statistics are lines of JSON."""
    queue = Queue("orders")
    queue.put("tea")
    sqs.faults.next("DeleteMessageBatch", deny=1.0)
    expected = {"shipping tea", "ALARM: orders is unhealthy"}
    printed = lines_until([sys.executable, "monitor.py"], expected)
    assert "allow sqs:DeleteMessage on this queue" in printed
    statistics = [json.loads(line) for line in printed.splitlines() if line.startswith("{")]
    assert statistics
    assert {(each["queue"], each["concurrency"]) for each in statistics} == {("orders", 20)}
    assert "1 received: 1 unsettled" in printed


def test_admin(sqs: LocalSqs, monkeypatch: pytest.MonkeyPatch) -> None:
    """It serves health, statistics and metrics around its run."""
    queue = Queue("orders")
    queue.put("tea")
    namespace = runpy.run_path(str(EXAMPLES / "admin.py"))
    app = namespace["app"]
    with namespace["AdminServer"](app, address="0") as server:
        app.start()
        try:
            with urllib.request.urlopen(f"{server.url}/readyz") as answer:
                assert json.load(answer) == {"ready": True, "reasons": []}
            with urllib.request.urlopen(f"{server.url}/metrics") as answer:
                assert b'leasekeeper_concurrency_limit{consumer="ship",queue="orders"} 10.0' in answer.read()
        finally:
            app.stop().result()
    queue.put("a cup")
    monkeypatch.setenv("ADMIN", "0")
    printed = lines_until([sys.executable, "admin.py"], {"look at http://127.0.0.1:", "shipping a cup"})
    assert "queue orders: " in printed


def test_in_process() -> None:
    done = subprocess.run(
        [sys.executable, "in_process.py"],
        cwd=EXAMPLES,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
        env={**os.environ, **FAKE},
    )
    assert done.stdout.startswith("100 squares, the largest 9801")


def test_web(sqs: LocalSqs) -> None:
    """The lifespan starts the consumer and drains it; handlers run on the web app's loop."""
    queue = Queue("orders")
    queue.put('{"id": 1}')
    example = runpy.run_path(str(EXAMPLES / "web.py"))

    async def serve() -> list[tuple[int, bytes]]:
        app = example["app"]
        async with app.router.lifespan_context(app):
            fresh = await _get(app, "/statistics")  # all of it is JSON, before the first message too
            while not example["seen"]:  # noqa: ASYNC110 - the example has no event to wait for
                await asyncio.sleep(0)
            return [fresh, await _get(app, "/health")]

    (fresh, statistics), health = asyncio.run(serve())
    assert (fresh, json.loads(statistics)["queue"]) == (200, "orders")
    assert health == (200, b'{"ready":true,"seen":1}')
    assert queue.left() == (0, 0)


async def _get(app: Any, path: str) -> tuple[int, bytes]:
    """One ASGI request, without a server."""
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(event: dict[str, Any]) -> None:
        sent.append(event)

    scope = {
        "type": "http",
        "method": "GET",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "headers": [],
        "http_version": "1.1",
        "scheme": "http",
        "server": ("test", 80),
        "client": ("test", 1),
        "root_path": "",
        "app": app,
    }
    await app(scope, receive, send)
    return sent[0]["status"], b"".join(event.get("body", b"") for event in sent[1:])


def test_every_example_has_a_test() -> None:
    tests = "".join(path.read_text() for path in Path(__file__).parent.glob("test_*.py"))
    assert [path.name for path in sorted(EXAMPLES.glob("*.py")) if path.stem not in tests] == []
