"""Lives of consumers and apps: started again after a stop, from several threads, and what is refused."""

from __future__ import annotations

import asyncio
import itertools
import subprocess
import sys
import textwrap
import threading
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
from starlette.applications import Starlette

from leasekeeper import Closed, ConfigurationError, Consumer, Leasekeeper, QueueUnusable, Share
from leasekeeper.app import refuse_shared_queues
from leasekeeper.events import HandlersEnded, PhaseChanged
from leasekeeper.routing import field
from leasekeeper.sqs.client import SqsClient
from leasekeeper.sqs.settings import ClientSettings

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from leasekeeper import Report
    from leasekeeper.local import LocalSqs

pytestmark = pytest.mark.slow
NUMBERS = itertools.count()


class Queue:
    """A queue on the server, and a handler that notes what it is given."""

    def __init__(self, server: LocalSqs) -> None:
        self.name = f"orders-{next(NUMBERS)}"
        self.options: dict[str, Any] = {
            "endpoint_url": server.endpoint_url,
            "region": "us-east-1",
            "wait_time": 1,
            "poll_grace": 0.1,
        }
        self._settings = ClientSettings(endpoint_url=server.endpoint_url, region="us-east-1")
        self._handled: list[str] = []
        self._came = threading.Condition()
        asyncio.run(self._create())

    async def _create(self) -> None:
        async with await SqsClient.connect(self._settings) as client:
            self.url = await client.create_queue(self.name)

    def send(self, *bodies: str) -> None:
        from leasekeeper.api import Outgoing

        async def send() -> None:
            async with await SqsClient.connect(self._settings) as client:
                for body in bodies:
                    await client.send(self.url, Outgoing(body=body))

        thread = threading.Thread(target=lambda: asyncio.run(send()))
        thread.start()
        thread.join()

    async def handle(self, body: str) -> None:
        with self._came:
            self._handled.append(body)
            self._came.notify_all()

    def wait_for(self, *bodies: str) -> None:
        with self._came:
            assert self._came.wait_for(lambda: set(bodies) <= set(self._handled), 10), self._handled
            assert len(set(self._handled)) == len(self._handled)


@pytest.fixture
def orders(server: LocalSqs) -> Queue:
    return Queue(server)


def test_a_consumer_can_be_started_again_and_again(orders: Queue) -> None:
    """From synchronous code and in one event loop after the other; each stop reports its own life."""
    consumer = Consumer(orders.name, orders.handle, **orders.options)

    async def live(body: str) -> int:
        async with consumer:
            orders.send(body)
            await asyncio.to_thread(orders.wait_for, body)
        return (await consumer.stop()).handled

    for turn in range(3):
        consumer.start()
        orders.send(f"sync {turn}")
        orders.wait_for(f"sync {turn}")
        assert consumer.ready
        assert consumer.stop().result().handled == 1
        assert not consumer.ready
        assert asyncio.run(live(f"async {turn}")) == 1


def test_an_app_of_a_module_lives_in_a_web_apps_lifespan_twice(orders: Queue) -> None:
    app = Leasekeeper(**orders.options)
    app.consumer(orders.name)(orders.handle)

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        async with app:
            yield

    web = Starlette(lifespan=lifespan)

    async def serve(turn: str) -> None:
        async with web.router.lifespan_context(web):
            orders.send(turn)
            await asyncio.to_thread(orders.wait_for, turn)
            assert app.ready

    for turn in "first", "second":
        asyncio.run(serve(turn))  # a loop for each, as a test client makes it
        assert not app.healthy


def test_a_start_that_failed_can_be_made_again_at_once(server: LocalSqs, orders: Queue) -> None:
    name = f"{orders.name}-late"
    consumer = Consumer(name, orders.handle, **orders.options)
    app = Leasekeeper(**orders.options)
    app.consumer(name)(orders.handle)
    for each in consumer, app:
        with pytest.raises(QueueUnusable):
            each.start()
    orders.name = name
    asyncio.run(orders._create())
    for each in consumer, app:
        each.start()
        assert each.ready
        each.stop()


