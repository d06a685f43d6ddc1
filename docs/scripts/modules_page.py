"""Write docs/internals/modules.md: `python docs/scripts/modules_page.py`.

It shows the layers, which `make layers` checks, and the first paragraph of each module. A test keeps the page
up to date.
"""

from __future__ import annotations

import ast
import re
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "internals" / "modules.md"
HEAD = """# Modules

The layers from top to bottom: a layer imports only layers below it, which `make layers` checks.
`docs/scripts/modules_page.py` writes this page from the layers in `pyproject.toml` and the docstring of each module.
"""


def page() -> str:
    """The whole page."""
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    layers = next(contract["layers"] for contract in contracts if contract["type"] == "layers")
    return "\n".join([HEAD, *(line for layer in layers for line in _layer(layer))]) + "\n"


def _layer(layer: str) -> Iterator[str]:
    names = [name.strip() for name in layer.split("|")]
    shown = [f"`{name.removeprefix('leasekeeper.')}`" for name in names]
    yield f"## {', '.join(shown)}\n"
    yield "| module | what it is |\n|---|---|"
    for name in names:
        path = ROOT / "src" / Path(*name.split("."))
        files = sorted(path.rglob("*.py")) if path.is_dir() else [path.with_suffix(".py")]
        yield from (_row(file) for file in files)
    yield ""


def _row(file: Path) -> str:
    name = file.relative_to(ROOT / "src" / "leasekeeper").as_posix()
    head = re.match(r'r?""".*?"""', file.read_text(), re.DOTALL)  # to parse only this takes a hundredth of the time
    doc = (ast.get_docstring(ast.parse(head[0])) or "").split("\n\n")[0] if head else ""
    text = " ".join(doc.split()).replace("|", "\\|")
    return f"| [`{name}`](../../{file.relative_to(ROOT).as_posix()}) | {text} |"


if __name__ == "__main__":
    PAGE.write_text(page())
