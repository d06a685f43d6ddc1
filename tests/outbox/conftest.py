"""A real Postgres and the local SQS: `bench` has an empty outbox and two empty queues."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from outbox_bench import Bench

from leasekeeper.local import LocalSqs

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@pytest.fixture(scope="session")
def dsn(database: Callable[[str], str]) -> str:
    return database("outbox")


@pytest.fixture
def bench(dsn: str) -> Iterator[Bench]:
    with LocalSqs(seed=1) as sqs:
        yield Bench(dsn, sqs)
