"""The option `--side-by-side`, of tests and soak tests: how many processes run them, and which tests go together."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

from side_by_side import SideBySide

if TYPE_CHECKING:
    import pytest

FOLDERS = ("acceptance", "costs", "engine", "examples", "simulation")
SINGLE = ("soak/", *(f"tests/{folder}/" for folder in FOLDERS))
OF_STORES = ("tests/idempotency/", "tests/outbox/")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--side-by-side", action="store_true", help="run tests in two processes a core, 16 at most")


def pytest_configure(config: pytest.Config) -> None:
    if config.option.side_by_side and hasattr(os, "fork"):
        # More than one a core: many tests wait for processes and sockets.
        config.pluginmanager.register(SideBySide(config, min(2 * (os.cpu_count() or 1), 16), piece_of))


def piece_of(nodeid: str) -> str:
    """Tests that one process runs: a file, one test where tests take a second, or all that need a server or stores.

    Large pieces start few servers and share what a file prepares; single long tests let the processes end together.
    """
    if of_a_server := re.match(r"tests/conformance/.*?\[(\w+)", nodeid):
        return of_a_server[1]
    if nodeid.startswith(OF_STORES):
        return "stores"
    return nodeid if nodeid.startswith(SINGLE) else nodeid.partition("::")[0]
