"""What is wrong with a declaration is said at once: options, queue, handler, lifespan, injector."""

from __future__ import annotations

import logging
from typing import Any

import boto3
import pytest

from leasekeeper import Consumer, Leasekeeper, Options
from leasekeeper.api import Credentials
from leasekeeper.errors import ConfigurationError
from leasekeeper.routing import attribute


async def handle(order: dict[str, Any]) -> None: ...


async def batch(orders: list[dict[str, Any]]) -> None: ...


def refusals(*given: Any, **values: Any) -> list[str]:
    with pytest.raises(ConfigurationError) as refused:
        Consumer(*given, **values)
    return [str(each) for each in refused.value.args]


def test_all_that_is_wrong_is_said_at_once() -> None:
    told = refusals(
        "or ders", 5, lifespan=6, inject=7, when=8, retry=9, concurrency=0, colour="red", burst=5, region="eu west"
    )
    assert [each[:45] for each in told] == [
        "unknown option 'colour'; `help(leasekeeper.Op",
        "retry=9: must be Retries, Exponential, Linear",
        "concurrency=0: must be a whole number from 1 ",
        "burst=5 without rate: set rate= to the handle",
        "lifespan 6 is not an async context manager: d",
        "inject(7): give an injector, e.g. DishkaInjec",
        "region='eu west': a region has letters, digit",
        "'or ders' is not a queue: a name has 1 to 80 ",
        "when=8: must be a condition, e.g. attribute('",
        "handler 5 is not callable: give a function, `",
    ]


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"region": "eu west"}, "region='eu west': a region has letters, digits and hyphens only, e.g. eu-west-1"),
        (
            {"endpoint_url": "localhost:9324"},
            "endpoint_url='localhost:9324' is not an endpoint: give scheme, host and port, e.g. http://localhost:4566",
        ),
        (
            {"envelope": {}},
            (
                "envelope={}: {} is none of 'sns', 'eventbridge', 's3', 'cloudevents', 'auto', and not a function that "
                "opens one of yours"
            ),
        ),
        ({"middleware": "timed"}, "middleware='timed': must be a sequence of functions, e.g. [timed]"),
        ({"middleware": [5]}, "middleware 5 is not callable: give a function, `async def` or `def`"),
    ],
)
def test_a_value_beside_another_mistake_is_said_too(values: dict[str, Any], told: str) -> None:
    concurrency = "concurrency=0: must be a whole number from 1 to 120000"
    assert set(refusals("orders", handle, concurrency=0, **values)) == {concurrency, told}


def test_a_region_and_a_queue_are_both_said() -> None:
    assert [each[:25] for each in refusals("or ders", handle, region="eu west")] == [
        "region='eu west': a regio",
        "'or ders' is not a queue:",
    ]


def test_what_may_follow_from_a_wrong_value_is_not_said() -> None:
    """Without its `batch` the handler of a batch is wrong, and without its `rate` the burst is: both were given."""
    assert refusals("orders", batch, batch=-1) == ["batch=-1: must be a whole number from 1 to 10000"]
    assert refusals("orders", handle, rate="fast", burst=5) == ["rate='fast': must be a number from 0.0001 to 100000"]


def test_options_that_cannot_work_together_are_said_beside_a_wrong_handler() -> None:
    assert [each[:30] for each in refusals("orders", 5, burst=3, pollers=99, concurrency=1)] == [
        "pollers=99 with concurrency=1:",
        "burst=3 without rate: set rate",
        "handler 5 is not callable: giv",
    ]


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("http", "curl", "http='curl': must be 'native', 'aiohttp', or a function that makes a Transport"),
        (
            "client",
            5,
            (
                "client=5: must be an object with the methods of leasekeeper.api.SqsApi, not boto3's client; leave it "
                "out for the built-in one"
            ),
        ),
        ("logger", "shop", "logger='shop': must be a logger, e.g. logging.getLogger('shop')"),
        (
            "credentials",
            ("AKIAEXAMPLE", "hunter2"),
            "credentials of type tuple: must be leasekeeper.api.Credentials, or a function that returns them",
        ),
        (
            "credentials",
            Credentials,
            "credentials of type type: must be leasekeeper.api.Credentials, or a function that returns them",
        ),
    ],
)
def test_an_object_of_another_kind_is_refused_when_it_is_declared(name: str, value: Any, told: str) -> None:
    """What would fail at the start, or with a traceback, is seen before; what may be a secret is not shown."""
    assert refusals("orders", handle, **{name: value}) == [told]


def test_a_proxy_of_what_is_made_later_is_taken() -> None:
    class NotYet:
        def __getattr__(self, name: str) -> Any:
            raise RuntimeError("not opened yet")

    client: Any = NotYet()
    Consumer("orders", handle, client=client)


class Forwards:
    """Passes all on to another object, as a wrapper does that counts calls, for example."""

    def __init__(self, inner: Any) -> None:
        self.inner = inner

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)


def test_a_client_that_passes_on_to_one_which_is_made_later_is_taken() -> None:
    later: Any = Forwards(None)
    Consumer("orders", handle, client=later)


