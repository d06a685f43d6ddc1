"""Django itself: its command, its connections, and its tasks over the local SQS."""

from __future__ import annotations

import asyncio
import os
import sys
import threading
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from leasekeeper import ConfigurationError, Consumer, Leasekeeper, Reject
from leasekeeper.api import Credentials
from leasekeeper.errors import QueueUnusable
from leasekeeper.local import LocalSqs
from leasekeeper.sqs.client import SqsClient
from leasekeeper.sqs.settings import ClientSettings
from leasekeeper.testing.handling import run_handler

if TYPE_CHECKING:
    from collections.abc import Iterator

PROJECT = Path(__file__).parents[2] / "examples" / "django_shop"


@pytest.fixture(scope="module", autouse=True)
def django() -> Iterator[None]:
    """The project, set up in this process."""
    sys.path.insert(0, str(PROJECT))
    os.environ["DJANGO_SETTINGS_MODULE"] = "shop.settings"
    from leasekeeper.contrib.django import prepare

    prepare()
    yield
    sys.path.remove(str(PROJECT))
    del os.environ["DJANGO_SETTINGS_MODULE"]


@pytest.fixture
def sqs(monkeypatch: pytest.MonkeyPatch) -> Iterator[LocalSqs]:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")
    with LocalSqs() as sqs:
        monkeypatch.setenv("AWS_ENDPOINT_URL_SQS", sqs.endpoint_url)
        _forget_backends()
        asyncio.run(_create(sqs, "orders", "shop-default", "shop-urgent"))
        yield sqs


def _forget_backends() -> None:
    """Let Django make new backends: those of another test know its endpoint."""
    from django.core.signals import setting_changed

    setting_changed.send(None, setting="TASKS", value=None, enter=True)


async def _client(sqs: LocalSqs) -> SqsClient:
    keys = Credentials(access_key="test", secret_key="test")
    return await SqsClient.connect(ClientSettings(endpoint_url=sqs.endpoint_url, region="eu-west-1", credentials=keys))


async def _create(sqs: LocalSqs, *names: str) -> None:
    async with await _client(sqs) as client:
        for name in names:
            await client.create_queue(name)


def bodies(sqs: LocalSqs, queue: str) -> list[Any]:
    async def receive() -> list[Any]:
        async with await _client(sqs) as client:
            return await client.receive(await client.queue_url(queue), maximum=10, wait=0, visibility=0)

    return [each.body for each in asyncio.run(receive())]


class Connection:
    """Notes when Django closes what is too old."""

    def __init__(self) -> None:
        self.closed = 0

    def close_if_unusable_or_obsolete(self) -> None:
        self.closed += 1


