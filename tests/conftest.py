"""What all tests share: how property tests draw their examples, what is left out, the option `--side-by-side`.

Property tests draw the same examples every time; `LEASEKEEPER_EXPLORE=1 make test` draws new ones, and many more.
"""

from __future__ import annotations

import gc
import itertools
import logging
import os
import signal
import socket
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import settings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

# A shell script that runs the tests in the background has SIGINT ignored, and `nohup` has SIGHUP ignored, and so would
# the programs that they start.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
if hasattr(signal, "SIGHUP") and signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
    signal.signal(signal.SIGHUP, signal.SIG_DFL)

settings.register_profile("same", derandomize=True, deadline=None)
settings.register_profile("explore", max_examples=1000, deadline=None)
settings.load_profile("explore" if os.environ.get("LEASEKEEPER_EXPLORE") else "same")
providers: Any = sys.modules.get("hypothesis.internal.conjecture.providers")
if hasattr(providers, "_get_local_constants") and not os.environ.get("LEASEKEEPER_EXPLORE"):
    # Hypothesis (not its oldest releases) also draws constants that it finds in the modules imported so far. Then
    # examples would depend on which tests are collected, and each worker would read all modules first.
    providers._get_local_constants = lambda: providers._local_constants


pytest_plugins = ["pieces"]

# Nothing of what is collected becomes garbage. `pytest_collection_finish` turns the garbage collector on again.
gc.disable()


def pytest_collection_finish() -> None:
    """Take what exists now (modules, thousands of tests) out of the garbage collector, which else often walks it."""
    gc.freeze()
    gc.enable()


def pytest_runtest_logfinish() -> None:
    """Undo what a command that ran in this process did to the root logger, so that the next test does not see it."""
    root = logging.getLogger()
    if root.level != logging.WARNING:
        root.setLevel(logging.WARNING)
    root.handlers[:] = [handler for handler in root.handlers if type(handler) is not logging.StreamHandler]


LONG = frozenset(Path(__file__).with_name("long.txt").read_text().splitlines())
LEFT = """\
The tests that take long are left to `make long`, which CI runs too: each server that others wrote, most programs as
processes, many worlds."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what long.txt lists, as a whole function or as a single case."""
    for item in items:
        if not LONG.isdisjoint((item.nodeid, item.nodeid.partition("[")[0])):
            item.add_marker(pytest.mark.long)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Say what `make test` does not run."""
    if config.option.markexpr == "not long":
        terminalreporter.write_line(LEFT)


@pytest.fixture
def closed_port() -> Iterator[int]:
    """A port on which nothing listens: it is bound for as long as the test runs, so that no other test gets it."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield bound.getsockname()[1]


@pytest.fixture(scope="session")
def database() -> Iterator[Callable[[str], str]]:
    """Makes an empty database, named after what it is for; its connection string. One Postgres has all of them."""
    import psycopg
    from store_servers import postgres_server

    numbers = itertools.count(1)
    with postgres_server() as dsn:

        def make(purpose: str) -> str:
            name = f"{purpose}_{next(numbers)}"
            with psycopg.connect(dsn, autocommit=True) as connection:
                connection.execute(f"CREATE DATABASE {name}".encode())
            return psycopg.conninfo.make_conninfo(dsn, dbname=name)

        yield make
