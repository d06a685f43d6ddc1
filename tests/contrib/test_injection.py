"""Injection by dishka, svcs and FastDepends, with the libraries themselves: scopes, overrides, and mistakes.

svcs is imported by the tests, so that only the worker which runs them pays for that: it brings four web frameworks.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterator  # noqa: TC003 - svcs and dishka read annotations
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any

import dishka
import pytest
from dishka import FromDishka, Provider, Scope, provide
from fast_depends import Depends

from leasekeeper import Batch, Closed, ConfigurationError, Consumer, Leasekeeper, Message, Reject
from leasekeeper.contrib.dishka import DishkaInjector
from leasekeeper.contrib.fast_depends import FastDependsInjector
from leasekeeper.local import Broker, LocalClient
from leasekeeper.testing.handling import run_batch_handler, run_handler
from leasekeeper.testing.world import World, virtual

if TYPE_CHECKING:
    import svcs  # noqa: TC004 - see `_svcs`

    from leasekeeper.contrib.svcs import SvcsInjector  # noqa: TC004
    from leasekeeper.injection import Injector

story: list[str] = []


@dataclass
class Db:
    name: str = "real"


@dataclass
class Repository:
    """It depends on `Db`."""

    db: Db
    message: str = ""


@pytest.fixture(scope="module", autouse=True)
def _svcs() -> None:
    """Import what annotations of this module name, too."""
    global svcs, SvcsInjector  # noqa: PLW0603
    import svcs

    from leasekeeper.contrib.svcs import SvcsInjector


@pytest.fixture(autouse=True)
def _empty_story() -> None:
    story.clear()


class _Parts(Provider):
    message = dishka.from_context(Message, scope=Scope.REQUEST)

    @provide(scope=Scope.APP)
    def db(self) -> Db:
        return Db()

    @provide(scope=Scope.REQUEST)
    def repository(self, db: Db, message: Message) -> Iterator[Repository]:  # type: ignore[type-arg]
        story.append("open")
        yield Repository(db, message.id)
        story.append("close")


def open_repository(services: svcs.Container) -> Iterator[Repository]:
    story.append("open")
    yield Repository(services.get(Db), services.get(Message).id)
    story.append("close")


@dataclass
class Settings:
    region: str = "here"


def get_db() -> Db:
    return Db()


def get_repository(message: Message[Any], db: Annotated[Db, Depends(get_db)]) -> Iterator[Repository]:
    story.append("open")
    yield Repository(db, message.id)
    story.append("close")


async def get_repository_later(message: Message[Any], db: Annotated[Db, Depends(get_db)]) -> AsyncIterator[Repository]:
    story.append("open")
    yield Repository(db, message.id)
    story.append("close")


def registry() -> svcs.Registry:
    found = svcs.Registry()
    found.register_factory(Db, Db)
    found.register_factory(Repository, open_repository)
    return found


@dataclass
class Library:
    """One of the three: its injector, handlers for it, and by what it knows `Db`."""

    injector: Callable[[], Injector]
    handler: Callable[..., Any]
    coroutine: Callable[..., Any]
    key: Any = field(default=Db)


def plain(body: dict[str, Any], repository: Repository, message: Message[dict[str, Any]]) -> None:
    story.append(f"{repository.db.name} {body['id']} {repository.message == message.id}")


async def coroutine(body: dict[str, Any], repository: Repository) -> None:
    story.append(f"{repository.db.name} {body['id']} {bool(repository.message)}")


def plain_depends(body: dict[str, Any], repository: Annotated[Repository, Depends(get_repository)]) -> None:
    story.append(f"{repository.db.name} {body['id']} {bool(repository.message)}")


async def coroutine_depends(body: dict[str, Any], repository: Repository = Depends(get_repository_later)) -> None:  # noqa: B008
    story.append(f"{repository.db.name} {body['id']} {bool(repository.message)}")


def plain_dishka(body: dict[str, Any], repository: FromDishka[Repository]) -> None:
    plain(body, repository, _Same(repository.message))  # type: ignore[arg-type]


async def coroutine_dishka(body: dict[str, Any], repository: FromDishka[Repository]) -> None:
    await coroutine(body, repository)


@dataclass
class _Same:
    id: str


def blocking_container() -> dishka.Container:
    return dishka.make_container(_Parts(), lock_factory=threading.Lock)


LIBRARIES = {
    "dishka": Library(lambda: DishkaInjector(blocking_container()), plain_dishka, coroutine_dishka),
    "dishka by type": Library(lambda: DishkaInjector(blocking_container()), plain, coroutine),
    "svcs": Library(lambda: SvcsInjector(registry()), plain, coroutine),
    "FastDepends": Library(FastDependsInjector, plain_depends, coroutine_depends, get_db),
}


@pytest.fixture(params=LIBRARIES)
def library(request: pytest.FixtureRequest) -> Library:
    return LIBRARIES[request.param]


@pytest.fixture(params=["handler", "coroutine"])
def consumer(request: pytest.FixtureRequest, library: Library) -> Consumer:
    return Consumer("orders", getattr(library, request.param), inject=library.injector(), region="eu-west-1")


def test_a_handler_gets_what_the_container_has_in_the_scope_of_its_run(consumer: Consumer) -> None:
    for number in (1, 2):
        assert run_handler(consumer, {"id": number}).acked
    assert story == ["open", "real 1 True", "close", "open", "real 2 True", "close"]


def test_tests_override_what_the_container_has_also_deep_inside(consumer: Consumer, library: Library) -> None:
    with consumer.override(library.key, Db("fake")):
        run_handler(consumer, {"id": 1})
    run_handler(consumer, {"id": 2})
    assert [line for line in story if line not in ("open", "close")] == ["fake 1 True", "real 2 True"]


def test_an_override_ends_with_its_block_also_when_the_test_fails(consumer: Consumer, library: Library) -> None:
    with pytest.raises(ZeroDivisionError), consumer.override(library.key, Db("fake")):
        raise ZeroDivisionError
    run_handler(consumer, {"id": 2})
    assert "real 2 True" in story


def test_overrides_may_be_nested(consumer: Consumer, library: Library) -> None:
    with consumer.override(library.key, Db("outer")):
        with consumer.override(library.key, Db("inner")):
            run_handler(consumer, {"id": 1})
        run_handler(consumer, {"id": 2})
    assert [line for line in story if line not in ("open", "close")] == ["inner 1 True", "outer 2 True"]


def test_the_parameter_itself_can_be_overridden_by_its_type(consumer: Consumer) -> None:
    with consumer.override(Repository, Repository(Db("mine"), "m")):
        run_handler(consumer, {"id": 1})
    assert "mine 1" in story[0]


def test_an_async_container_of_dishka_serves_coroutines() -> None:
    container = dishka.make_async_container(_Parts())
    consumer = Consumer("orders", coroutine_dishka, inject=DishkaInjector(container), region="eu-west-1")
    assert run_handler(consumer, {"id": 1}).acked
    with consumer.override(Db, Db("fake")):
        assert run_handler(consumer, {"id": 2}).acked
    assert story == ["open", "real 1 True", "close", "open", "fake 2 True", "close"]


def test_an_async_container_of_dishka_cannot_serve_functions() -> None:
    consumer = Consumer("orders", plain, inject=DishkaInjector(dishka.make_async_container(_Parts())), region="x")
    assert "make the handler `async def`, or give a Container" in str(run_handler(consumer, {"id": 1}).error)


def test_an_async_dependency_cannot_serve_functions() -> None:
    def handle(body: str, later: Repository = Depends(get_repository_later)) -> None:  # noqa: B008
        raise AssertionError

    consumer = Consumer("orders", handle, inject=FastDependsInjector(), region="eu-west-1")
    expected = "parameter later: get_repository_later is `async def`, and the handler is a `def`: make both of one kind"
    assert str(run_handler(consumer, "x").error) == expected


def test_a_failure_reaches_the_scope_and_what_its_close_raises_fails_the_run() -> None:
    class Commit(Provider):
        @provide(scope=Scope.REQUEST)
        def db(self) -> Iterator[Db]:
            yield Db()
            raise OSError("the commit failed")

    async def handle(body: str, db: FromDishka[Db]) -> None:
        story.append(f"{body} {db.name}")

    consumer = Consumer("orders", handle, inject=DishkaInjector(dishka.make_async_container(Commit())), region="x")
    handled = run_handler(consumer, "x")
    assert handled.retried
    assert story == ["x real"]


def test_batches_have_a_scope_too_with_bodies_and_with_messages() -> None:
    def bodies(batch: list[dict[str, Any]], db: Db) -> None:
        story.append(f"{len(batch)} {db.name}")

    async def messages(batch: Batch[dict[str, Any]], db: Db, services: svcs.Container) -> None:
        story.append(f"{len(batch)} {db.name} {services.get(Batch) is batch}")

    for handler in (bodies, messages):
        consumer = Consumer("orders", handler, batch=10, inject=SvcsInjector(registry()), region="eu-west-1")
        assert all(each.acked for each in run_batch_handler(consumer, [{"id": 1}, {"id": 2}]))
    assert story == ["2 real", "2 real True"]


@virtual
async def test_the_scope_is_closed_before_the_message_is_settled() -> None:
    async with World() as world:

        def told(services: svcs.Container) -> Iterator[Db]:
            yield Db()
            story.append(f"closed, {world.broker.calls['DeleteMessageBatch']} deletes")

        services = svcs.Registry()
        services.register_factory(Db, told)

        async def handle(body: str, db: Db) -> None:
            story.append(body)

        await world.send("a")
        await world.start(Consumer("orders", handle, inject=SvcsInjector(services), region="eu-west-1"))
        await world.until(lambda: not world.bodies(), within=60)
        assert story == ["a", "closed, 0 deletes"]
        assert world.broker.calls["DeleteMessageBatch"] == 1


def test_what_a_lifespan_yields_can_be_overridden_without_a_container() -> None:
    @asynccontextmanager
    async def lifespan(_: Leasekeeper) -> AsyncIterator[Db]:
        yield Db()

    app = Leasekeeper(lifespan=lifespan, region="eu-west-1")

    @app.consumer("orders")
    async def handle(body: str, db: Db) -> None:
        story.append(db.name)

    with app.override(Db, Db("fake")):
        assert run_handler(app.consumers[0], "x").acked
    assert run_handler(app.consumers[0], "x", resources=Db()).acked
    assert story == ["fake", "real"]


def test_the_injector_stands_beside_message_and_lifespan() -> None:
    async def handle(order: dict[str, Any], settings: Settings, message: Message[dict[str, Any]], db: Db) -> None:
        story.append(f"{order['id']} {settings.region} {message.body['id']} {db.name}")

    @asynccontextmanager
    async def lifespan(_: Consumer) -> AsyncIterator[Settings]:
        yield Settings()

    consumer = Consumer("orders", handle, lifespan=lifespan, inject=SvcsInjector(registry()), region="eu-west-1")
    assert run_handler(consumer, {"id": 3}, resources=Settings()).acked
    assert story == ["3 here 3 real"]


def test_routes_of_one_queue_share_the_injector() -> None:
    from leasekeeper.routing import field as part

    app = Leasekeeper(region="eu-west-1")
    app.inject(SvcsInjector(registry()))

    @app.consumer("orders", when=part("kind") == "a")
    def one(body: dict[str, Any], db: Db) -> None:
        story.append(f"one {db.name}")

    @app.consumer("orders")
    def other(body: dict[str, Any], db: Db) -> None:
        raise Reject(db.name)

    assert run_handler(app.consumers[0], {"kind": "a"}).acked
    assert str(run_handler(app.consumers[0], {"kind": "b"}).error) == "real"
    assert story == ["one real"]


def test_mistakes_are_refused_with_what_to_do() -> None:
    app = Leasekeeper(region="eu-west-1")
    with pytest.raises(ConfigurationError, match=r"give an injector, e\.g\. DishkaInjector\(container\)"):
        app.inject(registry())  # type: ignore[arg-type]
    app.inject(SvcsInjector(registry()))
    with pytest.raises(ConfigurationError, match="there is an injector already"):
        app.inject(FastDependsInjector())

    @app.consumer("orders")
    def handle(body: str) -> None: ...

    with pytest.raises(ConfigurationError, match=r"call it above the first @app\.consumer"):
        app.inject(FastDependsInjector())
    with pytest.raises(ConfigurationError, match=r"or what an injector gives \(`app\.inject\(\.\.\.\)`, above"):
        Consumer("orders", plain, region="eu-west-1")


def test_nothing_is_overridden_while_a_consumer_runs() -> None:
    async def work() -> None:
        broker = Broker()
        await broker.call("CreateQueue", {"QueueName": "orders"})
        app = Leasekeeper(client=LocalClient(broker), poll_grace=0)

        @app.consumer("orders")
        async def handle(body: str) -> None: ...

        async with app:
            with pytest.raises(Closed, match="override what its handlers get before its start"), app.override(Db, Db()):
                pass
        await broker.close()

    asyncio.run(work())


@pytest.mark.slow
def test_nothing_of_these_libraries_is_imported_unless_it_is_used() -> None:
    code = (
        "import sys, leasekeeper, leasekeeper.app, leasekeeper.contrib, leasekeeper.testing.handling; "
        "print(*({'dishka', 'svcs', 'fast_depends', 'django', 'flask', 'starlette'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "\n"
