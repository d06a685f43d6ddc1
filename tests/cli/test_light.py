"""What light commands import, and what is answered without the program."""

from __future__ import annotations

import http.server
import os
import subprocess
import sys
import threading
from typing import TYPE_CHECKING

import pytest

from leasekeeper import __version__
from leasekeeper.cli.light import answer, flags
from leasekeeper.cli.program import COMMANDS, Commands

if TYPE_CHECKING:
    from collections.abc import Iterator

HEAVY = {"asyncio", "botocore", "email", "http", "logging", "msgspec", "pydantic", "rich", "ssl", "typer"}
"""Modules that take long to import."""
SHOW = """
import sys
from leasekeeper.cli import _run
sys.argv = ["leasekeeper", *{arguments}]
_run()
print("imported:", *sys.modules)
"""


def imported_by(*arguments: str) -> set[str]:
    """The modules that a command imports."""
    code = SHOW.format(arguments=arguments)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.rpartition("imported:")[2].split())


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "heavy", "ours"),
    [
        (("--version",), set(), set()),
        (("--help",), {"typer"}, {"cli.layout", "cli.mistakes", "cli.program"}),
        (("health", "--admin", "127.0.0.1:1"), set(), {"admin", "admin.address", "cli.probe"}),
    ],
)
def test_a_light_command_imports_little(arguments: tuple[str, ...], heavy: set[str], ours: set[str]) -> None:
    """A container runtime may ask for the health every few seconds."""
    found = imported_by(*arguments)
    assert found & HEAVY == heavy
    shared = {
        *("cli", "cli.light", "cli.start_time"),
        *("supervision", "supervision.lines", "supervision.plan", "supervision.protocol"),
        *(
            "cli.errors",
            "cli.words",
            "errors",
            "exit_codes",
            "sqs",
            "sqs.urls",
            "texts",
        ),  # what an error takes to be said
    }
    assert {each.removeprefix("leasekeeper.") for each in found if each.startswith("leasekeeper.")} <= ours | shared


@pytest.mark.slow
def test_the_supervisor_imports_little() -> None:
    """It lives as long as the service."""
    code = "import sys, leasekeeper.cli, leasekeeper.supervision.supervisor; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    found = set(done.stdout.split())
    assert found & HEAVY == set()
    ours = {each for each in found if each.startswith("leasekeeper.")}
    outside = {each for each in ours if not each.startswith(("leasekeeper.supervision", "leasekeeper.cli"))}
    assert outside == {"leasekeeper.exit_codes", "leasekeeper.tallies"}


@pytest.fixture
def speaker() -> Iterator[tuple[str, list[tuple[int, bytes]]]]:
    """An HTTP server that answers as it is told, one answer after another."""
    answers: list[tuple[int, bytes]] = []

    class Speaker(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, body = answers.pop(0)
            self.send_response(status)
            self.end_headers()
            self.wfile.write(self.path.encode() if body == b"path" else body)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with http.server.HTTPServer(("127.0.0.1", 0), Speaker) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        yield f"127.0.0.1:{server.server_port}", answers
        server.shutdown()


def test_health_says_what_the_process_answered(
    speaker: tuple[str, list[tuple[int, bytes]]], capsys: pytest.CaptureFixture[str]
) -> None:
    address, answers = speaker
    answers += [(200, b"{}"), (200, b"{}"), (503, b'{"reasons": ["orders: \\u001bslow"]}'), (500, b"path")]
    assert answer(["health", "--admin", address], {}) == 0
    assert answer(["health", "--ready"], {"LEASEKEEPER_ADMIN": address}) == 0
    assert capsys.readouterr().out == "alive\nready\n"
    assert answer(["health", f"--admin={address}"], {}) == 1
    assert answer(["health", "--ready", "--admin", address], {}) == 1
    assert capsys.readouterr().err.splitlines() == [
        "leasekeeper: not alive: orders: \\x1bslow",
        "leasekeeper: not ready: HTTP status 500",
    ]


def test_health_of_what_does_not_answer_in_http_is_no(capsys: pytest.CaptureFixture[str]) -> None:
    with http.server.HTTPServer(("127.0.0.1", 0), http.server.BaseHTTPRequestHandler) as server:
        address = f"127.0.0.1:{server.server_port}"

        def close() -> None:
            server.socket.accept()[0].close()

        threading.Thread(target=close, daemon=True).start()
        assert answer(["health", "--admin", address], {}) == 1
    assert f"no answer from http://{address}: " in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments",
    [
        ["health", "--help"],
        ["health", "--admin"],
        ["health", "--admin", "nowhere"],
        ["health", "--timeout", "0"],
        ["health", "--timeout", "soon"],
        ["health", "--redy"],
        ["--help"],
        ["run", "shop:app"],
        [],
    ],
)
def test_everything_else_goes_to_the_program(arguments: list[str]) -> None:
    assert answer(arguments, {}) is None


def test_the_version_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    assert answer(["--version"], {}) == 0
    assert capsys.readouterr().out == f"leasekeeper {__version__}\n"


def test_flags_are_read_as_they_are_written() -> None:
    both = {"values": ("--admin",), "switches": ("--ready",)}
    assert flags(["--admin", "9900", "--ready"], **both) == {"--admin": "9900", "--ready": ""}
    assert flags(["--admin=9900"], **both) == {"--admin": "9900"}
    assert flags(["--ready=yes"], **both) is None


@pytest.mark.parametrize("name", COMMANDS)
def test_the_list_of_commands_says_what_the_help_of_each_says_first(name: str) -> None:
    command = Commands(name="leasekeeper").get_command(None, name)
    assert " ".join(command.help.split()).startswith(COMMANDS[name] + ".")


@pytest.mark.slow
def test_the_shell_completes_options_without_the_engine() -> None:
    code = (
        "import sys, os; from leasekeeper.cli import _run; sys.argv = ['leasekeeper']; _run(); "
        "print('imported:', *sys.modules)"
    )
    words = {"_LEASEKEEPER_COMPLETE": "complete_bash", "COMP_WORDS": "leasekeeper run --conc", "COMP_CWORD": "2"}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env={**os.environ, **words}
    )
    completed, _, imported = done.stdout.partition("imported:")
    assert completed == "--concurrency\n"
    assert not [each for each in imported.split() if each.startswith(("leasekeeper.engine", "botocore", "rich"))]
