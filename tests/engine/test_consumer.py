"""Consumers and apps on real loops and threads, against the local SQS over HTTP: start, stop, and all in between."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, Any

import pytest

from leasekeeper import Closed, Consumer, Leasekeeper, QueueUnusable

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from leasekeeper import Report
    from leasekeeper.local import LocalSqs

pytestmark = pytest.mark.slow


class Orders:
    """A queue on the server, and a count of what was handled."""

    def __init__(self, server: LocalSqs, name: str) -> None:
        self.server = server
        self.name = name
        self.server.call("CreateQueue", QueueName=name)
        self.url = server.broker.account.url(server.broker.account.queues[name])
        self.handled: list[str] = []
        self.options: dict[str, Any] = {
            "endpoint_url": server.endpoint_url,
            "region": "us-east-1",
            "credentials": _credentials,
            "wait_time": 1,
            "poll_grace": 0.1,
        }

    def send(self, count: int) -> None:
        for number in range(count):
            self.server.call("SendMessage", QueueUrl=self.url, MessageBody=str(number))

    @property
    def left(self) -> int:
        return len(self.server.broker.account.queues[self.name])

    def expecting(self, count: int) -> tuple[Callable[[str], Any], Callable[[str], None], threading.Event]:
        """A coroutine handler, a plain one, and what is set when that many messages were handled."""
        done = threading.Event()

        def plain(body: str) -> None:
            self.handled.append(body)
            if len(self.handled) >= count:  # threads may pass it together
                done.set()

        async def coroutine(body: str) -> None:
            plain(body)

        return coroutine, plain, done


def _credentials() -> Any:
    from leasekeeper.api import Credentials

    return Credentials(access_key="AKIDLOCAL", secret_key="secret")


@pytest.fixture
def orders(server: LocalSqs, request: pytest.FixtureRequest) -> Orders:
    return Orders(server, "".join(each if each.isalnum() else "-" for each in request.node.name)[:75])


@pytest.mark.parametrize("kind", ["coroutine", "function"])
def test_a_consumer_starts_and_stops_from_synchronous_code(
    orders: Orders, kind: str, no_thread_left: Callable[[], bool]
) -> None:
    orders.send(25)
    coroutine, plain, done = orders.expecting(25)
    consumer = Consumer(orders.name, coroutine if kind == "coroutine" else plain, **orders.options)
    assert not consumer.ready
    consumer.start()
    consumer.start()  # twice is once
    assert done.wait(60)
    assert consumer.ready
    report = consumer.stop().result()
    assert consumer.stop().result() == report
    assert (report.handled, report.acked) == (25, 25)
    assert orders.left == 0
    assert not consumer.ready
    assert no_thread_left()


def test_a_consumer_starts_and_stops_inside_an_event_loop(orders: Orders) -> None:
    orders.send(25)
    coroutine, _, done = orders.expecting(25)
    threads: set[int] = set()

    async def handle(body: str) -> None:
        threads.add(threading.get_ident())
        await coroutine(body)

    async def main() -> Report:
        consumer = Consumer(orders.name, handle, **orders.options)
        await consumer.start()
        assert await asyncio.to_thread(done.wait, 10)
        first, second = await asyncio.gather(consumer.stop(), consumer.stop(force=True))
        assert first == second
        return first

    report = asyncio.run(main())
    assert (report.handled, report.acked, orders.left) == (25, 25, 0)
    assert threads == {threading.get_ident()}  # handlers ran on the application's loop


def test_a_consumer_is_an_async_context_manager(orders: Orders, no_thread_left: Callable[[], bool]) -> None:
    orders.send(5)
    coroutine, _, done = orders.expecting(5)

    async def main() -> None:
        async with Consumer(orders.name, coroutine, **orders.options) as consumer:
            assert consumer.healthy
            assert await asyncio.to_thread(done.wait, 10)

    asyncio.run(main())
    assert orders.left == 0
    assert no_thread_left()


def test_a_stop_before_the_start_is_legal_and_the_start_may_follow(orders: Orders) -> None:
    """L22: `stop()` may be called at any time."""
    orders.send(1)
    coroutine, _, done = orders.expecting(1)
    consumer = Consumer(orders.name, coroutine, **orders.options)
    assert consumer.stop().result().received == 0
    consumer.start()
    assert done.wait(60)
    assert consumer.stop().result().acked == 1


@pytest.mark.parametrize("force", [False, True])
def test_a_stop_while_it_starts_ends_it(orders: Orders, *, force: bool) -> None:
    """L22: said from another task before the start is over."""
    orders.server.faults.next("GetQueueUrl", latency=0.3)

    async def main() -> None:
        consumer = Consumer(orders.name, orders.expecting(1)[0], **orders.options)
        starting = asyncio.ensure_future(_awaited(consumer.start()))
        await asyncio.sleep(0)
        report = await consumer.stop(force=force)
        assert report.received == 0
        await asyncio.wait([starting])
        assert starting.exception() is None or isinstance(starting.exception(), Closed)

    try:
        asyncio.run(main())
    finally:
        orders.server.faults.clear()


async def _awaited(completion: Any) -> Any:
    return await completion


def test_a_start_that_fails_says_so_and_leaves_nothing_behind(
    server: LocalSqs, orders: Orders, no_thread_left: Callable[[], bool]
) -> None:
    """L18: fast, loudly, from synchronous code and from a loop."""
    consumer = Consumer("no-such-queue", orders.expecting(1)[0], **orders.options)
    with pytest.raises(QueueUnusable, match="create it"):
        consumer.start()
    assert consumer.stop().result().received == 0

    async def main() -> None:
        with pytest.raises(QueueUnusable, match="create it"):
            async with Consumer("no-such-queue", orders.expecting(1)[0], **orders.options):
                pytest.fail("it has started")

    asyncio.run(main())
    assert no_thread_left()


def test_quiet_after_a_stop_starts_nothing(orders: Orders, no_thread_left: Callable[[], bool]) -> None:
    consumer = Consumer(orders.name, orders.expecting(1)[0], **orders.options)
    consumer.start()
    consumer.stop()
    consumer.quiet()
    assert no_thread_left()


def test_quiet_while_it_starts_receives_nothing(orders: Orders) -> None:
    orders.send(1)

    async def main() -> Report:
        consumer = Consumer(orders.name, orders.expecting(1)[0], **orders.options)
        starting = consumer.start()
        consumer.quiet()
        await starting
        return await consumer.stop()

    assert (asyncio.run(main()).received, orders.left) == (0, 1)


def test_an_app_without_consumers_may_be_stopped() -> None:
    """As any other that was not started."""
    assert Leasekeeper().stop().result() == ()

    async def main() -> tuple[Report, ...]:
        return await Leasekeeper().stop()

    assert asyncio.run(main()) == ()


def test_fifty_starts_and_stops_lose_nothing(orders: Orders, no_thread_left: Callable[[], bool]) -> None:
    """L1, L22: each right after the other, some at once, some after a message."""
    orders.send(200)
    total = 0
    for turn in range(50):
        coroutine, plain, done = orders.expecting(len(orders.handled) + turn % 3)
        consumer = Consumer(orders.name, coroutine if turn % 2 else plain, concurrency=3, **orders.options)
        consumer.start()
        if turn % 3 and orders.left:
            done.wait(60)
        total += consumer.stop().result().acked
    assert no_thread_left()
    assert len(orders.handled) == len(set(orders.handled)) == total
    assert orders.left == 200 - total


class Lifespan:
    """The server's side of ASGI's lifespan protocol."""

    def __init__(self, app: Any) -> None:
        self._app = app
        self._inbox: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._outbox: asyncio.Queue[dict[str, Any]] = asyncio.Queue()

    async def __aenter__(self) -> None:
        scope = {"type": "lifespan", "asgi": {"version": "3.0"}, "state": {}}
        self._task = asyncio.ensure_future(self._app(scope, self._inbox.get, self._outbox.put))
        await self._say("startup")

    async def __aexit__(self, *_: object) -> None:
        await self._say("shutdown")
        await self._task

    async def _say(self, what: str) -> None:
        await self._inbox.put({"type": f"lifespan.{what}"})
        said = await self._outbox.get()
        assert said["type"] == f"lifespan.{what}.complete", said


def test_a_consumer_lives_in_a_web_apps_lifespan(orders: Orders, no_thread_left: Callable[[], bool]) -> None:
    """Started and stopped by Starlette, its handlers on the web app's loop."""
    from contextlib import asynccontextmanager

    from starlette.applications import Starlette

    orders.send(10)
    coroutine, _, done = orders.expecting(10)
    consumer = Consumer(orders.name, coroutine, **orders.options)

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        async with consumer:
            yield

    async def main() -> None:
        async with Lifespan(Starlette(lifespan=lifespan)):
            assert await asyncio.to_thread(done.wait, 10)

    asyncio.run(main())
    assert orders.left == 0
    assert no_thread_left()