@pytest.mark.parametrize("kind", ["def", "async def"])
def test_old_connections_are_closed_before_and_after_each_run(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from django import db

    from leasekeeper.contrib.django import DjangoConnections

    connection, counts = Connection(), []
    monkeypatch.setattr(db.connections, "all", lambda **_: [connection])

    def plain(body: str) -> None:
        counts.append(connection.closed)
        if body == "bad":
            raise ValueError

    async def coroutine(body: str) -> None:
        plain(body)

    handler = plain if kind == "def" else coroutine
    consumer = Consumer("orders", handler, middleware=[DjangoConnections()], region="eu-west-1")
    run_handler(consumer, "good")
    run_handler(consumer, "bad")
    assert (counts, connection.closed) == ([1, 3], 4)


def test_a_target_is_prepared_once() -> None:
    from leasekeeper.contrib.django import DjangoConnections, prepare

    app = Leasekeeper(region="eu-west-1")

    @app.consumer("orders")
    def handle(body: str) -> None: ...

    prepare(app)
    prepare(app)
    assert [type(each) for each in app.consumers[0].options.middleware] == [DjangoConnections]


def test_a_task_is_sent_and_run_with_its_arguments(sqs: LocalSqs) -> None:
    from django_tasks.signals import task_enqueued, task_finished, task_started
    from shop import tasks

    from leasekeeper.contrib.django.tasks import make_app

    heard: list[str] = []

    def hear(sender: type, task_result: Any, **_: Any) -> None:
        heard.append(f"{task_result.task.name} {task_result.status}")

    for signal in (task_enqueued, task_started, task_finished):
        signal.connect(hear)
    tasks.done.clear()
    result = tasks.add.enqueue(1, 2, note="x")
    told = asyncio.run(tasks.tell.aenqueue("ann"))
    app = make_app()
    default, urgent = bodies(sqs, "shop-default"), bodies(sqs, "shop-urgent")
    by_queue = {each.address.name: each for each in app.consumers}
    assert run_handler(by_queue["shop-default"], default[0]).acked
    assert run_handler(by_queue["shop-urgent"], urgent[0], receive_count=3).acked
    assert tasks.done == [(3, "x"), ("ann", 3, told.id)]
    assert result.status == "READY"
    assert heard == [
        "add READY",
        "tell READY",
        "add RUNNING",
        "add SUCCESSFUL",
        "tell RUNNING",
        "tell SUCCESSFUL",
    ]
    for signal in (task_enqueued, task_started, task_finished):
        signal.disconnect(hear)


@pytest.mark.parametrize("kind", ["enqueue", "aenqueue"])
def test_a_task_is_sent_after_one_that_found_no_queue(sqs: LocalSqs, kind: str) -> None:
    from shop import tasks

    def enqueue() -> None:
        if kind == "enqueue":
            tasks.add.enqueue(1, 2)
        else:
            asyncio.run(tasks.add.aenqueue(1, 2))

    queue = sqs.broker.account.queues.pop("shop-default")
    with pytest.raises(QueueUnusable):
        enqueue()
    sqs.broker.account.queues["shop-default"] = queue
    enqueue()
    assert len(queue.contents()) == 1


def test_all_threads_of_a_process_send_through_one_sender(sqs: LocalSqs) -> None:
    from shop import tasks

    def senders() -> list[str]:
        return [each.name for each in threading.enumerate() if each.name == "leasekeeper-send-shop-default"]

    before = len(senders())
    for _ in range(3):  # as a web server that makes a thread for each request
        thread = threading.Thread(target=tasks.add.enqueue, args=(1, 2))
        thread.start()
        thread.join()
    assert len(senders()) <= before + 1
    assert len(sqs.broker.account.queues["shop-default"].contents()) == 3


def test_queues_share_handlers_in_the_order_of_the_settings() -> None:
    from leasekeeper.contrib.django.tasks import make_app

    urgent, default = make_app().consumers
    assert (urgent.address.name, urgent.options.priority) == ("shop-urgent", 1)
    assert (default.address.name, default.options.priority) == ("shop-default", 2)
    assert urgent.options.share is default.options.share is not None
    assert urgent.options.concurrency == 4


def test_a_task_is_delayed_by_sqs_up_to_15_minutes(sqs: LocalSqs) -> None:
    from django.utils import timezone
    from shop import tasks

    from leasekeeper.contrib.django.api import InvalidTaskError

    now = timezone.now()
    tasks.add.using(run_after=now + timedelta(minutes=10)).enqueue(1, 2)
    queue = sqs.broker.account.queues["shop-default"]
    assert bodies(sqs, "shop-default") == []
    assert len(queue.contents()) == 1
    with pytest.raises(InvalidTaskError, match="SQS can delay a message by 15 minutes at most"):
        tasks.add.using(run_after=now + timedelta(hours=1)).enqueue(1, 2)
    with pytest.raises(InvalidTaskError, match="its arguments cannot be written as JSON"):
        tasks.add.enqueue(object(), 2)


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("shop.tasks.gone", "task 'shop.tasks.gone' does not exist"),
        ("shop.tasks.no_task", "'shop.tasks.no_task' is not a task: decorate the function with @task"),
        ("antigravity.main", "task 'antigravity.main' is in no installed app"),
        ("shop.tasks.refuse", "said no"),
    ],
)
def test_what_is_no_task_is_rejected(path: str, reason: str) -> None:
    from leasekeeper.contrib.django.tasks import make_app

    body = {"task": path, "id": "1", "args": ["said no"], "kwargs": {}}
    handled = run_handler(make_app().consumers[1], body)
    assert handled.rejected
    assert reason in str(handled.error)
    assert isinstance(handled.error, Reject)
    assert "antigravity" not in sys.modules


def test_settings_that_cannot_work_are_refused() -> None:
    from django.core.exceptions import ImproperlyConfigured

    from leasekeeper.contrib.django import SqsBackend

    for options, sentence in (
        ({"wait_tme": 4, "region": "eu-west-1"}, r"TASKS\['default'\]: unknown option 'wait_tme'"),
        ({"queues": {"default": "tasks.fifo"}, "region": "eu-west-1"}, "is a FIFO queue, and tasks have no order"),
    ):
        with pytest.raises(ImproperlyConfigured, match=sentence):
            SqsBackend("default", {"OPTIONS": options})


def test_a_project_without_a_backend_has_no_tasks(settings_without_tasks: None) -> None:
    from leasekeeper.contrib.django.tasks import make_app

    with pytest.raises(ConfigurationError, match="TASKS has no backend 'leasekeeper"):
        make_app()


@pytest.fixture
def settings_without_tasks() -> Iterator[None]:
    from django.test import override_settings

    with override_settings(TASKS={"default": {"BACKEND": "django_tasks.backends.dummy.DummyBackend"}}):
        yield
