"""The public names of Leasekeeper: adding one is a decision, losing one breaks users."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

import leasekeeper
from leasekeeper import _NAMES

NAMES = [
    "Batch",
    "BufferFull",
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
    "Sender",
    "Settled",
    "Settlement",
    "Share",
    "SqsError",
    "Table",
    "UndecodableBody",
    "UnmatchedMessage",
    "Unsent",
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
    code = f"import sys; from leasekeeper import *; print(*({optional} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "\n"


def test_each_public_name_is_imported_from_where_type_checkers_look_for_it() -> None:
    source = Path(leasekeeper.__file__).read_text(encoding="utf-8")
    seen = {
        alias.name: node.module
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.ImportFrom) and node.module is not None and node.module.startswith("leasekeeper.")
        for alias in node.names
    }
    assert {name: f"leasekeeper.{module}" for module, names in _NAMES.items() for name in names.split()} == seen
    assert sorted(seen) == NAMES


def test_a_name_that_is_not_there_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'Leasekeper'"):
        leasekeeper.Leasekeper  # type: ignore[attr-defined]  # noqa: B018
