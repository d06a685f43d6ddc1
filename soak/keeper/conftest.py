"""What the soak tests of the keeper share: `bench`, on real processes."""

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
