"""Tests of `side_by_side`, as runs of pytest on a few tests of their own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import side_by_side

if TYPE_CHECKING:
    from collections.abc import Iterable

CONFTEST = """
from side_by_side import SideBySide

def pytest_configure(config):
    config.pluginmanager.register(SideBySide(config, 2, lambda nodeid: nodeid.partition("::")[0]))
"""

ALL_KINDS = """
import os, warnings
import pytest

@pytest.fixture
def closes_badly():
    yield
    raise ValueError("while it closes")

@pytest.fixture
def opens_badly():
    raise ValueError("while it opens")

def test_passes(): pass
def test_fails(): print("printed before"); assert [1] == [2]
def test_is_skipped(): pytest.skip("not today")
def test_closes_badly(closes_badly): pass
def test_opens_badly(opens_badly): pass
@pytest.mark.xfail(strict=True)
def test_passes_against_expectations(): pass
def test_warns(): warnings.warn("careful")
def test_ends_its_process(): os._exit(3)
def test_that_is_behind_it(tmp_path): pass
"""


def run(folder: Path, *arguments: str, **files: str) -> str:
    """What pytest prints."""
    for name, text in {"conftest": CONFTEST, **files}.items():
        (folder / f"{name}.py").write_text(text)
    path = f"pythonpath={Path(side_by_side.__file__).parent}"
    command = [sys.executable, "-m", "pytest", "-o", path, "-p", "no:cacheprovider", f"--basetemp={folder / 'base'}"]
    alone = {**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "COLUMNS": "150"}
    done = subprocess.run([*command, *arguments], cwd=folder, env=alone, capture_output=True, text=True, check=False)
    return done.stdout


def missing(sentences: Iterable[str], printed: str) -> list[str]:
    return [sentence for sentence in sentences if sentence not in printed]


def test_every_test_is_reported_also_one_that_ends_its_process(tmp_path: Path) -> None:
    printed = run(tmp_path, test_kinds=ALL_KINDS, test_another="def test_passes(): pass")
    sentences = (
        "printed before",
        "ERROR test_kinds.py::test_closes_badly - ValueError: while it closes",
        "ERROR test_kinds.py::test_opens_badly - ValueError: while it opens",
        "UserWarning: careful",
        "FAILED test_kinds.py::test_ends_its_process - the process that ran this test ended with code 3",
        "3 failed, 5 passed, 1 skipped, 1 warning, 2 errors",
        "[100%]",
    )
    assert not missing(sentences, printed), printed


def test_a_process_that_ends_without_an_error_has_not_run_its_test(tmp_path: Path) -> None:
    """Also with `--durations`, where the process has already sent a message about the test."""
    ends = "import os\ndef test_ends_its_process(): os._exit(0)\ndef test_that_is_behind_it(): pass"
    printed = run(tmp_path, "--durations=1", test_ends=ends)
    sentences = "test_ends_its_process - the process that ran this test ended with code 0", "1 failed, 1 passed"
    assert not missing(sentences, printed), printed


def test_what_a_test_leaves_open_is_an_error(tmp_path: Path) -> None:
    leaves = """
import socket
def test_leaves_it_open():
    left = [socket.socket()]
    left.append(left)
"""
    printed = run(tmp_path, "-W", "error", test_leaves=leaves)
    assert not missing(("ResourceWarning: unclosed <socket", "1 passed, 1 error"), printed), printed


def test_processes_that_cannot_run_any_test_end_the_run(tmp_path: Path) -> None:
    plugin = """
import os
process = os.getpid()
def pytest_plugin_registered():
    if os.getpid() != process:
        raise RuntimeError("in a new process")
"""
    printed = run(tmp_path, "-p", "fails", fails=plugin, test_some="def test_passes(): pass")
    sentences = "RuntimeError: a process ended with code 1 while it ran no test", "no tests ran"
    assert not missing(sentences, printed), printed


def test_processes_end_soon_after_a_pytest_that_was_killed(tmp_path: Path) -> None:
    kills = """
import os, pathlib, signal, time
def test_kills_pytest():
    parent = os.getppid()
    os.kill(parent, signal.SIGKILL)
    while os.getppid() == parent:
        time.sleep(0.01)
def test_that_is_behind_it(): pathlib.Path("ran").touch()
"""
    run(tmp_path, test_kills=kills)  # until every process has closed its output
    assert not (tmp_path / "ran").exists()


def test_it_stops_where_it_is_told_to(tmp_path: Path) -> None:
    many = "import pytest\n@pytest.mark.parametrize('n', range(200))\ndef test_fails(n): assert n < 0"
    printed = run(tmp_path, "-x", test_many=many)
    assert "stopping after 1 failures" in printed, printed
    assert "1 failed in" in printed, printed