def test_a_client_that_passes_on_to_one_of_another_kind_is_refused() -> None:
    for other in (5, Forwards(object()), boto3.client("sqs", region_name="us-east-1")):
        [told] = refusals("orders", handle, client=Forwards(other))
        assert told.startswith("client=<")


def test_objects_of_the_right_kinds_are_taken() -> None:
    logger = logging.LoggerAdapter(logging.getLogger("shop"), {})
    key = Credentials(access_key="a", secret_key="b")
    for values in ({"logger": logger}, {"credentials": key}, {"credentials": lambda: key}, {"http": "aiohttp"}):
        Consumer("orders", handle, **values)


def test_options_as_an_object() -> None:
    options = Options(concurrency=5)
    assert Consumer("orders", handle, options=options).options is options
    assert refusals("orders", handle, options=5) == ["options=5: must be Options(...)"]
    assert refusals("orders", handle, options=options, pollers=0) == [
        "options= together with pollers: give either an Options object or single options",
        "pollers=0: must be a whole number from 1 to 1000",
    ]


def test_an_app_says_all_that_is_wrong_with_its_lifespan_and_its_defaults() -> None:
    wrong: Any = {"lifespan": 5, "concurrency": 0, "retry": 4, "envelope": "soap"}
    with pytest.raises(ConfigurationError) as refused:
        Leasekeeper(**wrong)
    assert [str(each)[:20] for each in refused.value.args] == [
        "lifespan 5 is not an",
        "concurrency=0: must ",
        "retry=4: must be Ret",
        "envelope='soap': 'so",
    ]


WRONG_REGION = "region='eu west': a region has letters, digits and hyphens only, e.g. eu-west-1"
NOT_CALLABLE = "middleware 5 is not callable: give a function, `async def` or `def`"


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"region": "eu west"}, WRONG_REGION),
        ({"endpoint_url": "localhost"}, "endpoint_url='localhost' is not an endpoint"),
        ({"middleware": [5]}, NOT_CALLABLE),
        ({"batch": 5}, "handler handle takes one body, and batch= is set"),
        ({"region": "eu-west-1"}, "region='eu-west-1' with queue"),
    ],
)
def test_a_rule_between_two_options_hides_no_other_mistake(values: dict[str, Any], told: str) -> None:
    queue = "https://sqs.us-east-1.amazonaws.com/123456789012/orders" if values.get("region") == "eu-west-1" else "q"
    first, second = sorted(refusals(queue, handle, burst=5, **values))
    assert first.startswith("burst=5 without rate")
    assert second.startswith(told)


def plain(message: Any, call_next: Any) -> Any: ...


async def narrow(message: Any) -> Any: ...


def test_a_wrong_handler_hides_no_wrong_middleware() -> None:
    told = refusals("orders", 6, middleware=[5, narrow, object()])
    assert [each.partition(":")[0][:28] for each in told] == [
        "middleware 5 is not callable",
        "middleware <object object at",
        "handler 6 is not callable",
    ]
    assert [each.partition(":")[0] for each in refusals("orders", 6, middleware=[narrow, plain])] == [
        "middleware narrow(message",
        "handler 6 is not callable",
    ]


def test_all_that_is_wrong_with_a_handler_is_said_at_once() -> None:
    async def wrong(body: complex, db: OSError, cache: KeyError) -> None: ...

    told = refusals("orders", wrong, middleware=[plain, narrow])
    assert sorted(each.replace(wrong.__qualname__, "wrong")[:40] for each in told) == [
        "handler wrong: a body cannot be decoded ",
        "handler wrong: parameter cache: KeyError",
        "handler wrong: parameter db: OSError: th",
        "middleware narrow(message: 'Any') -> 'An",
        "middleware plain is a `def` around the `",
    ]


def test_all_parameters_without_a_type_are_named() -> None:
    async def wrong(body: str, db: Any, cache: Any) -> None: ...

    assert [each.partition("parameter ")[2][:12] for each in refusals("orders", wrong)] == [
        "db needs a t",
        "cache needs ",
    ]


def test_a_lifespan_of_one_consumer_hides_nothing() -> None:
    app = Leasekeeper()
    wrong: Any = {"lifespan": 5, "concurrency": 0}
    with pytest.raises(ConfigurationError) as refused:
        app.consumer("or ders", **wrong)(handle)
    assert [str(each)[:30] for each in refused.value.args] == [
        "queue or ders with lifespan=: ",
        "concurrency=0: must be a whole",
        "'or ders' is not a queue: a na",
    ]


def test_handlers_of_a_queue_that_disagree_are_told_all_options() -> None:
    app = Leasekeeper()
    app.consumer("orders", concurrency=5, wait_time=3, when=attribute("a").exists())(handle)
    with pytest.raises(ConfigurationError) as refused:
        app.consumer("orders", concurrency=6, wait_time=4, when=attribute("b").exists())(handle)
    assert [str(each).partition(" and")[0] for each in refused.value.args] == [
        "queue orders: concurrency=5",
        "queue orders: wait_time=3",
    ]


def test_an_app_checks_the_places_among_its_defaults() -> None:
    with pytest.raises(ConfigurationError) as refused:
        Leasekeeper(region="eu west", endpoint_url="localhost", concurrency=0)
    assert [str(each)[:12] for each in refused.value.args] == ["concurrency=", "region='eu w", "endpoint_url"]
