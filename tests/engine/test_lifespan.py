"""Lifespans: opened before the first poll, closed after the last ack, on the loop of coroutine handlers."""

from __future__ import annotations

import asyncio
import gc
import itertools
import logging
import threading
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest

from leasekeeper import Closed, ConfigurationError, Consumer, Leasekeeper, LifespanError, QueueUnusable

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

    from leasekeeper.local import LocalSqs

pytestmark = pytest.mark.slow
NUMBERS = itertools.count()


class Queue:
    """A queue on the server."""

    def __init__(self, server: LocalSqs) -> None:
        self.server = server
        self.name = f"orders-{next(NUMBERS)}"
        self.options: dict[str, Any] = {
            "endpoint_url": server.endpoint_url,
            "region": "us-east-1",
            "wait_time": 1,
            "poll_grace": 0.1,
            "lifespan_timeout": 0.2,
        }
        self.server.call("CreateQueue", QueueName=self.name)

    def send(self, *bodies: str) -> None:
        url = self.server.broker.account.url(self.server.broker.account.queues[self.name])
        for body in bodies:
            self.server.call("SendMessage", QueueUrl=url, MessageBody=body)

    @property
    def left(self) -> int:
        return len(self.server.broker.account.queues[self.name])


@pytest.fixture
def orders(server: LocalSqs) -> Queue:
    return Queue(server)


class Db:
    """What the lifespan yields."""

    def __init__(self) -> None:
        self.open = True


@dataclass
class Story:
    """A lifespan, and handlers that use what it yields."""

    queues: tuple[Queue, ...]
    dbs: list[Db] = field(default_factory=list)
    owners: list[object] = field(default_factory=list)
    loops: list[object] = field(default_factory=list)
    left: list[int] = field(default_factory=list)
    """Messages in the queues when the lifespan closed."""
    handled: list[str] = field(default_factory=list)
    came: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))

    @asynccontextmanager
    async def lifespan(self, owner: object) -> AsyncIterator[Db]:
        assert not any(each.open for each in self.dbs)
        self.owners.append(owner)
        self.loops.append(asyncio.get_running_loop())
        self.dbs.append(Db())
        yield self.dbs[-1]
        self.left.append(sum(queue.left for queue in self.queues))
        self.dbs[-1].open = False

    async def ship(self, body: str, db: Db) -> None:
        self.loops.append(asyncio.get_running_loop())
        self.pack(body, db)

    def pack(self, body: str, db: Db) -> None:
        assert db is self.dbs[-1]
        assert db.open
        self.handled.append(body)
        self.came.release()

    def wait_for(self, count: int) -> None:
        for _ in range(count):
            assert self.came.acquire(timeout=10)


def make(kind: str, story: Story, handler: Callable[..., Any]) -> Leasekeeper | Consumer:
    [queue] = story.queues
    if kind == "consumer":
        return Consumer(queue.name, handler, lifespan=story.lifespan, **queue.options)
    app = Leasekeeper(lifespan=story.lifespan, **queue.options)
    app.consumer(queue.name)(handler)
    return app


@pytest.mark.parametrize("way", ["synchronous", "async with", "in a loop", "run"])
@pytest.mark.parametrize("lane", ["async def", "def"])
@pytest.mark.parametrize("kind", ["app", "consumer"])
def test_it_is_open_from_before_the_first_poll_until_after_the_last_ack(
    kind: str, lane: str, way: str, orders: Queue, no_thread_left: Callable[[], bool]
) -> None:
    """Twice, because what was stopped can be started again; with one loop for the lifespan and coroutine handlers."""
    story = Story((orders,))
    service = make(kind, story, story.ship if lane == "async def" else story.pack)

    async def main() -> None:
        if way == "async with":
            async with service:
                await asyncio.to_thread(story.wait_for, 13)
        else:
            await service.start()
            await asyncio.to_thread(story.wait_for, 13)
            await service.stop()

    def stop_later() -> None:
        story.wait_for(13)
        service.request_stop()

    for turn in range(1, 3):
        orders.send(*map(str, range(13)))
        if way == "synchronous":
            service.start()
            story.wait_for(13)
            service.stop()
        elif way == "run":
            stopper = threading.Thread(target=stop_later)
            stopper.start()
            service.run()
            stopper.join()
        else:
            asyncio.run(main())
        assert story.left == [0] * turn
        assert (len(story.dbs), [db.open for db in story.dbs]) == (turn, [False] * turn)
        assert len(set(story.loops)) == 1
        story.loops.clear()
        assert story.owners == [service] * turn
        assert no_thread_left()


