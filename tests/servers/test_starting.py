"""How tests start servers: where the system cannot end them with the tests, they start all the same."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import starting

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(autouse=True)
def asked_again() -> Iterator[None]:
    starting.can_end_with_us.cache_clear()
    yield
    starting.can_end_with_us.cache_clear()


@pytest.mark.parametrize(
    ("program", "command"),
    [
        ("exit 0", ["setpriv", "--pdeathsig", "INT", "--", "server", "--port"]),
        ("exit 1", ["server", "--port"]),  # that of BusyBox has no such option
        (None, ["server", "--port"]),
    ],
)
def test_a_setpriv_that_cannot_do_it_is_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, program: str | None, command: list[str]
) -> None:
    if program is not None:
        (tmp_path / "setpriv").write_text(f"#!/bin/sh\n{program}\n")
        (tmp_path / "setpriv").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert starting.ending_with_us("server", "--port", by="INT") == command
