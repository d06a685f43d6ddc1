"""What the tests of the keeper share: `bench`, on real processes, and `fifo_bench`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from kept_bench import KeptBench, end

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[KeptBench]:
    made = KeptBench(tmp_path)
    try:
        yield made
    finally:
        end(made)
        made.sqs.stop()


@pytest.fixture
def fifo_bench(tmp_path: Path) -> Iterator[KeptBench]:
    made = KeptBench(tmp_path, name="orders.fifo")
    try:
        yield made
    finally:
        end(made)
        made.sqs.stop()
