"""`leasekeeper options`: each option of a consumer with its source, and no secret."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.slow
APP = """
from leasekeeper import Leasekeeper
from leasekeeper.api import Credentials

app = Leasekeeper(region="eu-west-1", retry_base=3, credentials=Credentials(access_key="AKIA", secret_key="canary"))


@app.consumer("orders", handler_timeout=60)
async def ship(order: dict) -> None: ...


@app.consumer("mails", wait_time=20, prefetch=None)
async def tell(mail: dict) -> None: ...
"""
FILE = """
[tool.leasekeeper]
retry_base = 5

[tool.leasekeeper.queues.orders]
concurrency = 7
"""


def run(folder: Path, *arguments: str) -> str:
    environment = {**os.environ, "LEASEKEEPER_WAIT_TIME": "10"}
    command = [sys.executable, "-m", "leasekeeper", "options", "depot:app", *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True, env=environment).stdout


def test_every_source_is_named(tmp_path: Path) -> None:
    (tmp_path / "depot.py").write_text(APP)
    (tmp_path / "pyproject.toml").write_text(FILE)
    printed = run(tmp_path, "--drain-timeout", "15")
    orders, mails = printed.split("\n\n")
    lines = {line.split()[0]: line.split(maxsplit=1)[1] for line in orders.splitlines()[1:]}
    assert lines.keys() == {
        "concurrency",
        "handler_timeout",
        "wait_time",
        "retry_base",
        "drain_timeout",
        "region",
        "credentials",
    }
    assert lines["concurrency"].split(maxsplit=1) == ["7", "file pyproject.toml [tool.leasekeeper.queues.orders]"]
    assert lines["handler_timeout"].split() == ["60", "s", "code"]
    assert lines["wait_time"].split() == ["10", "s", "environment", "LEASEKEEPER_WAIT_TIME"]
    assert lines["drain_timeout"].split() == ["15", "s", "flag", "--drain-timeout"]
    assert lines["retry_base"].split(maxsplit=2) == ["5", "s", "file pyproject.toml [tool.leasekeeper]"]
    assert "concurrency" not in mails
    assert {line.split()[0]: line.split()[1:] for line in mails.splitlines()}["prefetch"] == ["unset", "code"]
    assert "canary" not in printed


def test_all_of_them_as_json(tmp_path: Path) -> None:
    (tmp_path / "depot.py").write_text(APP)
    found = json.loads(run(tmp_path, "--all", "--json"))
    assert list(found) == ["orders", "mails"]
    options = {each["name"]: each for each in found["orders"]}
    assert len(options) > 50
    assert (options["concurrency"]["value"], options["concurrency"]["source"]) == ("20", "default")
    assert "Handlers that run at the same time" in options["concurrency"]["text"]
