"""Loggers that cannot fail, whatever their handlers do."""

from __future__ import annotations

import logging

import pytest

from leasekeeper.loggers import safe_logger


class Broken(logging.Handler):
    def __init__(self, error: BaseException) -> None:
        super().__init__()
        self._error = error

    def emit(self, record: logging.LogRecord) -> None:
        raise self._error


@pytest.mark.parametrize("error", [RuntimeError("full"), SystemExit(3), KeyboardInterrupt()])
def test_whatever_a_log_handler_raises_is_not_raised_here(error: BaseException) -> None:
    """L15."""
    logger = logging.Logger("broken")  # noqa: LOG001 - a handler that raises stays out of the tree of loggers
    logger.addHandler(Broken(error))
    safe = safe_logger(logger)
    safe.warning("one")
    safe.error("two", exc_info=ValueError("x"))
    safe.info("%s", "three", extra={"queue": "orders"})


def test_a_record_names_its_caller_and_keeps_error_and_fields(caplog: pytest.LogCaptureFixture) -> None:
    error = ValueError("x")
    safe_logger("leasekeeper.run").error("no %s", "luck", exc_info=error, extra={"queue": "orders"})
    (record,) = caplog.records
    assert (record.name, record.getMessage(), record.filename) == ("leasekeeper.run", "no luck", "test_loggers.py")
    assert record.exc_info is not None
    assert record.exc_info[1] is error
    assert vars(record)["queue"] == "orders"
