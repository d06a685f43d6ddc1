"""The public names of Leasekeeper: adding one is a decision, losing one breaks users."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

import leasekeeper

NAMES = [
    "Batch",
    "Closed",
    "Completion",
    "ConfigurationError",
    "Consumer",
    "ConsumerStatistics",
    "CredentialsMissing",
    "Exponential",
    "HandlerError",
    "HandlerTimeout",
    "Leasekeeper",
    "LeasekeeperError",
    "LifespanError",
    "Linear",
    "Message",
    "MessageAttribute",
    "MessageContext",
    "Options",
    "QueueUnusable",
    "Reject",
    "Report",
    "Retries",
    "Retry",
    "Settled",
    "Settlement",
    "Share",
    "SqsError",
    "Table",
    "UndecodableBody",
    "UnmatchedMessage",
    "Verdict",
]


def test_the_public_names_are_these() -> None:
    assert leasekeeper.__all__ == NAMES


def test_every_public_name_is_there_and_says_what_it_is() -> None:
    for name in NAMES:
        assert getattr(leasekeeper, name).__doc__, name


def test_the_version_is_one() -> None:
    assert re.fullmatch(r"\d+\.\d+\.\d+", leasekeeper.__version__)


def test_every_error_of_ours_has_one_root() -> None:
    """A caller can catch all of them, and nothing else, with one name."""
    errors = [
        each for name in NAMES if isinstance(each := getattr(leasekeeper, name), type) and issubclass(each, Exception)
    ]
    said_by_handlers = {leasekeeper.Retry, leasekeeper.Reject}
    assert {each for each in errors if not issubclass(each, leasekeeper.LeasekeeperError)} == said_by_handlers


@pytest.mark.slow
def test_importing_leasekeeper_imports_nothing_optional() -> None:
    """Extras keep the base install small."""
    optional = {
        "aiohttp",
        "pydantic",
        "typer",
        "rich",
        "boto3",
        "cryptography",
        "prometheus_client",
        "starlette",
        "uvicorn",
    }
    code = f"import sys, leasekeeper; print(*({optional} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "\n"