def test_several_consumers_share_one_which_closes_after_the_last(
    server: LocalSqs, no_thread_left: Callable[[], bool]
) -> None:
    queues = Queue(server), Queue(server)
    story = Story(queues)
    app = Leasekeeper(lifespan=story.lifespan, **queues[0].options)
    app.consumer(queues[0].name)(story.ship)
    app.consumer(queues[1].name)(story.pack)
    app.start()
    for queue in queues:
        queue.send(*map(str, range(10)))
    story.wait_for(20)
    app.consumers[0].stop()
    assert story.dbs[0].open
    reports = app.stop().result()
    assert [report.acked for report in reports] == [10, 10]
    assert (len(story.dbs), story.dbs[0].open, story.left) == (1, False, [0])
    assert no_thread_left()


def test_a_consumer_of_an_app_started_alone_opens_the_apps(orders: Queue) -> None:
    story = Story((orders,))
    app = make("app", story, story.ship)
    assert isinstance(app, Leasekeeper)
    [consumer] = app.consumers
    orders.send("1")
    consumer.start()
    story.wait_for(1)
    consumer.stop()
    assert (story.owners, story.dbs[0].open) == ([app], False)


@pytest.mark.parametrize("error", [ConnectionRefusedError("db:5432"), SystemExit(3)])
@pytest.mark.parametrize("inside", [False, True], ids=["synchronous", "in a loop"])
def test_an_error_while_it_opens_fails_the_start_and_leaves_nothing(
    error: BaseException,
    inside: bool,
    server: LocalSqs,
    caplog: pytest.LogCaptureFixture,
    no_thread_left: Callable[[], bool],
) -> None:
    queues = Queue(server), Queue(server)
    story = Story(queues)
    broken = True

    @asynccontextmanager
    async def resources(app: Leasekeeper) -> AsyncIterator[Db]:
        if broken:
            raise error
        async with story.lifespan(app) as db:
            yield db

    app = Leasekeeper(lifespan=resources, **queues[0].options)
    for queue in queues:
        queue.send("1")
        app.consumer(queue.name)(story.ship)

    async def main() -> None:
        await app.start()

    with pytest.raises(LifespanError) as failure:
        if inside:
            asyncio.run(main())
        else:
            app.start()
    name = "test_an_error_while_it_opens_fails_the_start_and_leaves_nothing.<locals>.resources"
    assert str(failure.value) == f"lifespan {name} failed to open: {type(error).__name__}: {error}"
    assert failure.value.__cause__ is error
    assert [record.getMessage() for record in caplog.records] == [
        f"lifespan {name} failed to open; nothing is received"
    ]
    assert no_thread_left()
    assert not app.ready
    assert [queue.left for queue in queues] == [1, 1]
    broken = False
    app.start()
    story.wait_for(2)
    app.stop()
    assert [queue.left for queue in queues] == [0, 0]


@pytest.mark.parametrize("inside", [False, True], ids=["synchronous", "in a loop"])
def test_a_stop_while_it_opens_cancels_it(inside: bool, orders: Queue, no_thread_left: Callable[[], bool]) -> None:
    entered, cleaned = threading.Event(), threading.Event()

    @asynccontextmanager
    async def resources(_: Leasekeeper) -> AsyncIterator[None]:
        try:
            entered.set()
            await asyncio.Event().wait()
            yield
        finally:
            cleaned.set()

    app = Leasekeeper(lifespan=resources, **orders.options)
    app.consumer(orders.name)(Story((orders,)).ship)

    async def main() -> None:
        starting = app.start()
        await asyncio.to_thread(entered.wait, 10)
        await app.stop()
        await starting

    with pytest.raises(Closed, match="was stopped while it was starting"):
        if inside:
            asyncio.run(main())
        else:
            begun = app.begin()
            assert entered.wait(60)
            app.stop()
            begun.result(60)
    assert cleaned.is_set()
    assert no_thread_left()


