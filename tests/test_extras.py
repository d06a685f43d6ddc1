"""What is said about installing is true: commands name libraries that an index has, and extras that exist."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from leasekeeper.extras import INSTALL, needs

ROOT = Path(__file__).parents[1]
EXTRAS = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
OUR_OWN = {"dev", "docs"}
SAID = [
    ROOT / "README.md",
    *(path for top in ("docs", "examples", "src") for path in sorted((ROOT / top).rglob("*.*"))),
    *(path for path in sorted((ROOT / "deploy").iterdir())),
]


def _libraries(extra: str) -> set[str]:
    found = set()
    for requirement in EXTRAS[extra]:
        if nested := re.fullmatch(r"leasekeeper\[(.*)\]", requirement):
            found |= {library for each in nested.group(1).split(",") for library in _libraries(each)}
        else:
            found.add(re.split(r"[\[><=]", requirement)[0])
    return found


@pytest.mark.parametrize("extra", sorted(EXTRAS.keys() - OUR_OWN))
def test_the_command_for_an_extra_installs_its_libraries(extra: str) -> None:
    said = INSTALL[extra].removeprefix("pip install ").replace("'", "").replace("[binary]", "")
    assert set(said.split()) == _libraries(extra)
    assert needs("A", "b", extra) == f"A needs b: {INSTALL[extra]} (the extra `{extra}`)"


def test_no_command_asks_an_index_for_this_package() -> None:
    """It is not on one: the name alone would install nothing, or the package of a stranger."""
    wrong = []
    for path in SAID:
        if path.suffix not in {".md", ".py", ".txt", ".html", ".js", ".yaml", ""}:
            continue
        for line in path.read_text().splitlines():
            for command in re.findall(r"pip install .*", line):
                asks = re.search(r"""[ '"]leasekeeper\b""", command)
                if asks and " @ " not in command and "git+" not in command:
                    wrong.append(f"{path.relative_to(ROOT)}: {command}")
                for extras in re.findall(r"[ /'\"]\.?(?:source)?\[([\w,]+)\]", command):
                    wrong += [f"{path}: no extra {each}" for each in extras.split(",") if each not in EXTRAS]
    assert wrong == []
