"""A real Postgres and the local SQS: `bench` has an empty outbox and two empty queues."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from outbox_bench import Bench
from store_servers import postgres_server

from leasekeeper.local import LocalSqs

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="session")
def dsn() -> Iterator[str]:
    with postgres_server() as dsn:
        yield dsn


@pytest.fixture
def bench(dsn: str) -> Iterator[Bench]:
    with LocalSqs(seed=1) as sqs:
        yield Bench(dsn, sqs)