def test_a_start_that_times_out_while_it_opens_goes_on_no_more(
    orders: Queue, caplog: pytest.LogCaptureFixture, no_thread_left: Callable[[], bool]
) -> None:
    @asynccontextmanager
    async def resources(_: Leasekeeper) -> AsyncIterator[None]:
        await asyncio.Event().wait()
        yield

    app = Leasekeeper(lifespan=resources, **orders.options)
    app.consumer(orders.name)(Story((orders,)).ship)

    async def main() -> None:
        async with asyncio.timeout(0.05), app:
            pytest.fail("it started")

    with pytest.raises(TimeoutError):
        asyncio.run(main())
    assert no_thread_left()
    gc.collect()
    assert caplog.records == []  # asyncio logs an exception that it thinks was lost


def test_an_error_while_it_closes_is_logged_and_reported(
    orders: Queue, caplog: pytest.LogCaptureFixture, no_thread_left: Callable[[], bool]
) -> None:
    @asynccontextmanager
    async def resources(_: Leasekeeper) -> AsyncIterator[None]:
        yield
        raise OSError("the socket is gone")

    app = Leasekeeper(lifespan=resources, **orders.options)
    app.consumer(orders.name)(lambda message: None)
    app.start()
    [report] = app.stop().result()
    name = "test_an_error_while_it_closes_is_logged_and_reported.<locals>.resources"
    assert report.lifespan_error == f"lifespan {name} failed to close: OSError: the socket is gone"
    assert str(report).endswith(f" s; {report.lifespan_error}")
    [record] = caplog.records
    assert record.getMessage() == f"lifespan {name} failed to close"
    assert record.exc_info is not None
    assert no_thread_left()


