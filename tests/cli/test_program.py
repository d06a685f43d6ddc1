"""The program as a whole: help from the schema, exit codes, what is said without the extra."""

from __future__ import annotations

import errno
import io
import logging
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import typer

from leasekeeper import Leasekeeper
from leasekeeper.cli import settings
from leasekeeper.cli.errors import exit_of
from leasekeeper.cli.logs import Warnings
from leasekeeper.cli.program import execute, program
from leasekeeper.errors import (
    Closed,
    ConfigurationError,
    CredentialsMissing,
    LeasekeeperError,
    NotFound,
    QueueUnusable,
    SqsError,
    Verdict,
)
from leasekeeper.exit_codes import Exit
from leasekeeper.idempotency.api import TableMissing
from leasekeeper.payload import PayloadUnavailable

SCHEMA = {option.flag for option in settings.schema()}
CHECKED_AT_ONCE = ("run", "local", "demo", "send", "peek", "redrive", "doctor", "health", "scale", "manifest")
CHOICES = {"scale": "advise", "manifest": "kubernetes"}
"""What the commands take whose first argument is one of a few words."""
COMMANDS = ("run", "local", "demo", "send", "peek", "redrive", "doctor", "outbox", "health")


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["leasekeeper", *arguments])
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setenv("NO_COLOR", "1")
    return execute()


def test_help_names_every_command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(monkeypatch, "--help") == 0
    shown = capsys.readouterr().out
    assert all(f"\n  {command}\n" in shown for command in COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    assert run(monkeypatch, command, "--help") == 0
    assert f"leasekeeper {command}" in capsys.readouterr().out


def test_help_of_run_has_a_flag_for_every_option_of_the_schema(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run(monkeypatch, "run", "--help")
    shown = capsys.readouterr().out
    for option in settings.schema():
        switch = f" / --no-{option.flag[2:]}\n" if option.kind == "bool" else f" {option.metavar}\n"
        assert f"\n  {option.flag}{switch}" in shown.replace("NAME,...", "TEXT")
    assert "\n  --throttle / --no-throttle\n" in shown
    assert "[tool.leasekeeper.queues.NAME]" in shown
    assert "[default: 20; 1 to 120000]" in " ".join(shown.split())


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("columns", [40, 80, 120])
def test_no_flag_is_cut_and_no_text_is_wider_than_the_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], command: str, columns: int
) -> None:
    monkeypatch.setattr(sys, "argv", ["leasekeeper", command, "--help"])
    monkeypatch.setenv("COLUMNS", str(columns))
    assert execute() == 0
    lines = capsys.readouterr().out.splitlines()
    assert not [line for line in lines if "\N{HORIZONTAL ELLIPSIS}" in line or re.search(r"<\w+>|\[required", line)]
    flags = [line for line in lines if re.match(r"  -", line)]
    assert all(re.fullmatch(r"  (-\w, )?--[a-z0-9-]+( / --[a-z0-9-]+)?( \S+)?", flag) for flag in flags)
    assert len(flags) >= 4
    assert max(len(line) for line in lines if line.startswith("      ") and " " in line.strip()) <= columns


@pytest.mark.parametrize(
    ("arguments", "quoted"),
    [
        (("send", "orders", "x", "--count", "[/x]\x1b"), "--count"),
        (("peek", "--[/b]"), "--[/b]"),
        (("run",), "MODULE:NAME"),
        (("x[/red]",), "x[/red]"),
    ],
)
def test_wrong_flags_are_quoted_as_they_are(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], quoted: str
) -> None:
    assert run(monkeypatch, *arguments) == Exit.USAGE
    error = capsys.readouterr().err
    assert error.startswith("leasekeeper: ")
    assert error.count("\n") == 1
    assert quoted in error
    assert "\x1b" not in error