def _app(orders: Orders, handler: Callable[..., Any], other: str) -> Leasekeeper:
    app = Leasekeeper(**orders.options)
    app.consumer(orders.name)(handler)

    @app.consumer(other)
    async def second(body: str) -> None:
        await handler(body)

    return app


def test_the_consumers_of_an_app_start_and_stop_together(
    orders: Orders, server: LocalSqs, no_thread_left: Callable[[], bool]
) -> None:
    other = Orders(server, f"{orders.name[:70]}-too")
    orders.send(10)
    other.send(10)
    coroutine, _, done = orders.expecting(20)
    app = _app(orders, coroutine, other.name)
    app.start()
    assert done.wait(60)
    assert app.healthy
    reports = app.stop().result()
    assert [each.acked for each in reports] == [10, 10]
    assert (orders.left, other.left) == (0, 0)
    assert no_thread_left()


@pytest.mark.parametrize("inside", [False, True], ids=["synchronous", "in a loop"])
def test_no_consumer_of_an_app_goes_on_when_one_cannot_start(
    orders: Orders, *, inside: bool, no_thread_left: Callable[[], bool]
) -> None:
    """L18: the start fails with the reason, and the consumer that could start is stopped again."""
    app = _app(orders, orders.expecting(1)[0], "no-such-queue")

    async def main() -> None:
        await app.start()

    with pytest.raises(QueueUnusable, match="no-such-queue"):
        if inside:
            asyncio.run(main())
        else:
            app.start()
    assert no_thread_left()
    assert not app.healthy


def test_an_app_in_a_loop_starts_and_stops(
    orders: Orders, server: LocalSqs, no_thread_left: Callable[[], bool]
) -> None:
    other = Orders(server, f"{orders.name[:70]}-too")
    orders.send(3)
    other.send(3)
    coroutine, _, done = orders.expecting(6)

    async def main() -> tuple[Report, ...]:
        app = _app(orders, coroutine, other.name)
        async with app:
            assert await asyncio.to_thread(done.wait, 10)
        return await app.stop()

    assert [each.acked for each in asyncio.run(main())] == [3, 3]
    assert no_thread_left()
