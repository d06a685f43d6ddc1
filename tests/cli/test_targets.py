"""`module:app`: what it leads to, and what is said when it leads to nothing."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

from leasekeeper import Consumer, Leasekeeper
from leasekeeper.cli.errors import Stopped, exit_of
from leasekeeper.cli.settings import RunSettings, Setting
from leasekeeper.cli.targets import configure, configure_all, consumers_of, load, load_all
from leasekeeper.errors import ConfigurationError, LeasekeeperError
from leasekeeper.exit_codes import Exit

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SHOP = """
from leasekeeper import Consumer, Leasekeeper

app = Leasekeeper()

@app.consumer("orders", concurrency=5)
async def ship(order: dict) -> None: ...

consumer = Consumer("bills", ship)
number = 5

class apps:
    main = app
"""


@pytest.fixture(autouse=True)
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A working directory with a shop in it; its modules are forgotten afterwards."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    known = set(sys.modules)
    (tmp_path / "shop_module.py").write_text(SHOP)
    yield tmp_path
    for name in set(sys.modules) - known:
        del sys.modules[name]


def test_a_reference_leads_to_an_app_a_consumer_or_what_is_inside_something() -> None:
    assert isinstance(load("shop_module:app"), Leasekeeper)
    assert isinstance(load("shop_module:consumer"), Consumer)
    assert load("shop_module:apps.main") is load("shop_module:app")


@pytest.mark.parametrize(
    ("reference", "sentence"),
    [
        ("shop", "'shop' is not MODULE:NAME, e.g. shop:app or shop.orders:consumer"),
        ("shop:", "'shop:' is not MODULE:NAME"),
        (":app", "':app' is not MODULE:NAME"),
        ("my shop:app", "'my shop:app' is not MODULE:NAME"),
        ("a:b:c", "'a:b:c' is not MODULE:NAME"),
        ("shop.py:app", "'shop.py:app' names a file: give the module, e.g. shop:app"),
        ("src/shop.py", "'src/shop.py' names a file: give the module, e.g. src.shop:app"),
        ("nowhere_at_all:app", "there is no module 'nowhere_at_all' in "),
        ("shop_module.inner:app", "there is no module 'shop_module.inner' in "),
        (
            "shop_module:ap",
            "'shop_module:ap': shop_module has no 'ap'; it has shop_module:app, shop_module:consumer",
        ),
        ("shop_module:number", "'shop_module:number' is of type int, not a Leasekeeper app or a Consumer"),
        ("shop_module:ship", "is the function 'ship', not a Leasekeeper app or a Consumer: decorate it"),
        ("shop_module:Leasekeeper", "is the type 'Leasekeeper', not a Leasekeeper app or a Consumer: create one"),
    ],
)
def test_a_reference_that_leads_to_nothing_is_told_in_one_sentence(reference: str, sentence: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        load(reference)
    assert sentence in str(caught.value)


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("import nothing_of_that_name", "ModuleNotFoundError: No module named 'nothing_of_that_name'"),
        ("def f(:\n", "SyntaxError"),
        ("raise SystemExit('usage: shop')", "SystemExit: usage: shop"),
        ("assert False, 'no settings'", "AssertionError: no settings"),
        ("raise type('Odd', (Exception,), {'__str__': lambda self: 5})", "Odd, its text cannot be shown"),
        ("import asyncio\nraise asyncio.CancelledError('no loop')", "failed with CancelledError: no loop"),
    ],
)
def test_a_module_that_fails_shows_the_users_traceback(
    directory: Path, capsys: pytest.CaptureFixture[str], code: str, said: str
) -> None:
    (directory / "broken_module.py").write_text(code)
    with pytest.raises(Stopped) as caught:
        load("broken_module:app")
    assert caught.value.code is Exit.USAGE
    shown = capsys.readouterr().err
    assert said in shown
    assert "broken_module.py" in shown
    assert "importlib" not in shown


def test_a_mistake_in_an_option_is_told_with_its_line_and_no_traceback(
    directory: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (directory / "wrong_module.py").write_text(
        "from leasekeeper import Consumer\n\nconsumer = Consumer('orders', lambda body: None, concurrency=0)\n"
    )
    with pytest.raises(ConfigurationError) as caught:
        load("wrong_module:consumer")
    assert str(caught.value) == "wrong_module.py, line 3: concurrency=0: must be a whole number from 1 to 120000"
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("raised", "code"),
    [("ConfigurationError", 2), ("QueueUnusable", 3), ("NotFound", 3), ("CredentialsMissing", 3)],
)
def test_an_error_of_ours_while_a_module_is_imported_has_its_own_exit_code(
    directory: Path, capsys: pytest.CaptureFixture[str], raised: str, code: int
) -> None:
    (directory / "asking_module.py").write_text(
        f"from leasekeeper.errors import {raised}\n\nraise {raised}('bucket shop does not exist: create it')\n"
    )
    with pytest.raises(LeasekeeperError) as caught:
        load("asking_module:app")
    assert str(caught.value) == "asking_module.py, line 3: bucket shop does not exist: create it"
    assert exit_of(caught.value) == code
    assert capsys.readouterr().err == ""


def test_settings_stand_above_the_code_of_an_app() -> None:
    app = load("shop_module:app")
    configure(app, RunSettings(flags={"concurrency": Setting(7, "--concurrency")}))
    (consumer,) = consumers_of(app)
    assert consumer.options.concurrency == 7


def test_settings_stand_above_the_code_of_a_consumer() -> None:
    consumer = load("shop_module:consumer")
    configure(consumer, RunSettings(queues={"bills": {"handler_timeout": Setting(3.0, "file")}}))
    assert isinstance(consumer, Consumer)
    assert consumer.options.handler_timeout == 3.0
    assert consumer.handler.timed_out(3.0).startswith("handler ship ran longer")
    assert consumer.handler.timeout == 3.0


def test_settings_for_another_queue_change_nothing() -> None:
    app = load("shop_module:app")
    configure(app, RunSettings(queues={"bills": {"concurrency": Setting(9, "file")}}))
    (consumer,) = consumers_of(app)
    assert consumer.options.concurrency == 5


@pytest.mark.parametrize("reference", ["shop_module:app", "shop_module:consumer"])
def test_a_setting_that_cannot_be_is_told_with_its_source(reference: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        configure(load(reference), RunSettings(environment={"concurrency": Setting(0, "LEASEKEEPER_CONCURRENCY")}))
    assert str(caught.value) == (
        "concurrency=0: must be a whole number from 1 to 120000 (concurrency is set by LEASEKEEPER_CONCURRENCY)"
    )


def test_an_app_without_consumers_says_how_to_give_it_one() -> None:
    with pytest.raises(ConfigurationError, match="this app has no consumers: decorate a function"):
        consumers_of(Leasekeeper())


def test_all_references_that_are_wrong_are_told(tmp_path: Path) -> None:
    (tmp_path / "empty_apps.py").write_text(
        "from leasekeeper import Leasekeeper\none, two = Leasekeeper(), Leasekeeper()"
    )
    with pytest.raises(ConfigurationError) as refused:
        load_all(["nowhere:app", "shop_module", "shop_module:app"])
    assert [str(each)[:26] for each in refused.value.args] == [
        "'nowhere:app': there is no",
        "'shop_module' is not MODUL",
    ]
    with pytest.raises(ConfigurationError) as refused:
        load_all(["empty_apps:one", "shop_module:app", "empty_apps:two"])
    assert [str(each)[:42] for each in refused.value.args] == [
        "'empty_apps:one': this app has no consumer",
        "'empty_apps:two': this app has no consumer",
    ]


def test_settings_that_are_wrong_are_told_of_all_targets() -> None:
    given = RunSettings(environment={"concurrency": Setting(0, "LEASEKEEPER_CONCURRENCY")})
    targets = load_all(["shop_module:app", "shop_module:consumer", "shop_module:app"])
    assert len(targets) == 2
    with pytest.raises(ConfigurationError) as refused:
        configure_all(targets, given)
    assert len(refused.value.args) == 1  # the same value of the same variable


def test_a_function_that_makes_an_app_is_told_to_be_called(tmp_path: Path) -> None:
    (tmp_path / "makes_apps.py").write_text("def make(): ...\n")
    with pytest.raises(ConfigurationError, match=r": if it makes one, write `app = make\(\)` in the module"):
        load("makes_apps:make")
