"""The reference page of options says what the schema says."""

from __future__ import annotations

import runpy
from pathlib import Path


def test_the_page_is_current() -> None:
    script = runpy.run_path(str(Path(__file__).parents[1] / "docs" / "scripts" / "options_page.py"))
    assert script["PAGE"].read_text() == script["page"](), "run `python docs/scripts/options_page.py`"
