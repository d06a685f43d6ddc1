"""Every link of the documentation resolves: pages, files and anchors. The README also works outside the repository."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
LINK = re.compile(r"!?\[[^\]]*\]\(\s*<?([^)>\s]+)")
FENCE = re.compile(r"^(`{3,}).*?^\1\s*?$", re.MULTILINE | re.DOTALL)
PATH = re.compile(r"(?<![\w/.-])(?:docs|examples|benchmarks|tests|src)/[\w/.-]*\w(?:/|\.\w+)?")


def _prose(page: Path) -> str:
    return FENCE.sub("", page.read_text())


def _links(page: Path) -> list[str]:
    return LINK.findall(_prose(page))


def _anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub and most hosts make them."""
    headings = re.findall(r"^#+\s+(.+?)\s*$", _prose(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_resolves(page: Path) -> None:
    broken = []
    for link in _links(page):
        if re.match(r"[a-z]+:", link):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        if not target.exists() or (anchor and anchor not in _anchors(target)):
            broken.append(link)
    assert broken == []


def test_every_page_is_in_the_index() -> None:
    docs = ROOT / "docs"
    reached, waiting = {docs / "README.md"}, [docs / "README.md"]
    while waiting:
        page = waiting.pop()
        for link in _links(page):
            target = (page.parent / link.partition("#")[0]).resolve()
            if target.suffix == ".md" and target.exists() and target not in reached:
                reached.add(target)
                waiting.append(target)
    assert {page for page in PAGES if docs in page.parents} <= reached


def test_the_readme_has_no_link_that_breaks_outside_the_repository() -> None:
    """A package index shows the README without the repository, which has no known address; of a picture, its text."""
    relative = [link for link in _links(ROOT / "README.md") if not re.match(r"https?:|docs/images/", link)]
    assert relative == []


@pytest.mark.parametrize("page", [page for page in PAGES if page.parent == ROOT], ids=lambda page: page.name)
def test_every_path_that_a_top_page_names_exists(page: Path) -> None:
    missing = [path for path in PATH.findall(page.read_text()) if not (ROOT / path).exists()]
    assert missing == []
