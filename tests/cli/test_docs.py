"""`leasekeeper docs`: what it writes, and what `--check` finds."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.slow
APP = '''
from leasekeeper import Leasekeeper

app = Leasekeeper(region="eu-west-1")


@app.consumer("orders")
async def ship(order: dict) -> None:
    """Ship an order."""
'''


def run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "leasekeeper", "docs", *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


def test_a_document_and_a_page_are_written_and_found_stale(tmp_path: Path) -> None:
    (tmp_path / "depot.py").write_text(APP)
    files = ("--output", "asyncapi.json", "--html", "index.html")
    assert run(tmp_path, "depot:app", *files).returncode == 0
    document = json.loads((tmp_path / "asyncapi.json").read_text())
    assert (document["info"]["title"], list(document["channels"])) == ("depot", ["orders"])
    assert "Ship an order." in (tmp_path / "index.html").read_text()
    assert run(tmp_path, "depot:app", *files, "--check").returncode == 0
    (tmp_path / "depot.py").write_text(re.sub("Ship an order", "Send an order", APP))
    stale = run(tmp_path, "depot:app", *files, "--check")
    assert stale.returncode == 1
    assert "asyncapi.json is not what the code says now: run the same command without --check" in stale.stderr
    assert "Ship an order" in (tmp_path / "asyncapi.json").read_text(), "a check writes nothing"


def test_without_a_file_it_is_printed_and_a_check_needs_one(tmp_path: Path) -> None:
    (tmp_path / "depot.py").write_text(APP)
    assert json.loads(run(tmp_path, "depot:app", "--title", "Shop").stdout)["info"]["title"] == "Shop"
    check = run(tmp_path, "depot:app", "--check")
    assert (check.returncode, "name the files to check" in check.stderr) == (2, True)