def test_a_start_while_a_stop_is_under_way_is_refused_until_it_has_ended(orders: Queue) -> None:
    entered, release = threading.Event(), threading.Event()

    def handle(body: str) -> None:
        entered.set()
        release.wait(60)

    consumer = Consumer(orders.name, handle, **orders.options)
    consumer.start()
    orders.send("one")
    assert entered.wait(60)
    ended = consumer.finish()
    with pytest.raises(Closed, match="is stopping: await its stop"):
        consumer.start()
    release.set()
    assert ended.result(60).acked == 1
    consumer.start()
    consumer.stop()


def test_starts_and_stops_from_many_threads_end_and_lose_nothing(orders: Queue) -> None:
    """L22: in any order, and at once; what is refused says so."""
    app = Leasekeeper(**orders.options, drain_timeout=5)
    app.consumer(orders.name)(orders.handle)
    errors: list[BaseException] = []

    def churn(seed: int) -> None:
        for turn in range(10):
            try:
                if (seed + turn) % 2:
                    app.start()
                else:
                    app.stop()
            except Closed:
                pass
            except BaseException as error:
                errors.append(error)

    threads = [threading.Thread(target=churn, args=(seed,), daemon=True) for seed in range(6)]
    for each in threads:
        each.start()
    for each in threads:
        each.join(60)
        assert not each.is_alive()
    assert errors == []
    app.stop()
    app.start()
    orders.send("after all")
    orders.wait_for("after all")
    assert app.stop().result()[0].unsettled == 0


def test_a_start_that_is_cancelled_goes_no_further(orders: Queue, server: LocalSqs) -> None:
    """As by a time-out around `async with`: no consumer is left that nothing would stop."""
    server.faults.set("GetQueueUrl", latency=5.0)
    consumer = Consumer(orders.name, orders.handle, **orders.options)

    async def main() -> None:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05), consumer:
                pytest.fail("it has started")

    try:
        asyncio.run(main())
    finally:
        server.faults.clear()
    assert not consumer.healthy
    assert consumer.stop().result().received == 0


def test_many_consumers_of_an_app_share_the_threads_of_their_loops(orders: Queue, server: LocalSqs) -> None:
    """Each had a thread and a loop for its handlers when it was started from synchronous code."""
    app = Leasekeeper(**orders.options)
    queues = [Queue(server) for _ in range(8)]
    for each in queues:
        app.consumer(each.name)(each.handle)
    before = set(threading.enumerate())
    app.start()
    started = [each.name for each in set(threading.enumerate()) - before]
    ours = [name for name in started if name.startswith("leasekeeper") and "block" not in name]
    for each in queues:
        each.send("one")
        each.wait_for("one")
    app.stop()
    assert sorted(ours) == ["leasekeeper", "leasekeeper-handlers"]
    assert threading.active_count() <= len(before)


ARN = "arn:aws:sqs:eu-west-1:111111111111:orders"
URL = "https://sqs.eu-west-1.amazonaws.com/111111111111/orders"


async def first(body: str) -> None: ...
async def second(body: str) -> None: ...


@pytest.mark.parametrize(
    ("one", "other"),
    [("orders", ARN), ("orders", URL), (URL, ARN)],
)
def test_two_consumers_of_one_queue_in_one_app_are_refused(one: str, other: str) -> None:
    """Half of the messages of each would go to the handler that cannot take them, and on to the dead-letter queue."""
    app = Leasekeeper()
    app.consumer(one)(first)
    with pytest.raises(ConfigurationError, match="queue orders has two consumers here, first and second"):
        app.consumer(other)(second)
    assert len(app.consumers) == 1


@pytest.mark.parametrize(
    "other",
    [
        URL.replace("orders", "bills"),
        URL.replace("111111111111", "222222222222"),
        ARN.replace("eu-west-1", "eu-west-2"),
    ],
)
def test_queues_of_one_name_that_are_two_are_allowed(other: str) -> None:
    app = Leasekeeper()
    app.consumer(URL)(first)
    app.consumer(other)(second)
    refuse_shared_queues(app.consumers)


