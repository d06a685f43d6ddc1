"""The bench, as a fixture: afterwards no worker process may be left."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from process_bench import Bench, workers

from leasekeeper.local import LocalSqs

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    notes = tmp_path / "notes"
    notes.touch()
    monkeypatch.setenv("JOBS_NOTES", str(notes))
    before = workers()
    with LocalSqs(seed=1) as sqs:
        yield Bench(sqs, notes)
    Bench.until(lambda: workers() <= before)
