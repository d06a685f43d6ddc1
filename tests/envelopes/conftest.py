"""Golden bodies: one file for each shape, as the service sends it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

GOLDEN = Path(__file__).parent / "golden"


@pytest.fixture
def golden() -> Callable[[str], str]:
    """The text of a golden file, by its name."""
    return lambda name: (GOLDEN / f"{name}.json").read_text()