def test_version(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(monkeypatch, "--version") == 0
    assert capsys.readouterr().out.startswith("leasekeeper 0.")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (
            ("run", "nowhere_at_all:app", "--log-level", "loud"),
            "leasekeeper: --log-level='loud': must be one of debug, ",
        ),
        (
            ("run", "nowhere_at_all:app", "--concurrency", "x"),
            "leasekeeper: --concurrency='x': must be a ",
        ),
        (("foo",), "leasekeeper: there is no command 'foo'. See leasekeeper --help"),
        (("redrve", "x"), "leasekeeper: there is no command 'redrve'; did you mean redrive? See leasekeeper --help"),
        (("peek", "--coutn", "3"), "leasekeeper: there is no option --coutn; did you mean --count? See leasekeeper "),
        (("peek",), "leasekeeper: QUEUE is missing: the queue's name, URL or ARN. See leasekeeper peek --help"),
        (("peek", "q", "r"), "leasekeeper: 'r' is too much: peek takes QUEUE. See leasekeeper peek --help"),
        (("peek", "q", "--count"), "leasekeeper: --count needs a value. See leasekeeper peek --help"),
        (("peek", "q", "--json=1"), "leasekeeper: --json takes no value. See leasekeeper peek --help"),
        (
            ("peek", "q", "-n", "0"),
            "leasekeeper: --count='0': must be a whole number, 1 or more. See leasekeeper peek ",
        ),
        (
            ("run", "a:b", "--processes", "0"),
            "leasekeeper: --processes='0': must be a whole number from 1 to 1000. See ",
        ),
        (
            ("store", "create", "mysql"),
            "leasekeeper: kind='mysql': must be postgres, inbox, dynamodb or redis. See leasekeeper ",
        ),
        (("store", "create"), "leasekeeper: the kind is missing: give postgres, inbox, dynamodb or redis. See "),
        (
            ("outbox", "statuss"),
            "leasekeeper: action='statuss': must be create, relay, status or retry; did you mean status? See ",
        ),
        (("scale",), "leasekeeper: the action is missing: give advise. See leasekeeper scale --help"),
        (("scale", "advice", "q"), "leasekeeper: action='advice': must be advise; did you mean advise? See "),
        (("manifest", "k8s", "a:b"), "leasekeeper: kind='k8s': must be kubernetes or ecs. See leasekeeper manifest "),
        (("send", "or ders", "body"), "leasekeeper: 'or ders' is not a queue: "),
        (
            ("send", "https://sqs.eu-west-1.amazonaws.com/123456789012/q", "body", "--region", "us-east-1"),
            (
                "leasekeeper: --region='us-east-1' with queue 'https://sqs.eu-west-1.amazonaws.com/123456789012/q': the"
                " queue is in eu-west-1; leave --region out, or give the queue of that region\n"
            ),
        ),
        (("peek", "q", "--region=a b"), "leasekeeper: --region='a b': a region has letters, digits and hyphens only"),
        (("redrive", "q", "--region", "a b"), "leasekeeper: --region='a b': a region has letters"),
        (("doctor", "q", "--region", "a b"), "leasekeeper: --region='a b': a region has letters"),
        (("peek", "q", "--endpoint-url", "ftp://x"), "leasekeeper: --endpoint-url='ftp://x'"),
        (
            ("store", "create", "dynamodb", "--region", "a b"),
            "leasekeeper: --region='a b': a region has letters",
        ),
        (("send", "orders", "b", "-f", "f"), "leasekeeper: both a BODY and --file are given"),
        (("send", "orders", "b", "-a", "x"), "leasekeeper: --attribute='x': must be NAME=VALUE"),
        (
            ("send", "orders", "b", "-a", "x=1", "-a", "x=2"),
            "leasekeeper: --attribute='x=2': x is given twice; a message has one of each name",
        ),
        (
            ("send", "orders", "b", "--deduplication-id", "1"),
            "leasekeeper: --deduplication-id for queue orders: only FIFO queues have deduplication ids; leave it out",
        ),
        (
            ("send", "arn:aws:sns:eu-west-1:123456789012:orders", "b"),
            "leasekeeper: 'arn:aws:sns:eu-west-1:123456789012:orders' is not a queue: it is an ARN of sns. Give a name",
        ),
        (
            ("scale", "advise", "q", "--latency", "0"),
            "leasekeeper: --latency='0': must be a number, 1 second or more. ",
        ),
        (
            ("redrive", "q", "--sent-after", "1h", "--sent-before", "2h"),
            "leasekeeper: --sent-after='1h' with --sent-before='2h': no time is after the one and before the other; ",
        ),
        (
            ("local", "--port", "0", "--queue", "a:visibility=abc"),
            "leasekeeper: --queue='a' with VisibilityTimeout=abc: Invalid value for the parameter VisibilityTimeout.",
        ),
        (("run", "shop:app", "--admin", "x:y"), "leasekeeper: the admin address 'x:y': give HOST:PORT, such as "),
        (("run", "shop:app", "--peers", "9900"), "leasekeeper: --peers without --admin: say where to show them"),
        (("run", "shop:app", "--peers=9900", "--reload"), "leasekeeper: --peers without --admin: say where to show "),
        (("send", "orders.fifo", "b"), "leasekeeper: queue orders.fifo is FIFO: give --group-id\n"),
        (
            ("send", "orders.fifo", "b", "--group-id", "g", "--delay", "5"),
            "leasekeeper: --delay='5': messages of a FIFO queue have no delay for each, and orders.fifo is one; leave ",
        ),
        (("redrive", "orders", "--status", "--cancel"), "leasekeeper: --status and --cancel are both given"),
        (("local", "--queue", "or ders"), "leasekeeper: --queue='or ders': 'or ders' is not the name of a queue"),
        (("local", "--queue", "a:dlq=b c"), "leasekeeper: --queue='a:dlq=b c': 'b c' is not the name of a queue"),
        (("local", "--queue", "a:b=1"), "leasekeeper: --queue='a:b=1': 'b=1' is not understood"),
        (
            ("local", "--queue", "a:max=1"),
            "leasekeeper: --queue='a:max=1': max=1 must be a whole number, given together",
        ),
        (("local", "--fault", "throttle"), "leasekeeper: --fault='throttle': 'throttle' is not NAME=NUMBER"),
        (("local", "--fault", "no=1"), "leasekeeper: no switch 'no': the switches are "),
    ],
)
def test_wrong_usage_is_told_in_one_line_and_ends_with_2(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], sentence: str
) -> None:
    assert run(monkeypatch, *arguments) == Exit.USAGE
    shown = capsys.readouterr().err
    assert shown.startswith(sentence)
    assert shown.count("\n") == 1


