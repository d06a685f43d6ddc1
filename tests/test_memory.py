"""How much memory a process may use: the least of what the machine and its container say."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from leasekeeper import memory

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


def test_a_container_allows_less_than_the_machine_has(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    unlimited, limited = tmp_path / "unlimited", tmp_path / "limited"
    unlimited.write_text("max\n")
    limited.write_text("1000000\n")
    monkeypatch.setattr(memory, "LIMITS", (unlimited, tmp_path / "missing"))
    machine = memory.available_memory()
    assert machine > 1_000_000
    monkeypatch.setattr(memory, "LIMITS", (unlimited, limited))
    assert memory.available_memory() == 1_000_000


def test_it_is_without_bound_where_the_system_does_not_say(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "LIMITS", ())
    monkeypatch.delattr("os.sysconf")
    assert memory.available_memory() == math.inf