def test_a_handler_is_added_before_a_start_and_counts_are_of_one_life(orders: Queue) -> None:
    consumer = Consumer(orders.name, first, **orders.options)
    consumer.start()
    with pytest.raises(Closed, match=f"consumer of {orders.name} is running: add handlers before its start"):
        consumer.add_handler(orders.handle, when=field("n") == 1)
    consumer.stop()
    consumer.add_handler(orders.handle, when=field("n") == 1)
    for turn in "ab":
        consumer.start()
        orders.send(f'{{"n": 1, "turn": "{turn}"}}')
        orders.wait_for(f'{{"n": 1, "turn": "{turn}"}}')
        now = consumer.statistics()
        assert now is not None
        assert now.routes is not None
        assert now.routes.taken == {"Queue.handle": 1, "first": 0}
        consumer.stop()


def test_an_app_shows_readiness_and_problems_of_its_consumers(orders: Queue, server: LocalSqs) -> None:
    other = Queue(server)
    app = Leasekeeper(**orders.options)
    for each in orders, other:
        app.consumer(each.name)(each.handle)
    assert not app.ready
    assert app.problem is None
    app.start()
    assert app.ready
    app.quiet()
    app.request_stop()
    assert not app.ready
    app.stop()
    assert not app.healthy


def test_an_app_waits_for_all_its_consumers_and_has_their_reports(orders: Queue, server: LocalSqs) -> None:
    """As a consumer does: when they end by themselves, too."""
    other = Queue(server)
    app = Leasekeeper(**orders.options)
    for each in orders, other:
        app.consumer(each.name)(each.handle)
    app.pause()
    app.resume()
    app.quiet()  # before the start these do nothing

    async def main() -> tuple[Report, ...]:
        with pytest.raises(Closed, match="was not started"):
            await app.wait()
        await app.start()
        waiting = asyncio.create_task(app.wait())
        orders.send("one")
        await asyncio.to_thread(orders.wait_for, "one")
        app.consumers[0].request_stop()
        await app.consumers[0].wait()
        assert not waiting.done()
        app.request_stop()
        return await waiting

    assert [(report.queue, report.acked) for report in asyncio.run(main())] == [(orders.name, 1), (other.name, 0)]


def test_subscribers_of_an_app_see_the_events_of_all_its_consumers(orders: Queue, server: LocalSqs) -> None:
    """Also in a second life, and of consumers that were declared after the subscription."""
    other, seen = Queue(server), list[tuple[str, str]]()
    app = Leasekeeper(**orders.options)
    app.consumer(orders.name)(orders.handle)
    app.subscribe(lambda event: seen.append((event.queue, event.phase)), PhaseChanged)
    app.consumer(other.name)(other.handle)
    for _ in range(2):
        app.start()
        app.stop()
    for name in orders.name, other.name:
        assert [phase for queue, phase in seen if queue == name].count("running") == 2
        assert [phase for queue, phase in seen if queue == name].count("closed") == 2


def test_a_consumer_shows_its_phase(orders: Queue, server: LocalSqs) -> None:
    server.faults.set("GetQueueUrl", latency=1.0)
    consumer = Consumer(orders.name, orders.handle, **orders.options)
    assert consumer.phase.name == "NEW"
    try:
        begun = consumer.begin()
        assert consumer.phase.name == "STARTING"
        assert repr(consumer) == f"<Consumer {orders.name} STARTING>"
        consumer.request_stop()
        assert isinstance(begun.exception(10), Closed)
    finally:
        server.faults.clear()
    assert consumer.phase.name == "CLOSED"
    consumer.start()
    assert consumer.phase.name == "RUNNING"
    consumer.stop()
    assert consumer.phase.name == "CLOSED"


def test_the_representation_keeps_the_queues_name(server: LocalSqs) -> None:
    queue = Queue(server)
    queue.name = f"Runner-{queue.name}"
    asyncio.run(queue._create())
    consumer = Consumer(queue.name, queue.handle, **queue.options)
    assert repr(consumer) == f"<Consumer {queue.name} NEW>"
    consumer.start()
    assert repr(consumer).startswith(f"<Consumer {queue.name} RUNNING")
    consumer.stop()


