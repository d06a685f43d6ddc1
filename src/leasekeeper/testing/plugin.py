"""The pytest plugin: fixtures for testing handlers and consumers.

Read by pytest where a `conftest.py` says `pytest_plugins = ["leasekeeper.testing.plugin"]`. It promises to import
nothing more of Leasekeeper until a fixture is asked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from leasekeeper.local import LocalSqs
    from leasekeeper.testing.handling import Handled


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add `--leasekeeper-faults`."""
    parser.addoption(
        "--leasekeeper-faults",
        action="store_true",
        help="run with an SQS that throttles, resets, fails entries of batches and delivers messages twice",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Note whether the suite runs under faults."""
    if config.getoption("leasekeeper_faults", default=False):
        from leasekeeper.testing.suite_faults import SuiteFaults

        SuiteFaults.wanted = True


@pytest.fixture
def local_sqs(monkeypatch: pytest.MonkeyPatch) -> Iterator[LocalSqs]:
    """A local SQS for this test, empty at first; consumers, boto3 and the AWS CLI find it through the environment."""
    from leasekeeper.local import LocalSqs
    from leasekeeper.testing.suite_faults import SuiteFaults

    with LocalSqs() as sqs:
        SuiteFaults.apply(sqs.faults)
        monkeypatch.setenv("AWS_ENDPOINT_URL_SQS", sqs.endpoint_url)
        monkeypatch.setenv("AWS_REGION", "us-east-1")
        monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
        monkeypatch.delenv("AWS_SESSION_TOKEN", raising=False)
        monkeypatch.delenv("AWS_PROFILE", raising=False)
        yield sqs


@pytest.fixture
def handle() -> Callable[..., Handled]:
    """Call a handler with a message, without a queue: `handle(ship, {"id": 7}, receive_count=2).acked`."""
    from leasekeeper.testing.handling import run_handler

    return run_handler
