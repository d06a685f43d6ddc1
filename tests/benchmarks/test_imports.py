"""The modules of the benchmarks import one another in one direction."""

from __future__ import annotations

import ast
from graphlib import TopologicalSorter
from pathlib import Path

FIELD = Path(__file__).parents[2] / "benchmarks" / "field"


def _imports(file: Path) -> set[str]:
    """Every module that a file imports, inside functions and for type checkers too."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            found.add(node.module or "")
    return found


def test_no_module_of_the_benchmarks_imports_itself_through_others() -> None:
    modules = {file.stem: file for file in FIELD.glob("*.py")}
    graph = {name: _imports(file) & modules.keys() for name, file in modules.items()}
    order = list(TopologicalSorter(graph).static_order())  # raises CycleError, which names the circle
    assert order.index("broker") < order.index("operations") < order.index("server")
