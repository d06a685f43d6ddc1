"""Changes of the code, seen by watchfiles."""

from __future__ import annotations

import select
from typing import TYPE_CHECKING

import pytest

from leasekeeper.supervision.changes import Changes

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.slow
def test_changes_of_code_are_named_and_others_are_not(tmp_path: Path) -> None:
    (tmp_path / "shop").mkdir()
    (tmp_path / ".git").mkdir()
    changes = Changes(tmp_path)

    def seen() -> str:
        (tmp_path / "notes.txt").write_text("words")
        (tmp_path / ".git" / "hook.py").write_text("pass")
        (tmp_path / "shop" / "orders.py").write_text("pass")
        readable, _, _ = select.select([changes.connection], [], [], 1.0)
        return changes.read() if readable else ""

    # The watch begins in a thread, so the first writes may come before it.
    found = next(filter(None, (seen() for _ in range(30))))
    assert found == "shop/orders.py"
    assert changes.read() == ""
