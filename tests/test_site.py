"""The documentation site: every page is in its navigation, every diagram has a picture, every public name is described.

`make docs` builds the site itself, and checks every internal link.
"""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import Any

import pytest
import yaml

import leasekeeper

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"


@pytest.fixture(scope="module")
def hooks() -> dict[str, Any]:
    return runpy.run_path(str(DOCS / "site" / "hooks.py"))


def configuration() -> dict[str, Any]:
    # Its one tag makes a function of Python, for the anchors.
    text = (ROOT / "mkdocs.yml").read_text().replace("!!python/object/apply:", "")
    found: dict[str, Any] = yaml.safe_load(text.replace("pymdownx.slugs.slugify {kwds: {case: lower}}", "slugify"))
    return found


class Config:
    """The one field of mkdocs's configuration that the hook reads."""

    def __init__(self) -> None:
        self.nav: Any = configuration()["nav"]


def test_every_page_is_in_the_navigation(hooks: dict[str, Any]) -> None:
    """A page that `mkdocs.yml` does not name comes at the end of its section."""
    config = Config()
    del config.nav[2]["How-to"][0]
    assert "how-to/failures.md" in hooks["unnamed"](config.nav)
    hooks["on_config"](config)
    assert hooks["unnamed"](config.nav) == []
    assert "how-to/failures.md" in config.nav[2]["How-to"]


def test_the_navigation_names_pages_that_exist(hooks: dict[str, Any]) -> None:
    assert [page for page in hooks["_named"](configuration()["nav"]) if not (DOCS / page).exists()] == []


def test_nothing_is_loaded_from_another_server() -> None:
    theme = configuration()["theme"]
    assert theme["font"] is False
    assert "http" not in (DOCS / "site" / "style.css").read_text()
    assert "extra_javascript" not in configuration()


def test_every_diagram_has_a_picture(hooks: dict[str, Any]) -> None:
    for page in DOCS.rglob("*.md"):
        for diagram in hooks["MERMAID"].findall(page.read_text()):
            picture = DOCS / "internals" / "images" / hooks["picture_of"](diagram)
            assert picture.exists(), f"{page}: run `python docs/scripts/diagrams.py`"


def test_no_picture_is_of_a_diagram_that_is_gone(hooks: dict[str, Any]) -> None:
    texts = [page.read_text() for page in DOCS.rglob("*.md")]
    drawn = {hooks["picture_of"](diagram) for text in texts for diagram in hooks["MERMAID"].findall(text)}
    assert {path.name for path in (DOCS / "internals" / "images").glob("diagram-*")} == drawn


def test_every_public_name_is_in_the_reference(hooks: dict[str, Any]) -> None:
    lines = hooks["api_page"]().splitlines()
    described = {line.rpartition(".")[2] for line in lines if line.startswith("::: ")}
    assert set(leasekeeper.__all__) - {"__version__"} <= described


def test_links_out_of_the_pages_lead_to_source_pages_or_become_text(hooks: dict[str, Any]) -> None:
    class Page:
        class file:  # noqa: N801 - as mkdocs has it
            src_uri = "how-to/a.md"

    change = hooks["on_page_markdown"]
    assert change("[a](../../examples/hello.py)", Page) == "[a](../source/examples/hello.py.md)"
    assert change("[a](../../src/leasekeeper/app.py)", Page) == "a"
    assert change("[a](b.md)", Page) == "[a](b.md)"
