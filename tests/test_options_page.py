"""What is written from the schema of options is up to date: the reference page, and what editors show."""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def script() -> dict[str, Any]:
    return runpy.run_path(str(ROOT / "docs" / "scripts" / "options_page.py"))


def test_the_page_is_current(script: dict[str, Any]) -> None:
    assert script["PAGE"].read_text() == script["page"](), "run `python docs/scripts/options_page.py`"


def test_what_editors_show_is_current(script: dict[str, Any]) -> None:
    """An editor shows the text below a field of a `TypedDict` for `Consumer(..., concurrency=`."""
    assert script["VALUES"].read_text() == script["values"](), "run `python docs/scripts/options_page.py`"
    assert "Handlers that run at the same time." in script["values"]()
