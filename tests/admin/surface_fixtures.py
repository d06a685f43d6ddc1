"""Fixtures of the tests of the admin surface: a module gets them by `pytest_plugins = ["surface_fixtures"]`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from leasekeeper.admin import watch
from leasekeeper.local import LocalSqs

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def sqs() -> Iterator[LocalSqs]:
    """An empty local SQS."""
    with LocalSqs() as sqs:
        yield sqs


@pytest.fixture
def quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    """Looks come fifty times a second, so that tests need not wait."""
    monkeypatch.setattr(watch, "EVERY", 0.02)