def test_every_flag_with_a_number_refuses_a_wrong_one_in_a_line_with_its_name_and_bounds(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    group: Any = typer.main.get_command(program)
    checked = 0
    for command in CHECKED_AT_ONCE:
        parameters = group.get_command(None, command).params
        arguments = [each for each in parameters if each.param_type_name == "argument" and each.required]
        needed = [CHOICES.get(command, "orders"), *["orders"] * len(arguments)][: len(arguments)]
        for parameter in parameters:
            flag = max(parameter.opts, key=len)
            if parameter.metavar not in ("NUMBER", "SECONDS") or flag in SCHEMA:
                continue
            for wrong in ("x", "nan", "-1e999"):
                assert run(monkeypatch, command, *needed, f"{flag}={wrong}") == Exit.USAGE
                said = capsys.readouterr().err
                assert re.fullmatch(
                    rf"leasekeeper: {flag}='{wrong}': must be a (whole )?number(,? .* (or more|to .*))?\. "
                    rf"See leasekeeper {command} --help\n",
                    said,
                ), said
                checked += 1
    assert checked >= 60


def test_a_file_that_cannot_be_written_is_told_in_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setitem(sys.modules, "some_service", service := ModuleType("some_service"))
    service.app = Leasekeeper()  # type: ignore[attr-defined]
    service.app.consumer("orders")(lambda _: None)
    assert run(monkeypatch, "docs", "some_service:app", "--output", str(tmp_path)) == Exit.USAGE
    assert capsys.readouterr().err == f"leasekeeper: {tmp_path}: Is a directory; give another path\n"


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ConfigurationError("x"), 2),
        (CredentialsMissing("x"), 3),
        (NotFound("x"), 3),
        (TableMissing("x"), 3),
        (PayloadUnavailable("x"), 3),
        (QueueUnusable("x"), 3),
        (SqsError(Verdict.DENIED, "AccessDenied", "no"), 3),
        (Closed("x"), 1),
        (LeasekeeperError("x"), 1),
    ],
)
def test_each_error_has_its_exit_code(error: LeasekeeperError, code: int) -> None:
    assert exit_of(error) == code