@pytest.mark.parametrize("stubborn", [False, True])
def test_one_that_does_not_close_is_cancelled_and_left_behind(
    stubborn: bool,
    orders: Queue,
    caplog: pytest.LogCaptureFixture,
) -> None:
    release = threading.Event()

    @asynccontextmanager
    async def resources(_: Leasekeeper) -> AsyncIterator[None]:
        yield
        if stubborn:
            release.wait(20)
        else:
            await asyncio.Event().wait()

    class ReleaseWhenToldOf(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if "left behind" in record.getMessage():
                release.set()

    logger, listener = logging.getLogger("leasekeeper.run"), ReleaseWhenToldOf()
    logger.addHandler(listener)
    app = Leasekeeper(lifespan=resources, **orders.options)
    app.consumer(orders.name)(lambda message: None)
    app.start()
    [report] = app.stop().result()
    logger.removeHandler(listener)
    name = "test_one_that_does_not_close_is_cancelled_and_left_behind.<locals>.resources"
    how = "is left behind" if stubborn else "was cancelled"
    assert report.lifespan_error == f"lifespan {name} did not close in 0.2 s and {how}"
    assert report.lifespan_error in [record.getMessage() for record in caplog.records]


def test_it_closes_when_a_consumer_cannot_start(orders: Queue, no_thread_left: Callable[[], bool]) -> None:
    story = Story((orders,))
    app = make("app", story, story.ship)
    assert isinstance(app, Leasekeeper)
    app.consumer("no-such-queue")(story.ship)
    with pytest.raises(QueueUnusable, match="no-such-queue"):
        app.start()
    assert not any(db.open for db in story.dbs)
    assert no_thread_left()


def test_a_parameter_that_it_does_not_yield_is_refused_at_the_start(
    orders: Queue, no_thread_left: Callable[[], bool]
) -> None:
    story = Story((orders,))

    async def ship(body: str, warehouse: Story) -> None: ...

    app = make("app", story, ship)
    with pytest.raises(ConfigurationError) as refusal:
        app.start()
    assert ": parameter warehouse: Story: the lifespan yields Db; a handler takes" in str(refusal.value)
    assert not story.dbs[0].open
    assert no_thread_left()


def test_one_that_ends_with_its_loop_before_the_stop_is_reported(
    orders: Queue, caplog: pytest.LogCaptureFixture, no_thread_left: Callable[[], bool]
) -> None:
    story = Story((orders,))
    app = make("app", story, story.ship)

    async def main() -> None:
        await app.start()

    asyncio.run(main())
    app.stop()
    assert "ended before its consumers: stop them before their event loop ends" in caplog.text
    assert no_thread_left()


async def coroutine(_: Leasekeeper) -> None: ...


async def undecorated(_: Leasekeeper) -> AsyncIterator[None]:
    yield


def plain_generator(_: Leasekeeper) -> Iterator[None]:
    yield


@pytest.mark.parametrize("function", [coroutine, undecorated, plain_generator, 5])
def test_what_cannot_be_one_is_refused_at_construction(function: Any) -> None:
    name = getattr(function, "__name__", "5")
    for make_owner in (
        lambda: Leasekeeper(lifespan=function),
        lambda: Consumer("orders", lambda message: None, lifespan=function),
    ):
        with pytest.raises(ConfigurationError) as refusal:
            make_owner()
        assert str(refusal.value) == (
            f"lifespan {name} is not an async context manager: decorate an `async def` with one `yield` with "
            "@asynccontextmanager"
        )


def test_one_that_takes_no_argument_is_refused_at_construction() -> None:
    @asynccontextmanager
    async def resources() -> AsyncIterator[None]:
        yield

    with pytest.raises(ConfigurationError, match=r"resources\(\).*: must take one argument, the app or the consumer"):
        Leasekeeper(lifespan=resources)  # type: ignore[arg-type]  # the mistake that is tried


def test_one_that_is_no_async_context_manager_is_refused() -> None:
    @contextmanager
    def blocking(_: Leasekeeper) -> Iterator[None]:
        yield

    @asynccontextmanager
    async def called(_: Leasekeeper | None) -> AsyncIterator[None]:
        yield

    with pytest.raises(ConfigurationError, match=r"blocking is not an async context manager: decorate an `async def`"):
        Leasekeeper(lifespan=blocking)  # type: ignore[arg-type]  # the mistake that is tried
    with pytest.raises(ConfigurationError, match="was called already: give the function without parentheses"):
        Leasekeeper(lifespan=called(None))  # type: ignore[arg-type]  # the mistake that is tried


def test_the_consumers_of_an_app_have_its_lifespan_alone() -> None:
    app = Leasekeeper()
    with pytest.raises(ConfigurationError, match=r"queue orders with lifespan=.*Leasekeeper\(lifespan=\.\.\.\)"):
        app.consumer("orders", lifespan=print)(lambda message: None)  # type: ignore[call-arg]  # the mistake that is tried


def test_one_that_returns_no_async_context_manager_fails_the_start(orders: Queue) -> None:
    def resources(_: Leasekeeper) -> int:
        return 1

    app = Leasekeeper(lifespan=resources, **orders.options)  # type: ignore[arg-type]  # the mistake that is tried
    app.consumer(orders.name)(lambda message: None)
    with pytest.raises(
        LifespanError, match=r"failed to open: TypeError: it returned int, not an async context manager"
    ):
        app.start()


def test_a_class_may_be_one(orders: Queue) -> None:
    entered: list[object] = []

    class Resources(AbstractAsyncContextManager[None]):
        def __init__(self, app: Leasekeeper) -> None:
            self._app = app

        async def __aenter__(self) -> None:
            entered.append(self._app)

        async def __aexit__(self, *_: object) -> None:
            entered.append("left")

    app = Leasekeeper(lifespan=Resources, **orders.options)
    app.consumer(orders.name)(lambda message: None)
    app.start()
    app.stop()
    assert entered == [app, "left"]