def test_a_process_that_gevent_has_patched_is_refused() -> None:
    """It hung, or ended with a LoopExit; gevent itself is not needed to know."""
    code = """
    import sys, types
    monkey = types.ModuleType("gevent.monkey")
    monkey.is_module_patched = lambda name: name == "threading"
    sys.modules["gevent"], sys.modules["gevent.monkey"] = types.ModuleType("gevent"), monkey
    from leasekeeper import ConfigurationError, Consumer
    async def ship(body: str) -> None: ...
    consumer = Consumer("orders", ship, endpoint_url="http://127.0.0.1:1", region="us-east-1")
    for call in consumer.start, consumer.run:
        try:
            call()
        except ConfigurationError as error:
            print(error)
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.count("gevent has patched threads and sockets in this process") == 2


class Unshowable:
    """A handler, a logger's argument, whatever: showing it raises."""

    async def __call__(self, body: str) -> None: ...

    def __repr__(self) -> str:
        raise RuntimeError("not to be shown")


def test_a_handler_that_cannot_be_shown_runs_and_stops(orders: Queue) -> None:
    """L15: whatever a user plugs in may raise."""
    app = Leasekeeper(**orders.options)
    app.consumer(orders.name)(Unshowable())
    app.start()
    assert "RUNNING" in repr(app)
    assert app.stop().result()[0].unsettled == 0


def test_an_app_is_paused_and_resumed_from_any_thread_and_from_handlers(orders: Queue) -> None:
    """The last call counts."""
    app = Leasekeeper(**orders.options)
    phases: list[str] = []
    changed = threading.Condition()

    def note(event: PhaseChanged) -> None:
        with changed:
            phases.append(event.phase)
            changed.notify_all()

    @app.consumer(orders.name)
    async def handle(body: str) -> None:
        app.pause()

    app.subscribe(note, PhaseChanged)
    app.pause()  # not started: there is nothing to pause
    app.start()
    assert app.ready
    orders.send("one")
    with changed:
        assert changed.wait_for(lambda: phases[-1] == "paused", 10)
    assert app.healthy
    assert not app.ready
    threads = [threading.Thread(target=(app.pause, app.resume)[turn % 2]) for turn in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    app.resume()
    with changed:
        assert changed.wait_for(lambda: app.ready, 10), phases
    (report,) = app.stop().result()
    assert report.acked == 1
    app.pause()
    app.resume()  # stopped: there is nothing to resume
    assert phases[-1] == "closed"


def test_consumers_of_one_app_share_and_others_are_refused(server: LocalSqs) -> None:
    """Coroutines and threads; again after a stop, when the app has another event loop."""
    share = Share(4)
    one, two, three = Queue(server), Queue(server), Queue(server)
    app = Leasekeeper(share=share, **one.options)
    app.consumer(one.name, weight=2)(one.handle)

    @app.consumer(two.name)
    def handle(body: str) -> None:
        asyncio.run(two.handle(body))

    stranger = Consumer(three.name, three.handle, share=share, **three.options)
    for turn in "first", "second":
        app.start()
        with pytest.raises(ConfigurationError, match="has consumers of two apps, or outside an app"):
            stranger.start()
        bodies = [f"{turn} {number}" for number in range(20)]
        one.send(*bodies)
        two.send(*bodies)
        one.wait_for(*bodies)
        two.wait_for(*bodies)
        assert [report.unsettled for report in app.stop().result()] == [0, 0]
    stranger.start()
    stranger.stop()


def test_a_thread_that_is_given_up_keeps_the_handler_of_its_tenant_until_it_ends(orders: Queue) -> None:
    """Otherwise the next message of the tenant would run beside it."""
    release, entered, running = threading.Event(), threading.Event(), threading.Semaphore(1)
    overlaps: list[str] = []

    def handle(body: str) -> None:
        if not running.acquire(blocking=False):
            overlaps.append(body)
            return
        if not release.is_set():
            entered.set()
            release.wait(60)
        asyncio.run(orders.handle(body))
        running.release()

    options = {**orders.options, "concurrency": 4, "group_concurrency": 1, "handler_timeout": 0.05, "retry_base": 60.0}
    failed = threading.Event()
    consumer = Consumer(orders.name, handle, **options)
    consumer.subscribe(lambda event: failed.set() if event.others else None, HandlersEnded)
    consumer.start()
    orders.send("one", "two", "three")
    assert entered.wait(60)
    assert failed.wait(60)  # the first was given up, and its thread goes on
    orders.send("four")
    release.set()
    orders.wait_for("two", "three", "four")
    assert consumer.stop().result().unsettled == 0
    assert overlaps == []
