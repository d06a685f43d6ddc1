"""`leasekeeper docs`: what it writes, and what `--check` finds."""

from __future__ import annotations

import contextlib
import importlib
import io
import json
import re
import sys
from typing import TYPE_CHECKING

import pytest

from leasekeeper.cli.program import execute

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Run = Callable[..., tuple[int, str, str]]

APP = '''
from leasekeeper import Leasekeeper

app = Leasekeeper(region="eu-west-1")


@app.consumer("orders")
async def ship(order: dict) -> None:
    """Ship an order."""
'''


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[int, str, str]]:
    """Run the command in this process; its exit code, what it printed, and its errors."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])

    def call(*arguments: str) -> tuple[int, str, str]:
        sys.modules.pop("depot", None)
        importlib.invalidate_caches()
        out, err = io.StringIO(), io.StringIO()
        monkeypatch.setattr(sys, "argv", ["leasekeeper", "docs", *arguments])
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = execute()
        return code, out.getvalue(), err.getvalue()

    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    return call


def test_a_document_and_a_page_are_written_and_found_stale(tmp_path: Path, run: Run) -> None:
    (tmp_path / "depot.py").write_text(APP)
    files = ("--output", "asyncapi.json", "--html", "index.html")
    assert run("depot:app", *files)[0] == 0
    document = json.loads((tmp_path / "asyncapi.json").read_text())
    assert (document["info"]["title"], list(document["channels"])) == ("depot", ["orders"])
    assert "Ship an order." in (tmp_path / "index.html").read_text()
    assert run("depot:app", *files, "--check")[0] == 0
    (tmp_path / "depot.py").write_text(re.sub("Ship an order", "Send an order", APP))
    stale = run("depot:app", *files, "--check")
    assert stale[0] == 1
    assert "asyncapi.json is not what the code says now: run the same command without --check" in stale[2]
    assert "Ship an order" in (tmp_path / "asyncapi.json").read_text(), "a check writes nothing"


def test_without_a_file_it_is_printed_and_a_check_needs_one(tmp_path: Path, run: Run) -> None:
    (tmp_path / "depot.py").write_text(APP)
    assert json.loads(run("depot:app", "--title", "Shop")[1])["info"]["title"] == "Shop"
    check = run("depot:app", "--check")
    assert (check[0], "name the files to check" in check[2]) == (2, True)
