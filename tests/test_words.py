"""The project speaks plain modern English: old-fashioned words are counted, and their number is bounded."""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def words() -> dict[str, Any]:
    return runpy.run_path(str(ROOT / "docs" / "scripts" / "words.py"))


def test_there_are_few_old_fashioned_words(words: dict[str, Any]) -> None:
    """`make words` shows each with its place."""
    total = words["overall"](words["count"]())
    assert total.words > 60_000, "the check reads the whole project"
    assert total.rate <= words["LIMIT"], [f"{hit.path}:{hit.line}: {hit.word}" for hit in total.hits]


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("src/a.py", '"""A file.\n\nWhoever reads it."""\n', [(3, "Whoever")]),
        ("src/a.py", "x = 1  # of its\n# own\n", [(1, "of its own")]),
        ("src/a.py", "raise E(f'{x!r} shall not be {y}')\n", [(1, "shall")]),
        ("src/a.py", "x = {'whose': 1}\n", []),
        ("src/a.py", "x = 'sharp'  # noqa: whose\n", []),
        ("tests/test_a.py", "def test_nobody_waits():\n    assert f('whose is it')\n", [(1, "nobody")]),
        ("docs/a.md", "# A\n\nThe queue is to be deleted. Who waits, waits.\n", [(3, "is to be"), (3, "Who waits")]),
        ("README.md", "Users who wait own their queue, which is there to be used.\n", []),
        ("Makefile", "all: ## made anew\n", [(1, "anew")]),
    ],
)
def test_hits_are_found_where_people_read(
    words: dict[str, Any], tmp_path: Path, name: str, content: str, expected: list[tuple[int, str]]
) -> None:
    for file in (name, "Makefile", "pyproject.toml", "constraints.txt", ".ci/run"):
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).write_text(content if file == name else "")
    hits = words["overall"](words["count"](tmp_path)).hits
    assert [(hit.line, hit.word) for hit in hits] == expected
