"""The pages that are written from the code are up to date: options, what editors show, the API."""

from __future__ import annotations

import dataclasses
import functools
import re
import runpy
from pathlib import Path
from typing import Any

import pytest

import leasekeeper
from leasekeeper import events

ROOT = Path(__file__).parents[1]
FILE = re.compile(r"`((?:\w+/)?\w+\.py)`")


def script(name: str) -> dict[str, Any]:
    return runpy.run_path(str(ROOT / "docs" / "scripts" / name))


@functools.cache
def api_page() -> str:
    page: str = script("api_page.py")["page"]()
    return page


def test_the_page_of_options_is_current() -> None:
    options = script("options_page.py")
    assert options["PAGE"].read_text() == options["page"](), "run `make pages`"


def test_what_editors_show_is_current() -> None:
    """An editor shows the text below a field of a `TypedDict` for `Consumer(..., concurrency=`."""
    options = script("options_page.py")
    assert options["VALUES"].read_text() == options["values"](), "run `make pages`"
    assert "Handlers that run at the same time." in options["values"]()


def test_the_page_of_the_api_is_current() -> None:
    api = script("api_page.py")
    assert api["PAGE"].read_text() == api["page"](), "run `make pages`"


@pytest.mark.parametrize("name", [*leasekeeper.__all__, "sent_at", "group_id", "withhold", "problem", "run_handler"])
def test_every_public_name_is_on_the_page_of_the_api(name: str) -> None:
    page = api_page()
    assert f"`{name}" in page or f"`async {name}" in page


def test_the_page_of_metrics_is_current() -> None:
    metrics = script("metrics_page.py")
    assert metrics["PAGE"].read_text() == metrics["page"](), "run `make pages`"


def test_the_page_of_states_is_current() -> None:
    states = script("states_page.py")
    assert states["PAGE"].read_text() == states["page"](), "run `make pages`"


def test_the_page_of_modules_is_current() -> None:
    modules = script("modules_page.py")
    assert modules["PAGE"].read_text() == modules["page"](), "run `make pages`"


def test_the_files_of_the_architecture_exist() -> None:
    """Every file that the page names exists, except those in the column of new files."""
    page = (ROOT / "docs" / "internals" / "architecture.md").read_text()
    rows = page.split("| new file |")[1].splitlines()[2:]
    new = {name for row in rows for name in FILE.findall(row.split("|")[2])}
    package = ROOT / "src" / "leasekeeper"
    missing = {name for name in FILE.findall(page) if not (package / name).exists()}
    assert missing <= new


def test_the_statistics_on_the_page_of_monitoring_exist() -> None:
    """The page names them by their path, such as `ledger.lost`."""
    page = (ROOT / "docs" / "how-to" / "monitor.md").read_text().split("## Events")[0]
    rows = [row.split("|")[1] for row in page.splitlines() if row.startswith("| `")]
    paths = [path for row in rows for path in re.findall(r"`([\w.]+)`", row)]
    assert len(paths) > 15
    reference = script("api_page.py")["page"]()
    assert [path for path in paths if not _is_statistic(path.split("."), reference)] == []


def _is_statistic(path: list[str], reference: str) -> bool:
    kind = "ConsumerStatistics"
    for name in path:
        section = reference.partition(f"### `{kind}`\n")[2].partition("\n### ")[0]
        found = re.search(rf"^- `{name}: ([^`]+)`", section, re.MULTILINE)
        if found is None:
            return False
        kind = found[1].removesuffix(" | None")
    return True


def test_the_events_on_the_page_of_monitoring_are_all_events() -> None:
    page = (ROOT / "docs" / "how-to" / "monitor.md").read_text()
    rows = page.split("| event | emitted when |")[1].split("\n\n")[0]
    named = set(re.findall(r"`([A-Z]\w+)`", rows))
    assert named == {kind.__name__ for kind in events.Event.__subclasses__()}


@pytest.mark.parametrize("field", dataclasses.fields(leasekeeper.ConsumerStatistics), ids=lambda field: field.name)
def test_every_statistic_says_what_it_means(field: dataclasses.Field[Any]) -> None:
    page = api_page()
    assert re.search(rf"^- `{field.name}: [^`]+` - \S", page, re.MULTILINE)