def test_the_page_of_the_command_line_has_a_section_for_every_command() -> None:
    page = (Path(__file__).parents[2] / "docs" / "reference" / "cli.md").read_text()
    assert all(f"\n## {command}\n" in page for command in COMMANDS)


@pytest.mark.slow
def test_without_the_extra_it_says_what_to_install() -> None:
    code = (
        "import importlib.util as u, sys; real = u.find_spec\n"
        "u.find_spec = lambda name, *rest: None if name in ('typer', 'rich') else real(name, *rest)\n"
        "sys.argv = ['leasekeeper', '--help']; from leasekeeper.cli import main; main()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr == (
        "leasekeeper: the command line needs typer and rich: pip install typer rich (the extra `cli`)\n"
    )


@pytest.mark.slow
def test_python_m_leasekeeper_is_the_same_program() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "leasekeeper", "--version"], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout[:12]) == (0, "leasekeeper ")


def test_a_warning_of_a_command_is_shown_as_its_errors_are(capsys: pytest.CaptureFixture[str]) -> None:
    """Commands other than `run` set up no logging, and Python would print the bare text."""
    Warnings().handle(logging.makeLogRecord({"msg": "bucket %s is slow:\x1b[31m", "args": ("nope",)}))
    assert capsys.readouterr().err == "leasekeeper: bucket nope is slow:\\x1b[31m\n"
    Warnings().handle(logging.makeLogRecord({"msg": "it failed", "exc_info": (OSError, OSError("no route"), None)}))
    assert capsys.readouterr().err == "leasekeeper: it failed\nOSError: no route\n"


def test_warnings_are_shown_by_every_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logging, "lastResort", None)
    assert run(monkeypatch, "peek", "--help") == 0
    assert isinstance(logging.lastResort, Warnings)
    assert logging.lastResort.level == logging.WARNING


class NoRoom(io.StringIO):
    """An output that cannot be written."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.number = number

    def write(self, _text: str) -> int:
        raise OSError(self.number, os.strerror(self.number))


def test_an_output_without_room_is_told_in_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "stdout", NoRoom(errno.ENOSPC))
    assert run(monkeypatch, "store", "create", "redis") == 1
    assert capsys.readouterr().err == (
        "leasekeeper: the output cannot be written: No space left on device; what was to be done before may be done\n"
    )


def test_a_reader_that_has_enough_is_no_error(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As `head` in a pipe."""
    monkeypatch.setattr(sys, "stdout", NoRoom(errno.EPIPE))
    assert run(monkeypatch, "store", "create", "redis") == 1
    assert capsys.readouterr().err == ""


def test_several_mistakes_are_one_line_each(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, "send", "orders.fifo", "b", "--delay", "5") == Exit.USAGE
    group, delay = capsys.readouterr().err.splitlines()
    assert group == "leasekeeper: queue orders.fifo is FIFO: give --group-id"
    assert delay.startswith("leasekeeper: --delay='5': messages of a FIFO queue have no delay")


@pytest.mark.slow
def test_closed_outputs_are_no_error() -> None:
    command = f"exec {shlex.quote(sys.executable)} -m leasekeeper --version >&- 2>&-"
    assert subprocess.run(["/bin/sh", "-c", command], check=False).returncode == 0


@pytest.mark.slow
def test_a_closed_input_is_an_empty_one(closed_port: int) -> None:
    url = f"http://127.0.0.1:{closed_port}"
    command = f"exec {shlex.quote(sys.executable)} -m leasekeeper send orders --endpoint-url {url} <&-"
    keys = {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b"}
    ended = subprocess.run(["/bin/sh", "-c", command], env={**os.environ, **keys}, capture_output=True, check=False)
    assert f"{url}/ cannot be reached".encode() in ended.stderr
    assert ended.returncode == Exit.UNUSABLE


def test_a_working_directory_that_is_gone_is_told_in_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def gone() -> Path:
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))

    monkeypatch.setattr(Path, "cwd", gone)
    assert run(monkeypatch, "options", "shop:app") == Exit.USAGE
    assert capsys.readouterr().err == (
        "leasekeeper: the working directory does not exist any more: change to another one\n"
    )
