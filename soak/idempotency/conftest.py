"""What the soak tests of idempotency share: `bench`, with each kind of store."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pytest
from once_bench import Bench, create_tables
from store_servers import moto_process, postgres_server, redis_server

from leasekeeper.local import LocalSqs

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(params=["redis", "postgres", "dynamodb", "inbox"])
def bench(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Bench]:
    kind = request.param
    with ExitStack() as stack:
        sqs = stack.enter_context(LocalSqs(seed=1))
        servers: dict[str, Any] = {"redis": redis_server, "dynamodb": moto_process}
        place = stack.enter_context(servers.get(kind, postgres_server)())
        create_tables(kind, place)
        made = Bench(sqs, tmp_path, kind, place)
        try:
            yield made
        finally:
            for process in made.processes:
                process.kill()
                process.wait()
