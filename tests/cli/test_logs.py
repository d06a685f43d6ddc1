"""Log lines: what a record quotes can neither forge a record nor control a terminal, and our loggers stay enabled."""

from __future__ import annotations

import json
import logging
import logging.config
import sys
from typing import TYPE_CHECKING, Any

import pytest

from leasekeeper.cli import logs, targets

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class Broken:
    """An object that cannot be shown."""

    def __str__(self) -> str:
        raise ValueError("no")

    __repr__ = __str__


def record(message: str = "queue %s", *arguments: object, **extra: object) -> logging.LogRecord:
    made = logging.LogRecord("leasekeeper.run", logging.INFO, "file.py", 1, message, arguments or ("orders",), None)
    vars(made).update(extra, created=0.0, msecs=0.0)
    return made


def failed(text: str) -> Any:
    error = ValueError(text)
    return type(error), error, None


HOSTILE = "x\r\n2026-01-31T12:00:00.123Z ERROR root: forged\x1b[2J\x9b1A\x07\u202e\x85\u2028\ud800"


def test_plain_lines_are_in_utc() -> None:
    assert logs.PlainFormatter().format(record()) == "1970-01-01T00:00:00.000Z INFO leasekeeper.run: queue orders"


def test_a_plain_record_can_not_pass_for_another_one() -> None:
    shown = logs.PlainFormatter().format(record("queue %s", HOSTILE, exc_info=failed(HOSTILE)))
    first, *others = shown.split("\n")
    assert first == "1970-01-01T00:00:00.000Z INFO leasekeeper.run: queue x"
    assert others[0] == (r"    2026-01-31T12:00:00.123Z ERROR root: forged\x1b[2J\x9b1A\x07\u202e\x85\u2028\ud800")
    assert all(line.startswith("    ") for line in others)
    assert not set(shown) & set("\r\x1b\x9b\x07\u202e\x85\u2028\ud800")
    shown.encode()


def test_a_json_record_is_one_line_of_valid_json_whatever_it_holds() -> None:
    loop: list[object] = []
    loop.append(loop)
    shown = logs.JsonFormatter().format(
        record(
            "queue %s",
            HOSTILE,
            exc_info=failed(HOSTILE),
            stack_info="Stack:\n  here",
            numbers=[1, 1.5, float("inf"), float("-inf"), 10**5000, True, None],
            mapping={1: {"a": (Broken(), {2})}, Broken(): b"\xff"},
            loop=loop,
        )
    )
    assert shown.isascii()
    assert "\n" not in shown

    def refuse(constant: str) -> None:
        raise AssertionError(constant)

    line = json.loads(shown, parse_constant=refuse)
    assert line["message"] == f"queue {HOSTILE[:-1]}?"
    assert line["exception"].splitlines()[-1] == "?"
    assert line["stack"] == "Stack:\n  here"
    assert line["numbers"] == [1, 1.5, "inf", "-inf", "<int, which cannot be shown>", True, None]
    assert line["mapping"] == {
        "1": {"a": ["<Broken, which cannot be shown>", [2]]},
        "<Broken, which cannot be shown>": "b'\\xff'",
    }


def test_json_lines_carry_what_came_as_extra() -> None:
    assert json.loads(logs.JsonFormatter().format(record(report={"handled": 3}))) == {
        "time": "1970-01-01T00:00:00.000Z",
        "level": "info",
        "logger": "leasekeeper.run",
        "message": "queue orders",
        "report": {"handled": 3},
    }


@pytest.mark.parametrize("arguments", [(1, 2), (Broken(),)])
@pytest.mark.parametrize("formatter", [logs.PlainFormatter(), logs.JsonFormatter()])
def test_a_record_is_logged_although_its_arguments_cannot_be_formatted(
    formatter: logging.Formatter, arguments: tuple[object, ...]
) -> None:
    shown = formatter.format(record("queue %s", *arguments))
    assert "'queue %s' cannot be formatted: " in shown
    assert "\n" not in shown


@pytest.fixture
def loggers_restored() -> Iterator[None]:
    """Enable again what a test's logging configuration disables."""
    known = [each for each in logging.Logger.manager.loggerDict.values() if isinstance(each, logging.Logger)]
    before = [(logger, logger.disabled) for logger in known]
    yield
    for logger, disabled in before:
        logger.disabled = disabled


@pytest.mark.usefixtures("loggers_restored")
def test_a_configuration_of_the_users_does_not_disable_our_loggers() -> None:
    """`disable_existing_loggers` is true by default in Python, and is meant by almost no configuration."""
    ours, quiet = logging.getLogger("leasekeeper.tests.one"), logging.getLogger("leasekeeper.tests.two")
    other = logging.getLogger("elsewhere")
    quiet.disabled = True
    with logs.kept_enabled():
        logging.config.dictConfig(
            {"version": 1, "loggers": {"shop": {"level": "INFO"}, "leasekeeper.tests.three": {"level": "ERROR"}}}
        )
        assert ours.disabled
        assert other.disabled
    assert not ours.disabled
    assert quiet.disabled
    assert other.disabled
    assert logging.getLogger("leasekeeper.tests.three").level == logging.ERROR


@pytest.mark.usefixtures("loggers_restored")
def test_importing_a_module_that_configures_logging_leaves_run_its_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "configures_logging.py").write_text(
        "import logging.config\nfrom leasekeeper import Leasekeeper\nlogging.config.dictConfig({'version': 1})\n"
        "app = Leasekeeper()\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    log = logging.getLogger("leasekeeper.run")
    log.disabled = False

    targets.load("configures_logging:app")

    assert not log.disabled
    del sys.modules["configures_logging"]
